"""Build what a faultless run would have observed.

Two tenants, a publication, one at a set time, a duplicate, a refusal, a dead letter.
"""

import hashlib
import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.system.faults.checker import check
from tests.system.faults.checker.observations import (
    LogDeadLetter,
    LogEvent,
    LogSchedule,
    LogVerdict,
    Run,
    Snapshot,
    TopicRecord,
)
from tests.unit.faults.grade_records import event_value, grade_envelope, live_event, served_grade, served_state

Json = dict[str, Any]
STUDENTS = (31, 32, 33)
CANARIES = {"1": ["canary-of-1"], "2": ["canary-of-2"]}
SECRET = "comment-that-no-log-has"
GRADE, PUBLISH = "record_provisional_grade", "publish_provisional_grades"
START = datetime(2026, 1, 31, tzinfo=UTC)


class ObservedRun:
    """Decides commands one after the other, as a handler and a relay without faults would."""

    def __init__(self) -> None:
        self.run = Run(tenant_canaries=CANARIES, secrets=[SECRET])
        self.run.readers = {"during": {}, "after": {}}
        self._numbers: Counter[Any] = Counter()
        self._clock = 0.0
        self._first_bodies: dict[str, Json] = {}

    def command(
        self,
        name: str,
        root_account: int,
        shard: int,
        events: list[tuple[str, Json]] = [],  # noqa: B006
        type_: str = "configure_assignment",
        *,
        reason: str | None = None,
        duplicate: bool = False,
        assignment: int | None = None,
        data: Json = {},  # noqa: B006
        request_id: str | None = None,
    ) -> None:
        """Add a command that is sent, acknowledged, decided and published; ``events``: type and payload of each.

        ``request_id``: a gateway sent it for this request. Decisions are some seconds apart. The course is the shard.
        """
        run, assignment = self.run, assignment or root_account * 1000
        offset = self._next("offset", shard)
        text = json.dumps({"command_id": name, "data": data, "correlation_id": request_id})
        run.commands.append(TopicRecord("commands", shard, offset - 1, str(shard), text, {}))
        self._line("sent", command_id=name)
        self._line("acknowledged", command_id=name, partition=shard, offset=offset - 1)
        transaction = str(self._next("transaction"))
        for event, payload in events:
            version = self._next("version", assignment)
            live_number = self._next("live", shard) if event == "grade_published" else None
            position = self._next("position", shard)
            ids = [f"{kind}-{shard}-{position}" for kind in ("event", "live", "caliper")]
            live_id, caliper_id = ids[1:] if live_number else (None, None)
            value = event_value(root_account, shard, assignment, version, payload)
            run.events.append(
                LogEvent(shard, position, live_number, assignment, version, event, ids[0], live_id, caliper_id, name,
                         transaction, shard, assignment, payload.get("student_id"), json.dumps(value))
            )  # fmt: skip
            self._publish("events", shard, position, ids[0], name, root_account, value, f"moderation.{event}.v1")
            if live_number is not None:
                self._publish("live-events", shard, live_number, ids[1], name, root_account, live_event(value))
                envelope = grade_envelope(value, ids[2])
                self._publish("caliper", shard, live_number, ids[2], name, root_account, envelope)
        version = self._numbers["version", assignment]
        body = {
            "command_id": name, "status": "rejected" if reason else "accepted", "reason": reason,
            "course_id": str(shard), "type": type_, "assignment_id": str(assignment), "events": len(events),
            "duplicate": False, "decided_at": (START + timedelta(seconds=self._clock)).isoformat(),
            "text": CANARIES[str(root_account)][0],
        }  # fmt: skip
        if duplicate:
            body = {**self._first_bodies[name], "duplicate": True}
        self._first_bodies.setdefault(name, body)
        number = self._next("verdict", shard)
        ce_id, first = f"verdict-{shard}-{number}", not duplicate
        run.verdicts.append(
            LogVerdict(shard, number, 1, shard, offset - 1, root_account, name, first, ce_id, transaction, body)
        )
        self._publish("verdicts", shard, number, ce_id, name, root_account, body)
        self._line("verdict_seen", command_id=name, assignment=str(assignment), stream_version=version)

    def dead_letter(self, shard: int) -> None:
        """Add an unreadable record."""
        offset = self._next("offset", shard) - 1
        self.run.commands.append(TopicRecord("commands", shard, offset, str(shard), "{", {}))
        self._line("acknowledged", command_id="", partition=shard, offset=offset)
        self.run.dead_letters.append(LogDeadLetter(shard, self._next("letter", shard), 1, shard, offset, "unreadable"))
        headers = {"original_partition": str(shard), "original_offset": str(offset), "dead_letter_reason": "unreadable"}
        letter = TopicRecord("dead-letters", shard, 2 * offset, str(shard), "{", headers)
        for reader in self.run.readers.values():
            reader.setdefault("dead-letters", []).append(letter)

    def schedule(self, name: str, root_account: int, shard: int, assignment: int, publication: str | None) -> None:
        """Add a schedule for a second later; the next event of its stream is to be the publication, if any."""
        scheduled: list[tuple[str, Json]] = [("publication_scheduled", {})]
        self.command(name, root_account, shard, scheduled, "schedule_publication", assignment=assignment)
        publish_at = (START + timedelta(seconds=self._clock + 1)).timestamp()
        publication_id, ended_as = f"fires {name}", None if publication is None else "grades_posted"
        self.run.schedules.append(LogSchedule(assignment, name, publish_at, publication_id, publication, ended_as))

    def attempt(self, number: int, status: int, request_id: str | None, command_id: str | None = None) -> None:
        """Add the answer to a grade over HTTP; ``command_id``: named by the answer that it is pending."""
        answer = {"number": number, "status": status, "request_id": request_id}
        self._line("http_attempt", **answer, command_id=command_id)
        if status == 200:
            self._line("http", **answer, assignment="1/1800", score=number, body="{}")

    def snapshot(self, name: str) -> None:
        """Take a snapshot of the log as it is now."""
        rows: dict[str, list[str]] = {}
        logged: list[LogEvent | LogVerdict] = [*self.run.events, *self.run.verdicts]
        for row in logged:
            digest = hashlib.sha256(repr(row).encode()).hexdigest()
            rows.setdefault(f"{type(row).__name__} {row.shard}", []).append(digest)
        self.run.snapshots.append(Snapshot(name, rows))

    def read_state(self, assignment: int, document: Json) -> None:
        """Add a client's read of a state, a moment after it saw the last verdict."""
        started_at = self._clock + 0.5
        self._line("state", assignment=str(assignment), version=document["version"], started_at=started_at)
        self.run.states[f"{assignment // 1000}/{assignment}"] = document

    def watch(self) -> None:
        """Note that from now on processes are sampled, and snapshots taken."""
        self._line("watched", sample_seconds=1)

    def run_process(self, name: str, seconds: int) -> None:
        """Add a process that is started, sampled each second, and ended."""
        self._line("started", process=name)
        for _ in range(seconds):
            self.sample(name)
        self._line("ended", process=name)

    def sample(self, process: str) -> None:
        """Add a sample of a process."""
        self._line("sample", process=process, pid=7, memory_mib=90, open_files=40)

    def _publish(
        self, output: str, shard: int, number: int, ce_id: str, command: str, root: int, value: Json, ce_type: str = "v"
    ) -> None:
        headers = {
            "ce_id": ce_id, "ce_sequence": f"{number:020}", "ce_causationid": command, "ce_type": ce_type,
            "ce_source": f"urn:x/root_accounts/{root}/{output}",
        }  # fmt: skip
        # Transaction markers take offsets too.
        record = TopicRecord(output, shard, 2 * number, str(shard), json.dumps(value), headers)
        for reader in self.run.readers.values():
            reader.setdefault(output, []).append(record)
        self.run.uncommitted.setdefault(output, []).append(record)

    def _line(self, kind: str, **values: Any) -> None:
        self._clock += 1
        self.run.history.append({"kind": kind, "at": self._clock, **values})

    def _next(self, *name: Any) -> int:
        self._numbers[name] += 1
        return self._numbers[name]


def clean_run() -> Run:
    """Build a run without a violation."""
    observed = ObservedRun()
    observed.watch()
    observed.snapshot("start")
    observed.command("course", 1, 3, [("assignment_created", {"name": "canary-of-1"})])
    for number, student in enumerate(STUDENTS, 1):
        grade = {"id": str(number), "student_id": student, "scorer_id": "21", "score": 7, "grade": "7"}
        observed.command(f"grade {student}", 1, 3, [("provisional_grade_created", grade)], GRADE)
    observed.command("grade 31", 1, 3, [], GRADE, duplicate=True)
    selected = {"id": "1", "student_id": STUDENTS[0]}
    observed.command("select", 1, 3, [("provisional_grade_selected", selected)], "select_provisional_grade")
    observed.command("early", 1, 3, [], "post_grades", reason="not_published")
    observed.dead_letter(3)
    observed.snapshot("middle")
    published = [
        ("grade_published", {"student_id": student, "scorer_id": "21", "score": [None, 7], "grade": [None, "7"]})
        for student in STUDENTS
    ]
    posted = ("grades_posted", {"grades_published_at": [None, "now"]})
    observed.command("publish", 1, 3, [*published, posted], PUBLISH)
    observed.command("post", 1, 3, [], "post_grades")
    observed.schedule("schedule", 1, 3, 1500, "fires schedule")
    posted = ("grades_posted", {"grades_published_at": [None, "later"]})
    observed.command("fires schedule", 1, 3, [posted], PUBLISH, assignment=1500, data={"schedule_id": "schedule"})
    observed.schedule("refused schedule", 1, 3, 1600, None)
    twice = [("provisional_grade_created", {"id": str(n), "student_id": 31, "scorer_id": str(n)}) for n in (21, 22)]
    observed.command(
        "grade twice", 1, 3, [(name, {**p, "score": 7, "grade": "7"}) for name, p in twice], GRADE, assignment=1600
    )
    observed.command(
        "fires refused schedule", 1, 3, [], PUBLISH,
        reason="selection_required", assignment=1600, data={"schedule_id": "refused schedule"},
    )  # fmt: skip
    late = {"publish_at": START.isoformat()}
    observed.command("late", 1, 3, [], "schedule_publication", reason="invalid_schedule", assignment=1700, data=late)
    cancel = "cancel_scheduled_publication"
    observed.command("cancel", 1, 3, [], cancel, reason="not_scheduled", assignment=1700)
    observed.command("cancel late", 1, 3, [], cancel, reason="already_published")
    mark = {"id": "9", "student_id": 31, "scorer_id": "22", "score": 5, "grade": "5"}
    over_http: Json = {"assignment": 1800, "data": {"posted_grade": "5"}}
    observed.attempt(5, 503, "refused request")
    observed.command(
        "over http", 1, 3, [("provisional_grade_created", mark)], GRADE, **over_http, request_id="first request"
    )
    observed.attempt(5, 202, "first request", "over http")
    observed.attempt(5, 0, None)
    observed.command("over http", 1, 3, [], GRADE, **over_http, duplicate=True, request_id="last request")
    observed.attempt(5, 200, "last request")
    observed.command("other tenant", 2, 4, [("assignment_created", {"name": "canary-of-2"})])
    observed.snapshot("end")
    grades = [served_grade(n, student, 21, 7) for n, student in enumerate(STUDENTS, 1)]
    observed.read_state(1000, served_state(9, STUDENTS, grades, {STUDENTS[0]: 1}, published_score=7))
    observed.read_state(1800, served_state(1, STUDENTS, [served_grade(9, 31, 22, 5)]))
    observed.run_process("handler-1", 20)
    observed.run.texts["handler-1.log"] = ["processed a batch"]
    return observed.run


def find(run: Run) -> set[str]:
    return {violation.invariant for violation in check(run)}
