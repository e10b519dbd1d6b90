"""Publication at a set time: the schedule in force, and what its publication would do.

The service sends the publication when it is due: an ordinary command of the user who scheduled it.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from services.moderation import ids
from services.moderation.assignment import Assignment, ScheduledPublication
from services.moderation.commands import SchedulePublication
from services.moderation.course import Course
from services.moderation.decisions import (
    INVALID_SCHEDULE,
    NOT_FOUND,
    NOT_SCHEDULED,
    PLAN_OUTDATED,
    Accepted,
    Decision,
    Rejected,
)
from services.moderation.events import PublicationScheduleCancelled, PublicationScheduled
from services.moderation.json_values import format_time
from services.moderation.moderation_checks import check_unpublished_moderation
from services.moderation.publication import check_publication

AHEAD_MAX = timedelta(days=400)


def schedule_publication(
    data: SchedulePublication,
    actor_id: int,
    command_id: str,
    course: Course,
    assignment: Assignment,
    at: datetime,
) -> Decision:
    """Set the time of the publication, replacing an earlier schedule; repeating it changes nothing.

    Students without a selection do not prevent it, unless a plan's digest is sent.
    """
    rejection = check_unpublished_moderation(actor_id, course, assignment)
    if rejection is not None:
        return rejection
    if not at < data.publish_at <= at + AHEAD_MAX:
        return INVALID_SCHEDULE
    if data.plan_digest is not None:
        checked = check_publication(data.plan_digest, actor_id, course, assignment)
        if isinstance(checked, Rejected):
            return _refuse_plan(checked)
    before = assignment.scheduled_publication
    wanted = ScheduledPublication(command_id, data.publish_at, actor_id, data.plan_digest)
    if before is not None and replace(before, schedule_id=command_id) == wanted:
        return Accepted((), _result(before, assignment))
    event = PublicationScheduled(
        schedule_id=command_id, publish_at=data.publish_at, user_id=actor_id, plan_digest=data.plan_digest
    )
    return Accepted((event,), _result(wanted, assignment))


def cancel_publication(actor_id: int, course: Course, assignment: Assignment) -> Decision:
    """Cancel the schedule in force, even one whose publication was refused."""
    rejection = check_unpublished_moderation(actor_id, course, assignment)
    if rejection is not None:
        return rejection
    schedule = assignment.scheduled_publication
    if schedule is None:
        return NOT_SCHEDULED
    event = PublicationScheduleCancelled(schedule_id=schedule.schedule_id, publish_at=schedule.publish_at)
    return Accepted((event,), _result(schedule, assignment))


def publication_command_id(secret: bytes, schedule_id: str) -> str:
    """Return the id of the command that publishes when a schedule is due: sent repeatedly, it is decided once.

    ``secret``: of the assignment's stream, so that no other command can use the id first.
    """
    return ids.derived_command_id(secret, b"publication", schedule_id)


def schedule_document(course: Course, assignment: Assignment, refused_with: str | None) -> dict[str, Any] | None:
    """Describe the schedule in force and what its publication would do now; None without one.

    ``refused_with``: the reason of the refusal if the publication was sent and refused; it is not sent again.
    """
    schedule = assignment.scheduled_publication
    if schedule is None:
        return None
    reason = refused_with or find_refusal_now(schedule.plan_digest, schedule.user_id, course, assignment)
    return {
        "publish_at": format_time(schedule.publish_at),
        "user_id": schedule.user_id,
        "plan_digest": schedule.plan_digest,
        "would_publish": reason is None,
        "reason": reason,
        "refused_with": refused_with,
    }


def find_refusal_now(plan_digest: str | None, user_id: int, course: Course, assignment: Assignment) -> str | None:
    """Return the reason for which the publication of a schedule would be refused now; None if it would publish."""
    # As in decide(): a deleted assignment is not found, whatever else is wrong.
    checked = NOT_FOUND if assignment.deleted else check_publication(plan_digest, user_id, course, assignment)
    return checked.reason if isinstance(checked, Rejected) else None


def _refuse_plan(rejection: Rejected) -> Rejected:
    """Refuse a plan that cannot be published, in the same way as an outdated one; the message names the reason."""
    if rejection.reason == PLAN_OUTDATED.reason:
        return replace(rejection, message=rejection.message.replace("published", "scheduled", 1))
    return replace(
        PLAN_OUTDATED, message=f"The plan cannot be published now ({rejection.reason}), nothing was scheduled"
    )


def _result(schedule: ScheduledPublication, assignment: Assignment) -> dict[str, Any]:
    return {
        "assignment_id": assignment.assignment_id,
        "schedule_id": schedule.schedule_id,
        "publish_at": format_time(schedule.publish_at),
        "user_id": schedule.user_id,
        "plan_digest": schedule.plan_digest,
    }
