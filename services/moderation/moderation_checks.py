"""Checks shared by the moderation commands that Canvas does not have, in the contract's order (section 8)."""

from services.moderation.adjudication_policy import PASS_FAIL_RESULTS, THIRD_MARK, AdjudicationPolicy
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
    if not policy.suits(grading_type):
        return invalid_adjudication(
            f"an assignment of grading type {grading_type} does not take this result: of pass_fail send "
            f"one of {', '.join(sorted(PASS_FAIL_RESULTS))}"
        )
    return None


def invalid_adjudication(message: str) -> Rejected:
    """Refuse an adjudication policy; ``message`` names the remedy."""
    return Rejected(INVALID_ADJUDICATION.reason, f"{message}; nothing was changed")
