"""Says where a published grade came from: marks that agreed, a moderator's choice or entry, or the only grade."""

from collections.abc import Sequence
from decimal import Decimal
from typing import TypeGuard

from services.moderation.adjudication_policy import THIRD_MARK
from services.moderation.events import (
    AssignmentEvent,
    ProvisionalGradeAdjudicated,
    ProvisionalGradeCreated,
    ProvisionalGradeSelected,
    ProvisionalGradeUpdated,
    SubmissionUpdated,
)
from services.moderation.grade_conversion import format_number

BY_SELECTION = "selected by a moderator"
BY_ENTRY = "entered by a moderator"


def is_entry(event: AssignmentEvent) -> TypeGuard[ProvisionalGradeCreated | ProvisionalGradeUpdated]:
    """Return whether the event enters a provisional grade, and not only a comment or a rubric assessment."""
    match event:
        case ProvisionalGradeCreated():
            return event.graded_at is not None
        case ProvisionalGradeUpdated():
            return "graded_at" in event.changes
    return False


def describe_origin(grade_id: int, events: Sequence[AssignmentEvent], *, selection_ended: bool = False) -> str:
    """Describe what made a provisional grade the published one.

    ``events``: those about the student before the publication, in order. ``selection_ended``: none of them tells that
    the student was unassigned after the last selection.
    """
    agreement: ProvisionalGradeAdjudicated | None = None
    by_hand: str | None = None
    # Where the agreement's own final grade and selection follow it; at any other place they are made by hand.
    entry_index: int | None = None
    selection_index: int | None = None
    is_entered = False
    for index, event in enumerate(events):
        match event:
            case ProvisionalGradeAdjudicated() if event.outcome != "kept":
                agreement, by_hand = event if event.outcome == "agreed" else None, None
                entry_index = index + 1 if event.records_final else None
                selection_index = index + 1 + event.records_final if event.selects else None
            case ProvisionalGradeSelected() if index != selection_index:
                agreement, by_hand = None, BY_SELECTION if event.provisional_grade_id == grade_id else None
            case _ if is_entry(event) and event.provisional_grade_id == grade_id:
                is_entered = True
                if agreement is not None and index != entry_index:
                    agreement, by_hand = None, BY_ENTRY
    if agreement is not None:
        return _describe_agreement(agreement)
    if by_hand is not None and not (by_hand == BY_SELECTION and selection_ended):
        return by_hand
    return "the only grade to publish" if is_entered else "because no grade had been entered"


def describe_lapse(final_grade_id: int, events: Sequence[AssignmentEvent]) -> str | None:
    """Say which final grade by hand ended the selection of an agreed grade, None if none did.

    ``events``: those about the student, in order, while the assignment had a policy.
    """
    agreed_id: int | None = None
    reason: str | None = None
    score: Decimal | None = None
    entry_index: int | None = None
    selection_index: int | None = None
    is_excused = False
    for index, event in enumerate(events):
        match event:
            case ProvisionalGradeAdjudicated() if event.outcome != "kept":
                agreed_id, reason = event.provisional_grade_id if event.outcome == "agreed" else None, None
                entry_index = index + 1 if event.records_final else None
                selection_index = index + 1 + event.records_final if event.selects else None
            case SubmissionUpdated():
                is_excused = event.changes["excused"][1]
            case ProvisionalGradeSelected() if index != selection_index:
                agreed_id, reason = None, None
            case _ if is_entry(event) and event.provisional_grade_id == final_grade_id:
                score = _entered_score(event, score)
                if index == entry_index or agreed_id is None:
                    continue
                if (agreed_id == final_grade_id) == (score is None) and not is_excused:
                    done = "the final grade was cleared" if score is None else "a final grade was entered by hand"
                    agreed_id, reason = None, f"the agreed selection ended when {done}"
                elif score is not None or agreed_id == final_grade_id:
                    agreed_id = None
    return reason


def _entered_score(event: ProvisionalGradeCreated | ProvisionalGradeUpdated, before: Decimal | None) -> Decimal | None:
    """Return the score after an entry; an event of a changed grade names it only if it is another one."""
    if isinstance(event, ProvisionalGradeCreated):
        return event.score
    changed: Decimal | None = event.changes.get("score", (None, before))[1]
    return changed


def _describe_agreement(event: ProvisionalGradeAdjudicated) -> str:
    """Name the marks that made the score, and the rule by which they did; other marks counted for nothing."""
    policy, marks, rule, reason = event.policy, event.marks, event.policy.result, ""
    if policy.otherwise == THIRD_MARK and event.failed:
        marks, rule, reason = marks[:3], policy.third or rule, " after the first two did not agree"
    elif policy.otherwise == THIRD_MARK:
        marks = marks[:2]
    *others, last = [format_number(mark["score"]) for mark in marks]
    listed = f"{', '.join(others)} and {last}" if others else last
    return f"agreed from the marks {listed} by the policy of version {event.policy_version} ({rule}){reason}"
