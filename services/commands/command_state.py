"""The state that a command is decided on."""

from typing import NamedTuple

from services.eventlog.store import Stream
from services.moderation.assignment import Assignment
from services.moderation.course import Course
from services.moderation.value_object import value_object


class StreamName(NamedTuple):
    """``assignment_id`` is None for a course."""

    root_account_id: int
    course_id: int
    assignment_id: int | None


class NewStreamId(NamedTuple):
    """A new stream's number, and the secret that its anonymous ids are generated from."""

    number: int
    secret: bytes


PLACEHOLDER_STREAM_ID = NewStreamId(0, bytes(16))
"""The id of a stream that is not created."""


@value_object()
class CommandState:
    """The state that a command is decided on.

    ``assignment``: None for a fact about the course, or if there is no such assignment. ``stream``: the stream of the
    command's events. ``version``: the stream's, 0 for a new one or an assignment of another course.
    """

    course: Course
    assignment: Assignment | None
    stream: Stream
    version: int


NO_STATE = CommandState(Course(0, 0), None, Stream(0, 0, 0, None, 0), 0)
"""The state for an invalid command, of which even the course may be unreadable."""
