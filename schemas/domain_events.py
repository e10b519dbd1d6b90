"""Published domain events (contract section 5); the record's ``ce_type`` is ``moderation.<name>.v1``."""

from collections import ChainMap
from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, create_model

from schemas.event_payloads import assignment, course, provisional_grade, publication, submission
from schemas.fields import IdText, TimeText
from schemas.strict import Strict

CourseEventName = Literal["course_updated", "users_updated", "enrollments_updated", "admins_updated", "person_erased"]
AssignmentEventName = Literal[
    "assignment_created",
    "assignment_updated",
    "grader_slot_taken",
    "grader_slot_released",
    "students_selected_for_moderation",
    "submissions_allocated",
    "grades_posted",
    "publication_scheduled",
    "publication_schedule_cancelled",
]
StudentEventName = Literal[
    "submission_recorded",
    "submission_comment_recorded",
    "provisional_grade_created",
    "provisional_grade_updated",
    "provisional_comment_created",
    "provisional_grade_selected",
    "provisional_grade_adjudicated",
    "submission_updated",
    "grade_published",
    "grade_revised",
    "grade_withdrawn",
    "submission_posted",
    "submission_hidden",
]
EventName = Literal[CourseEventName, AssignmentEventName, StudentEventName]
_PAYLOADS: Mapping[str, Any] = ChainMap(
    *(vars(module) for module in (course, assignment, submission, provisional_grade, publication))
)
"""The payloads' classes by name."""


class DomainEvent(Strict):
    """``user_id``: the actor, null for facts without one; ``payload``: Canvas's audit payload if it has one."""

    user_id: IdText | None = Field(description="the actor; null: the LMS or the service")
    root_account_id: IdText = Field(description="all other ids are ids of this account")
    course_id: IdText = Field(description="the course, the record's key")
    assignment_id: IdText | None = Field(description="the assignment; null for events of a course")
    student_id: IdText | None = Field(description="the student, if the event concerns one")
    submission_id: IdText | None = Field(description="the student's submission, if the event concerns one")
    stream_version: Annotated[int, Field(ge=1)] = Field(
        description="consecutive number of the event in its assignment, or in its course"
    )
    recorded_at: TimeText = Field(description="when it was decided")
    payload: dict[str, Any] = Field(description="what happened")


def _class_name(name: str) -> str:
    return "".join(word.capitalize() for word in name.split("_"))


def _build_event_model(name: str, subject: str) -> type[DomainEvent]:
    """Build the model of an event: its payload is closed, and ids that do not apply to it are null."""
    payload = _PAYLOADS[_class_name(name)]
    fields: dict[str, Any] = {
        "payload": payload,
        "assignment_id": None if subject == "course" else IdText,
        "student_id": IdText if subject == "student" else None,
        "submission_id": IdText if subject == "student" else None,
    }
    described: dict[str, Any] = {
        field: (kind, Field(description=DomainEvent.model_fields[field].description)) for field, kind in fields.items()
    }
    return create_model(_class_name(name), __base__=DomainEvent, __doc__=payload.__doc__, **described)


EVENTS: Mapping[str, type[DomainEvent]] = {
    **{name: _build_event_model(name, "course") for name in get_args(CourseEventName)},
    **{name: _build_event_model(name, "assignment") for name in get_args(AssignmentEventName)},
    **{name: _build_event_model(name, "student") for name in get_args(StudentEventName)},
}
"""The messages on ``moderation.events``, by name."""
