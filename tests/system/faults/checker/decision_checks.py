"""I11: each command is decided as the log before it demands.

The commands of the load are valid by construction, so that only publications can make one of them refusable: a handler
that decides on missing or outdated state refuses others, or accepts what it should refuse.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from tests.system.faults.checker.observations import Json, LogEvent, LogVerdict, Run, Violation, read_command

PUBLICATION = "publish_provisional_grades"
BEFORE_PUBLICATION = (PUBLICATION, "schedule_publication", "cancel_scheduled_publication")
CONTENT = ("type", "course_id", "assignment_id", "actor", "data")
"""What must be the same when a command id is used again."""
AFTER_PUBLICATION = ("post_grades", "hide_grades")


@dataclass
class Progress:
    """An assignment before a verdict. ``schedule_id``: in force; ``grades``: provisional ones by student."""

    is_published: bool = False
    schedule_id: str | None = None
    grades: Counter[int] = field(default_factory=Counter)
    selected: set[int] = field(default_factory=set)

    def apply(self, event: LogEvent) -> None:
        match event.type, event.student:
            case "publication_scheduled", _:
                self.schedule_id = event.command_id
            case "publication_schedule_cancelled", _:
                self.schedule_id = None
            case "grades_posted", _:
                self.is_published, self.schedule_id = True, None
            case "provisional_grade_created", int(student):
                self.grades[student] += 1
            case "provisional_grade_selected", int(student):
                self.selected.add(student)

    @property
    def needs_selection(self) -> bool:
        return any(count > 1 and student not in self.selected for student, count in self.grades.items())


def check_decided_by_the_log(run: Run) -> Iterator[Violation]:
    """I11: a command is refused if the events before it demand it, and with their reason; otherwise it is accepted."""
    schedules = {schedule.publication_id: schedule.schedule_id for schedule in run.schedules}
    sent = {(record.source, record.partition, record.offset): record for record in run.commands}
    given_ids = {_given_id(row.body) for row in run.verdicts} - {None}
    events: dict[str, list[LogEvent]] = defaultdict(list)
    for event in run.events:
        events[event.command_id].append(event)
    assignments: dict[tuple[int, str], Progress] = defaultdict(Progress)
    contents: dict[str, Json] = {}
    for row in sorted(run.verdicts, key=lambda row: (row.shard, row.number)):
        if row.body["duplicate"]:
            continue
        command = read_command(sent[row.place]) if row.place in sent else {}
        content = {name: command.get(name) for name in CONTENT}
        if row.body["reason"] == "command_id_reused" and contents.get(row.command_id, content) != content:
            continue
        contents.setdefault(row.command_id, content)
        before = assignments[row.root_account, str(row.body["assignment_id"])]
        reason, demanded = row.body["reason"], _demanded_reason(row, before, schedules)
        if reason != demanded and (demanded or not _is_legitimate(row, before, command.get("data", {}), given_ids)):
            evidence = f"{row.body['type']} was {_name(reason)}, by the log it had to be {_name(demanded)}"
            yield Violation("I11", evidence, f"verdict {row.shard}/{row.number}", row.command_id)
        for event in events[row.command_id]:
            before.apply(event)


def _demanded_reason(row: LogVerdict, before: Progress, schedules: Mapping[str, str]) -> str | None:
    """Return the reason for which a command must be refused; None if it must not be for any that is known here."""
    schedule_id, type_ = schedules.get(row.command_id), row.body["type"]
    if schedule_id is not None and before.schedule_id != schedule_id:
        return "not_scheduled"
    if type_ in BEFORE_PUBLICATION and before.is_published:
        return "already_published"
    if type_ == "cancel_scheduled_publication" and before.schedule_id is None:
        return "not_scheduled"
    if type_ in AFTER_PUBLICATION and not before.is_published:
        return "not_published"
    return None


def _is_legitimate(row: LogVerdict, before: Progress, data: Json, given_ids: set[str | None]) -> bool:
    """Return whether a refusal has a cause in what the command says (``data``: unknown if its topic is gone)."""
    match row.body["type"], row.body["reason"]:
        case "schedule_publication", "invalid_schedule":
            # A busy machine decides it after its time.
            return not data or datetime.fromisoformat(data["publish_at"]) <= _decided_at(row)
        case "publish_provisional_grades", "selection_required":
            return before.needs_selection
        case "record_provisional_grade", "modify_selected":
            # A later load of the same installation grades its assignments again.
            return bool(before.selected) and (not data or int(data["student_id"]) in before.selected)
        case "select_provisional_grade", "not_found":
            # The verdict that gave the id is not in the log any more, after a failover that lost commits.
            return bool(data) and data["provisional_grade_id"] not in given_ids
    return False


def _given_id(body: Json) -> str | None:
    result = body.get("result")
    return result.get("provisional_grade_id") if isinstance(result, dict) else None


def _decided_at(row: LogVerdict) -> datetime:
    return datetime.fromisoformat(row.body["decided_at"])


def _name(reason: str | None) -> str:
    return "accepted" if reason is None else f"refused as {reason}"
