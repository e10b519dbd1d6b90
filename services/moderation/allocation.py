"""Release of grader slots.

In Canvas a slot is never released (app/models/moderation_grader.rb, slot_taken).
"""

from services.moderation.assignment import Assignment
from services.moderation.commands import ReleaseGraderSlot
from services.moderation.course import Course
from services.moderation.decisions import NOT_FOUND, SLOT_IN_USE, Accepted, Decision
from services.moderation.events import GraderSlotReleased
from services.moderation.moderation_checks import check_moderation


def release_slot(data: ReleaseGraderSlot, actor_id: int, course: Course, assignment: Assignment) -> Decision:
    """Release the slot of a grader who has entered no grade; comments alone do not prevent it."""
    rejection = check_moderation(actor_id, course, assignment)
    if rejection is not None:
        return rejection
    anonymous_id = assignment.grader_slots.get(data.grader_id)
    if anonymous_id is None or data.grader_id in assignment.released_graders:
        return NOT_FOUND
    if data.grader_id in assignment.entering_graders:
        return SLOT_IN_USE
    event = GraderSlotReleased(grader_id=data.grader_id, anonymous_id=anonymous_id)
    return Accepted((event,), {"assignment_id": assignment.assignment_id, "grader_id": data.grader_id})
