"""The decisions of one batch: each record to its verdict or dead letter, and its events."""

from collections import Counter
from typing import Any, NamedTuple, cast

import orjson
from aiokafka import ConsumerRecord

from services.commands.authorization import Authority
from services.commands.batch_result import UNKNOWN_TYPE, Outcome
from services.commands.parse import Invalid, Parsed, Unreadable, parse
from services.commands.parse_errors import TYPES
from services.commands.request_context import request_told, with_role
from services.commands.serialization import (
    OUTPUT_BYTES_MAX,
    accepted_verdict,
    cause,
    event_json,
    headers_json,
    live_facts,
    rejected_verdict,
    repeated_verdict,
    time_text,
    traceparent_of,
    uuid4_text,
)
from services.commands.state_cache import States
from services.eventlog.append_batch import Batch, Place
from services.eventlog.store import Stream
from services.kafka.partitioning import SHARDS, shard_of_course
from services.moderation.assignment import Assignment
from services.moderation.commands import ASSIGNMENT_COMMANDS, Command
from services.moderation.course import Course
from services.moderation.decide import decide
from services.moderation.decisions import COMMAND_ID_REUSED, TOO_LARGE, Accepted, Decision, Rejected
from services.moderation.events import AssignmentEvent, CourseEvent
from services.moderation.evolve import evolve_assignment, evolve_course

Record = ConsumerRecord[Any, Any]
UNREAD_ROOT_ACCOUNT = 0
ASSIGNMENT_CREATED = "assignment_created"
CONFIGURE = "configure_assignment"
# (root account, course, assignment or None) to the number and secret the stream would have.
Fresh = dict[tuple[int, int, int | None], tuple[int, bytes]]
NEVER_STORED = (0, b"")


class Item(NamedTuple):
    """A record with what it says; ``key``: (command id, root account), None for what has no command id."""

    record: Record
    said: Parsed | Invalid | Unreadable
    shard: int
    key: tuple[str, int] | None


def read(record: Record) -> Item:
    """Parse a record and say which shard its outcome belongs to: its course's, else its partition's."""
    said = parse(record.value)
    if isinstance(said, Parsed):
        command = said.command
        return Item(record, said, shard_of_course(command.course_id), (command.command_id, command.root_account_id))
    if isinstance(said, Invalid) and said.course_id is not None:
        shard = shard_of_course(said.course_id)
    else:
        shard = record.partition % SHARDS
    key = (said.command_id, said.root_account_id or UNREAD_ROOT_ACCOUNT) if isinstance(said, Invalid) else None
    return Item(record, said, shard, key)


class Decisions:
    """The decisions of one batch, in the order of its records."""

    def __init__(
        self,
        states: States,
        batch: Batch,
        settled: dict[tuple[str, int], tuple[bytes, str]],
        fresh: Fresh,
        authority: Authority | None,
    ) -> None:
        self.outcomes: Counter[Outcome] = Counter()
        self.states = states
        self.batch = batch
        self.settled = settled
        self.fresh = fresh
        self.authority = authority
        self.at_text = time_text(batch.at)

    def settle(self, item: Item) -> None:
        """Add one record's verdict or dead letter to the batch, and its events."""
        record, said = item.record, item.said
        place = Place(record.partition, record.offset, record.timestamp)
        if isinstance(said, Unreadable):
            self.batch.add_dead_letter(
                item.shard, place, record.key, record.value, headers_json(record), said.reason, said.message
            )
            return
        assert item.key is not None
        command_id, root_account = item.key
        caused = cause(command_id, said.correlation_id, traceparent_of(record))
        before = self.settled.get(item.key)
        not_believed = None if self.authority is None else self.authority.refusal(record, said)
        if not_believed is not None:
            body, first = self._refusal(said, not_believed), False
        elif before is not None and before[0] == said.content_hash:
            body, first = repeated_verdict(before[1]), False
            self.outcomes[type_of(said), "duplicate", ""] += 1
        elif before is not None:
            body, first = self._refusal(said, COMMAND_ID_REUSED), False
        elif isinstance(said, Invalid):
            reason = Rejected(said.reason, said.message, errors=tuple((e["path"], e["message"]) for e in said.errors))
            body, first = self._refusal(said, reason), said.root_account_id is not None
        else:
            body, first = self._decided(said, record, item.shard, caused)
        text = body.decode()
        if first:
            self.settled[item.key] = (said.content_hash, text)
        caused["time"], caused["root_account_id"] = self.at_text, root_account
        caused["course_id"], caused["assignment_id"], caused["actor_id"] = about(said)
        self.batch.add_verdict(
            item.shard,
            root_account,
            command_id,
            first,
            said.content_hash,
            place,
            verdict_key(said, record),
            text,
            orjson.dumps(caused).decode(),
        )

    def _decided(self, said: Parsed, record: Record, shard: int, caused: dict[str, Any]) -> tuple[bytes, bool]:
        command = said.command
        course, course_stream = self._course(command, shard)
        assignment, stream = self._assignment(command, shard) if command.type in ASSIGNMENT_COMMANDS else (None, None)
        decision: Decision = decide(command, course, assignment, at=self.batch.at)
        if isinstance(decision, Accepted):
            target: Course | Assignment = course if assignment is None else assignment
            encoded = self._encode(decision, command, target.version, assignment is not None)
            verdict = accepted_verdict(
                command, decision, target.version + len(decision.events), self.at_text, said.correlation_id
            )
            if max(map(len, (verdict, *encoded))) <= OUTPUT_BYTES_MAX:
                if decision.events:
                    live_only = self._live_only(decision, record, command, course)
                    self._record(
                        decision, encoded, course, assignment, stream or course_stream, shard, caused, live_only
                    )
                self.outcomes[command.type, "accepted", ""] += 1
                return verdict, True
            decision = TOO_LARGE
        self.outcomes[command.type, "rejected", decision.reason] += 1
        version = self._version(command, course, assignment)
        body = rejected_verdict(
            command.command_id,
            command.root_account_id,
            command.type,
            command.course_id,
            command.assignment_id,
            decision,
            [{"path": path, "message": message} for path, message in decision.errors],
            version,
            self.at_text,
            said.correlation_id,
        )
        return body, decision.reason != "unauthenticated"

    def _live_only(self, decision: Accepted, record: Record, command: Command, course: Course) -> dict[str, Any]:
        """What events with a live event keep besides: the HTTP request the command came by, if it came by one."""
        if not record.headers or not any(event.emits_grade_change for event in decision.events):
            return {}
        request = request_told(record, self.authority)
        if request is None:
            return {}
        # Encoded once for ten thousand events.
        return {"request": orjson.Fragment(orjson.dumps(with_role(request, course, command.actor_id)))}

    @staticmethod
    def _version(command: Command, course: Course, assignment: Assignment | None) -> int:
        if command.type not in ASSIGNMENT_COMMANDS:
            return course.version
        return assignment.version if assignment is not None and assignment.course_id == command.course_id else 0

    def _encode(self, decision: Accepted, command: Command, version: int, of_assignment: bool) -> list[bytes]:
        return [
            event_json(event, command, version + number, self.at_text, of_assignment)
            for number, event in enumerate(decision.events, 1)
        ]

    def _record(
        self,
        decision: Accepted,
        encoded: list[bytes],
        course: Course,
        assignment: Assignment | None,
        stream: Stream,
        shard: int,
        caused: dict[str, Any],
        live_only: dict[str, Any],
    ) -> None:
        """Put a decision's events in the batch and let the states follow."""
        target: Course | Assignment = course if assignment is None else assignment
        key = (stream.root_account, stream.course if stream.assignment is None else stream.assignment)
        if not target.version:
            self.batch.add_stream(stream.number, stream.root_account, stream.course, stream.assignment, shard)
            if assignment is None:
                self.states.courses[key] = (course, stream)
            else:
                self.states.assignments[key] = (assignment, stream)
        for event, data in zip(decision.events, encoded, strict=True):
            metadata = {**caused, "id": uuid4_text()}
            student_id = getattr(event, "student_id", None)
            if student_id is not None:
                metadata["student_id"] = student_id
            live = event.emits_grade_change
            if live and assignment is not None:
                metadata |= live_only
                metadata["live_id"] = uuid4_text()
                metadata["caliper_id"] = uuid4_text()
                metadata["live"] = live_facts(event, course, assignment)
            if assignment is not None and event.name == ASSIGNMENT_CREATED:
                metadata["secret"] = assignment.secret.hex()
            position = self.batch.add_event(
                shard,
                live,
                stream.number,
                target.version + 1,
                event.name,
                data.decode(),
                orjson.dumps(metadata).decode(),
            )
            if assignment is None:
                evolve_course(course, cast(CourseEvent, event), position=position, at=self.batch.at)
            else:
                evolve_assignment(assignment, cast(AssignmentEvent, event), position=position, at=self.batch.at)
                self.states.note_size(key, len(data))

    def _refusal(self, said: Parsed | Invalid, rejected: Rejected) -> bytes:
        self.outcomes[type_of(said), "rejected", rejected.reason] += 1
        version: int | None = None
        if isinstance(said, Parsed):
            command = said.command
            held = self.states.courses.get((command.root_account_id, command.course_id))
            assignment = self.states.assignments.get((command.root_account_id, command.assignment_id or 0))
            course = held[0] if held else Course(command.root_account_id, command.course_id)
            version = self._version(command, course, assignment[0] if assignment else None)
            ids = (command.root_account_id, command.type, command.course_id, command.assignment_id)
            command_id = command.command_id
        else:
            ids = (said.root_account_id, said.type, said.course_id, said.assignment_id)  # type: ignore[assignment]
            command_id = said.command_id
        errors = [{"path": path, "message": message} for path, message in rejected.errors]
        return rejected_verdict(command_id, *ids, rejected, errors, version, self.at_text, said.correlation_id)

    def _course(self, command: Command, shard: int) -> tuple[Course, Stream]:
        held = self.states.courses.get((command.root_account_id, command.course_id))
        if held is not None:
            return held
        number = self.fresh.get((command.root_account_id, command.course_id, None), NEVER_STORED)[0]
        stream = Stream(number, command.root_account_id, command.course_id, None, shard)
        return Course(command.root_account_id, command.course_id), stream

    def _assignment(self, command: Command, shard: int) -> tuple[Assignment | None, Stream | None]:
        held = self.states.assignments.get((command.root_account_id, command.assignment_id or 0))
        if held is not None or command.type != CONFIGURE or command.assignment_id is None:
            return held or (None, None)
        number, secret = self.fresh[command.root_account_id, command.course_id, command.assignment_id]
        stream = Stream(number, command.root_account_id, command.course_id, command.assignment_id, shard)
        assignment = Assignment(number, secret, command.root_account_id, command.course_id, command.assignment_id)
        return assignment, stream


def type_of(said: Parsed | Invalid) -> str:
    """The command's type as it is counted: whatever else a sender calls a type is none."""
    if isinstance(said, Parsed):
        return said.command.type
    return said.type if said.type is not None and said.type in TYPES else UNKNOWN_TYPE


def verdict_key(said: Parsed | Invalid, record: Record) -> bytes | None:
    """The course's id, or the record's own key where no course can be read."""
    course = said.command.course_id if isinstance(said, Parsed) else said.course_id
    return record.key if course is None else str(course).encode()


def about(said: Parsed | Invalid) -> tuple[int | None, int | None, int | None]:
    """Course and assignment for a verdict's subject, and the actor: whom the gateway may show it to."""
    if isinstance(said, Parsed):
        command = said.command
        return command.course_id, command.assignment_id, command.actor_id
    return said.course_id, said.assignment_id, None
