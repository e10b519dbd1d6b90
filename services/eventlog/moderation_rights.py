"""Whether a user may moderate or audit an assignment, found without the state of its students and grades."""

import contextlib

from services.eventlog.aggregates import apply_assignment_event, apply_course_event, new_assignment
from services.eventlog.stream_reader import StreamReader
from services.moderation.assignment import Assignment
from services.moderation.course import Course
from services.moderation.visibility import is_auditor

RIGHTS_EVENT_TYPES = ("admins_updated", "assignment_created", "assignment_updated")
"""The events that make a user an account-level admin or the final grader: only these moderate or audit."""


async def may_have_rights(reader: StreamReader, root_account: int, assignment_id: int, user_id: int) -> bool:
    """Return False if the user neither moderates nor audits the assignment, or if there is none.

    True is no decision: the final grader's enrolment is not read. The whole state decides (``reads_moderation``).
    """
    streams = await reader.streams(root_account, None, assignment_id)
    if not streams:
        return False
    assignment_stream = streams[0]
    streams += await reader.streams(root_account, assignment_stream.course, None)
    course = Course(root_account, assignment_stream.course)
    assignment: Assignment | None = None
    versions = dict.fromkeys((stream.number for stream in streams), 0)
    async with contextlib.aclosing(reader.pages(versions, types=RIGHTS_EVENT_TYPES)) as pages:
        async for page in pages:
            for event in page:
                if event.stream == assignment_stream.number:
                    assignment = assignment or new_assignment(assignment_stream, event)
                    apply_assignment_event(assignment, event)
                else:
                    apply_course_event(course, event)
    return assignment is not None and (assignment.permits_moderation(course, user_id) or is_auditor(course, user_id))
