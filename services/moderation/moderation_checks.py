"""Checks shared by the moderation commands that Canvas does not have, in the contract's order (section 8)."""

from collections.abc import Sequence

from services.moderation.adjudication_policy import (
    PASS_FAIL_RESULTS,
    PASS_FAIL_THIRD_RESULTS,
    THIRD_MARK,
    AdjudicationPolicy,
)
from services.moderation.assignment import Assignment
from services.moderation.course import Course
from services.moderation.decisions import (
    ALREADY_PUBLISHED,
    INVALID_ADJUDICATION,
    NOT_MODERATED,
    UNAUTHORIZED,
    Rejected,
)
from services.moderation.visibility import may_moderate


def check_moderation(actor_id: int, course: Course, assignment: Assignment) -> Rejected | None:
    """Return the refusal if the actor may not moderate, or the assignment is not moderated."""
    if not may_moderate(course, assignment, actor_id):
        return UNAUTHORIZED
    return None if assignment.moderated_grading else NOT_MODERATED


def check_unpublished_moderation(actor_id: int, course: Course, assignment: Assignment) -> Rejected | None:
    """Return the refusal of :func:`check_moderation`, or of published grades."""
    rejection = check_moderation(actor_id, course, assignment)
    if rejection is None and assignment.grades_published_at is not None:
        return ALREADY_PUBLISHED
    return rejection


def check_policy(policy: AdjudicationPolicy, grading_type: str) -> Rejected | None:
    """Refuse a policy whose parts contradict each other or the grading type."""
    if (policy.otherwise == THIRD_MARK) != (policy.third is not None):
        return invalid_adjudication("third goes with otherwise third_mark: send both or neither")
    if policy.otherwise == THIRD_MARK and policy.marks != 2:
        return invalid_adjudication("otherwise third_mark needs marks 2")
    if policy.suits(grading_type):
        return None
    if grading_type == "not_graded":
        return invalid_adjudication("an assignment of grading type not_graded takes no policy: send null")
    return invalid_adjudication(
        f"an assignment of grading type {grading_type} takes as result only {_join(PASS_FAIL_RESULTS)}, and as third "
        f"only {_join(PASS_FAIL_THIRD_RESULTS)}"
    )


def invalid_adjudication(message: str) -> Rejected:
    """Refuse an adjudication policy; ``message`` names the remedy."""
    return Rejected(INVALID_ADJUDICATION.reason, f"{message}; nothing was changed")


def _join(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} or {names[-1]}"
