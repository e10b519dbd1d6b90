"""Domain events as they leave (contract section 5); the record's ``ce_type`` is ``moderation.<name>.v1``."""

from typing import Annotated, Any, Literal

from pydantic import Field

from schemas.commands import Strict
from schemas.fields import IdText, TimeText

EventName = Literal[
    "course_updated",
    "users_updated",
    "enrollments_updated",
    "admins_updated",
    "assignment_created",
    "assignment_updated",
    "submission_recorded",
    "submission_comment_recorded",
    "grader_slot_taken",
    "students_selected_for_moderation",
    "provisional_grade_created",
    "provisional_grade_updated",
    "provisional_comment_created",
    "provisional_grade_selected",
    "submission_updated",
    "grade_published",
    "grades_posted",
    "submission_posted",
    "submission_hidden",
]


class DomainEvent(Strict):
    """``user_id``: who acted, null for facts without an actor; ``payload``: Canvas's audit payload where it has one."""

    user_id: IdText | None
    root_account_id: IdText
    course_id: IdText
    assignment_id: IdText | None
    student_id: IdText | None
    submission_id: IdText | None
    stream_version: Annotated[int, Field(ge=1)]
    recorded_at: TimeText
    payload: dict[str, Any]
