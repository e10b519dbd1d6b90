"""Contract section 8.2 implemented a second time: a publication at a set time."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from services.moderation import commands
from tests.unit.moderation.reference_examiners import ReferenceExaminers
from tests.unit.moderation.reference_state import Mark, Refusal, Told


@dataclass
class Schedule:
    """``id``: of the command that made it."""

    id: str
    publish_at: datetime
    actor: int
    digest: str | None


@dataclass
class ReferenceSchedules(ReferenceExaminers):
    """``command_id``: of the command that is decided; ``schedule``: the one in force."""

    command_id: str = ""
    schedule: Schedule | None = None

    def examine(self, data: commands.CommandData, actor: int, at: datetime) -> Told:
        """Apply a command of section 8."""
        match data:
            case commands.SchedulePublication():
                self._schedule(data, actor, at)
            case commands.CancelScheduledPublication():
                self.demand_examiner(actor)
                if self.schedule is None:
                    raise Refusal("not_scheduled")
                self.answer, self.schedule = describe(self.schedule), None
            case _:
                return super().examine(data, actor, at)
        return []

    def _schedule(self, data: commands.SchedulePublication, actor: int, at: datetime) -> None:
        self.demand_examiner(actor)
        if data.publish_at <= at or data.publish_at - at > timedelta(days=400):
            raise Refusal("invalid_schedule")
        if data.plan_digest is not None:
            try:
                self.demand_publishable(data.plan_digest, actor)
            except Refusal:
                raise Refusal("plan_outdated") from None
        asked = (data.publish_at, actor, data.plan_digest)
        held = self.schedule
        if held is None or asked != (held.publish_at, held.actor, held.digest):
            held = self.schedule = Schedule(self.command_id, *asked)
        self.answer = describe(held)

    def demand_in_force(self, schedule_id: str | None) -> None:
        if schedule_id is not None and (self.schedule is None or self.schedule.id != schedule_id):
            raise Refusal("not_scheduled")

    def demand_publishable(self, digest: str | None, actor: int) -> list[Mark]:
        """Return the marks that a publication takes now."""
        self.demand_examiner(actor)
        chosen, blocked = self.to_publish(actor)
        for reason in ("adjudication_stale", "selection_required"):
            if any(reason == own for _, own in blocked):
                raise Refusal(reason)
        if digest is not None and digest != self.digest(chosen):
            raise Refusal("plan_outdated")
        return chosen

    def shown_schedule(self) -> Any:
        """Return the schedule in force, and the reason for which its publication would be refused now."""
        if self.schedule is None:
            return None
        reason = None
        try:
            if self.deleted:
                raise Refusal("not_found")
            self.demand_publishable(self.schedule.digest, self.schedule.actor)
        except Refusal as refusal:
            reason = str(refusal)
        return *describe(self.schedule)[1:], reason


def describe(schedule: Schedule) -> tuple[Any, ...]:
    time = f"{schedule.publish_at:%Y-%m-%dT%H:%M:%S}.{schedule.publish_at.microsecond // 1000:03}Z"
    return schedule.id, time, schedule.actor, schedule.digest
