"""I17: a schedule that is in force at its time fires exactly once and never before, and its publication follows."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import datetime

from tests.system.faults.checker.command_checks import NOT_SETTLING
from tests.system.faults.checker.observations import LogSchedule, LogVerdict, Run, Violation


def check_schedules(run: Run) -> Iterator[Violation]:
    """I17. Times are PostgreSQL's, in seconds since 1970; publications are told by the id that the contract gives them.

    That a publication's verdict and grades reach their topics once is a matter of I1, I2 and I4.
    """
    fired: dict[str, list[LogVerdict]] = defaultdict(list)
    for row in run.verdicts:
        fired[row.command_id].append(row)
    ended_at = max((_decided_at(row) for row in run.verdicts), default=0)
    for schedule in run.schedules:
        verdicts = fired[schedule.publication_id]
        yield from _check_early(schedule, verdicts)
        yield from _check_once(schedule, verdicts, is_due=schedule.publish_at < ended_at)
    yield from _check_ids(run)
    posted = Counter(event.stream for event in run.events if event.type == "grades_posted")
    for stream, count in posted.items():
        if count > 1:
            yield Violation("I17", f"its grades were posted {count} times", f"stream {stream}")


def _decided_at(row: LogVerdict) -> float:
    return datetime.fromisoformat(row.body["decided_at"]).timestamp()


def _check_early(schedule: LogSchedule, verdicts: list[LogVerdict]) -> Iterator[Violation]:
    for row in verdicts:
        seconds = schedule.publish_at - _decided_at(row)
        if seconds > 0:
            yield _violation(schedule, f"its publication was decided {seconds:.3f} s before its time")


def _check_once(schedule: LogSchedule, verdicts: list[LogVerdict], *, is_due: bool) -> Iterator[Violation]:
    settling = [row for row in verdicts if not row.body["duplicate"] and row.body["reason"] not in NOT_SETTLING]
    is_accepted = any(row.body["status"] == "accepted" for row in settling)
    if len(settling) > 1:
        yield _violation(schedule, f"its publication was decided {len(settling)} times")
    if schedule.ended_by is None:
        if is_due and not settling:
            yield _violation(schedule, "it is due and was never decided")
        if is_accepted:
            yield _violation(schedule, "its publication was accepted, and it is still in force")
    elif schedule.ended_by == schedule.publication_id:
        if not is_accepted or schedule.ended_as != "grades_posted":
            yield _violation(schedule, f"{schedule.ended_as} has its publication's id, which was not accepted")
    elif is_accepted:
        yield _violation(schedule, f"its publication was accepted after {schedule.ended_as} had ended it")


def _check_ids(run: Run) -> Iterator[Violation]:
    """Whoever sends a schedule's publication sends it under the same id, so that it can only be decided once."""
    ids = {schedule.schedule_id: schedule.publication_id for schedule in run.schedules}
    for record in run.commands:
        if '"schedule_id"' not in record.value:
            continue
        command = json.loads(record.value)
        expected = ids.get(command["data"]["schedule_id"])
        if expected not in (None, command["command_id"]):
            evidence = f"the publication of a schedule was sent under another id than {expected}"
            yield Violation("I17", evidence, str(record), command["command_id"])


def _violation(schedule: LogSchedule, evidence: str) -> Violation:
    return Violation("I17", evidence, f"assignment {schedule.assignment}", schedule.schedule_id)
