"""The outcomes of a decision, and Canvas's texts of the refusals."""

from dataclasses import replace
from typing import Any

from services.moderation.events import Event
from services.moderation.value_object import value_object


@value_object()
class Accepted:
    """``result``: the Canvas API's answer, JSON-able."""

    events: tuple[Event, ...]
    result: Any = None


@value_object()
class Rejected:
    """``errors``: (path, message) of each field at fault, for ``invalid_command`` and ``not_found``."""

    reason: str
    message: str
    error_code: str | None = None
    errors: tuple[tuple[str, str], ...] = ()


Decision = Accepted | Rejected


def _name_missing(path: str, message: str) -> Rejected:
    """Build a not_found that names the field: Canvas's text names none."""
    return replace(NOT_FOUND, errors=((path, message),))


NOTHING_CHANGED = Accepted(())
UNAUTHENTICATED = Rejected("unauthenticated", "user authorization required")
UNAUTHORIZED = Rejected("unauthorized", "user not authorized to perform that action")
NOT_FOUND = Rejected("not_found", "The specified resource does not exist.")
COURSE_UNKNOWN = _name_missing("course_id", "this course is unknown: send upsert_course first")
ASSIGNMENT_UNKNOWN = _name_missing("assignment_id", "the course has no such assignment: send configure_assignment")
ASSIGNMENT_OF_ANOTHER_COURSE = _name_missing("assignment_id", "another course has the assignment with this id")
ASSIGNMENT_DELETED = _name_missing("assignment_id", "this assignment was deleted")
STUDENT_UNKNOWN = _name_missing("data.student_id", "the course has no such student: send upsert_enrollments first")
STUDENT_NOT_VISIBLE = _name_missing(
    "data.student_id", "the student is in none of your sections: name one of yours, or ask for a role in that section"
)
# One text for both: whether a grade was published is not for those who do not see the student.
STUDENT_NOT_PUBLISHED = _name_missing(
    "data.student_id",
    "no grade of this student was published, or you do not see the student: name a student whose grade was published"
    " and whom you see",
)
SLOT_UNKNOWN = _name_missing("data.grader_id", "this grader holds no slot here")
PROVISIONAL_GRADE_UNKNOWN = _name_missing(
    "data.provisional_grade_id", "the assignment has no such provisional grade: use the id in the verdict of its mark"
)
NOT_MODERATED = Rejected("not_moderated", "Assignment does not use moderated grading")
ALREADY_PUBLISHED = Rejected("already_published", "Assignment grades have already been published")
NOT_IN_MODERATION_SET = Rejected("not_in_moderation_set", "student not in moderation set")
MISSING_STUDENT_IDS = Rejected("missing_student_ids", "student_ids is required: name at least one student")
SELECTION_REQUIRED = Rejected("selection_required", "All submissions must have a selected grade")
INVALID_ADJUDICATION = Rejected(
    "invalid_adjudication", "The assignment has no adjudication policy, nothing was adjudicated: set a policy first"
)
ADJUDICATION_STALE = Rejected(
    "adjudication_stale",
    "Marks or settings changed since students were adjudicated, nothing was published: adjudicate again",
)
PLAN_OUTDATED = Rejected(
    "plan_outdated", "The plan has changed, nothing was published: read the plan again and publish with its digest"
)
INVALID_SCHEDULE = Rejected(
    "invalid_schedule", "publish_at must be later than now and within 400 days, nothing was scheduled"
)
NOT_SCHEDULED = Rejected("not_scheduled", "The schedule is not in force, nothing was changed")
STUDENT_NOT_ENROLLED = Rejected(
    "student_not_enrolled", "Student must be enrolled in the course as a student to be graded"
)
# For a student without the assignment, Canvas answers as for any missing permission.
NOT_ASSIGNED = Rejected("not_assigned", "user not authorized to perform that action")
FINAL_NOT_PERMITTED = Rejected("final_not_permitted", "User not authorized to give final provisional grades")
GRADE_AND_EXCUSE = Rejected("grade_and_excuse", "Cannot simultaneously grade and excuse an assignment")
MAX_GRADERS_REACHED = Rejected(
    "max_graders_reached",
    "The maximum number of graders has been reached for this assignment.",
    "MAX_GRADERS_REACHED",
)
# Canvas gives these two a code but no message, so the error's class name is shown.
INVALID_SCORE = Rejected("invalid_score", "Assignment::GradeError", "PROVISIONAL_GRADE_INVALID_SCORE")
CANNOT_MODIFY_SELECTED = Rejected("modify_selected", "Assignment::GradeError", "PROVISIONAL_GRADE_MODIFY_SELECTED")
FINAL_WITHOUT_PROVISIONAL = Rejected(
    "final_without_provisional", "Cannot give a final mark for a student with no other provisional grades"
)
COMMAND_ID_REUSED = Rejected(
    "command_id_reused", "command_id was used before with other content: draw a new one for a new command"
)
COMMAND_EXPIRED = Rejected(
    "command_expired", "The command was decided before, and its verdict is no longer kept: read the assignment's state"
)
CANNOT_POST_BEFORE_PUBLICATION = Rejected(
    "not_published", "Assignments under moderation cannot be posted before grades are published"
)
CANNOT_HIDE_BEFORE_PUBLICATION = Rejected(
    "not_published", "Assignments under moderation cannot be hidden before grades are published"
)
SLOT_IN_USE = Rejected(
    "slot_in_use", "The grader has entered a grade, the slot was not released: raise grader_count instead"
)
ALLOCATION_UNCLEAR = Rejected(
    "invalid_allocation", "The command has none or both, nothing was changed: send either allocations or evenly"
)
ALLOCATION_UNKNOWN_GRADER = Rejected(
    "invalid_allocation", "A grader may not grade in this course, nothing was changed: name users with manage_grades"
)
ALLOCATION_UNKNOWN_STUDENT = Rejected(
    "invalid_allocation",
    "A student does not have the assignment or is not visible to you, nothing was changed: name assigned students",
)
ALLOCATION_TOO_FEW_GRADERS = Rejected(
    "invalid_allocation", "Each mark needs a different grader, nothing was changed: name more graders or fewer marks"
)
NOT_ALLOCATED = Rejected(
    "not_allocated", "The submission is allocated to other graders, nothing was changed: ask the moderator"
)
SAMPLE_OF_WHOLE_SET = Rejected(
    "invalid_sample",
    "All assigned students are in the moderation set, no student was added: configure moderation_set selected first",
)
SAMPLE_WITHOUT_SIZE = Rejected(
    "invalid_sample", "No sample was requested, no student was added: send percent, at_least, square_root or include"
)
SAMPLE_BORDERLINE_INCOMPLETE = Rejected(
    "invalid_sample",
    "borderline_within requires include borderline, no student was added: send both or neither",
)
SAMPLE_SHOWS_HIDDEN_STUDENTS = Rejected(
    "invalid_sample",
    "Students are hidden, and the set would reveal their marks by name, no student was added: draw without include",
)
NOT_PUBLISHED = Rejected("not_published", "Grades of this assignment have not been published")
MODERATION_LOCKED = Rejected(
    "moderation_locked", "Moderated grading setting cannot be changed if graded submissions exist"
)
TOO_LARGE = Rejected("invalid_command", "too large to publish: send fewer or shorter items in one command")


def invalid_field(path: str, message: str) -> Rejected:
    """Refuse a field; ``message`` continues its path and names what to send."""
    text = f"{path} {message}"
    return Rejected("invalid_command", text, errors=((path, text),))


def field_required(path: str) -> Rejected:
    """Refuse a missing field that is required on first mention."""
    return invalid_field(path, "is required on first mention")


def id_taken(path: str) -> Rejected:
    """Refuse an id that belongs to another student."""
    return invalid_field(path, "belongs to another student of the assignment: state one of its own")


def field_not_clearable(path: str) -> Rejected:
    """Refuse to clear a field that must have a value."""
    return invalid_field(path, "cannot be cleared: state a value or leave it out")


BLANK_COMMENT = invalid_field("data.comment", "is blank: write something")
