"""The decisions of one batch: each record to its verdict or dead letter, and its events."""

from collections import Counter
from typing import Any, NamedTuple, cast

import orjson
from aiokafka import ConsumerRecord

from schemas.fields import format_time
from services.commands.authorization import CommandAuthorizer
from services.commands.batch_result import UNKNOWN_TYPE, Outcome
from services.commands.global_ids import localize_ids
from services.commands.parse import InvalidCommand, ParsedCommand, UnreadableRecord, parse
from services.commands.parse_errors import COMMAND_TYPES
from services.commands.request_context import add_role, read_request_header
from services.commands.serialization import (
    OUTPUT_BYTES_MAX,
    build_causation_metadata,
    build_grade_change_snapshot,
    encode_accepted_verdict,
    encode_duplicate_verdict,
    encode_event,
    encode_headers,
    encode_rejected_verdict,
    generate_uuid4,
    parse_traceparent,
)
from services.commands.state_cache import StateCache
from services.eventlog.append_batch import AppendBatch, RecordCoordinates
from services.eventlog.store import Stream
from services.kafka.partitioning import SHARD_COUNT, get_course_shard
from services.moderation.assignment import Assignment
from services.moderation.commands import ASSIGNMENT_COMMANDS, Command
from services.moderation.course import Course
from services.moderation.decide import decide
from services.moderation.decisions import COMMAND_ID_REUSED, TOO_LARGE, Accepted, Decision, Rejected
from services.moderation.events import AssignmentEvent, CourseEvent
from services.moderation.evolve import evolve_assignment, evolve_course

Record = ConsumerRecord[Any, Any]
UNKNOWN_ROOT_ACCOUNT = 0
ASSIGNMENT_CREATED = "assignment_created"
CONFIGURE = "configure_assignment"
# (root account, course, assignment or None) to the number and secret the stream would have.
NewStreamIds = dict[tuple[int, int, int | None], tuple[int, bytes]]
PLACEHOLDER_STREAM = (0, b"")


class IncomingCommand(NamedTuple):
    """A record with what it says; ``key``: (command id, root account), None for what has no command id."""

    record: Record
    parse_result: ParsedCommand | InvalidCommand | UnreadableRecord
    shard: int
    command_key: tuple[str, int] | None


def parse_record(record: Record, live_events_shard: int | None = None) -> IncomingCommand:
    """Parse a record and say which shard its outcome belongs to: its course's, else its partition's.

    ``live_events_shard``: the shard of Canvas whose global ids stand for local ones.
    """
    parse_result = parse(localize_ids(record.value, live_events_shard))
    if isinstance(parse_result, ParsedCommand):
        command = parse_result.command
        return IncomingCommand(
            record, parse_result, get_course_shard(command.course_id), (command.command_id, command.root_account_id)
        )
    if isinstance(parse_result, InvalidCommand) and parse_result.course_id is not None:
        shard = get_course_shard(parse_result.course_id)
    else:
        shard = record.partition % SHARD_COUNT
    command_key = (
        (parse_result.command_id, parse_result.root_account_id or UNKNOWN_ROOT_ACCOUNT)
        if isinstance(parse_result, InvalidCommand)
        else None
    )
    return IncomingCommand(record, parse_result, shard, command_key)


class BatchDecider:
    """The decisions of one batch, in the order of its records."""

    def __init__(
        self,
        state_cache: StateCache,
        append_batch: AppendBatch,
        first_verdicts: dict[tuple[str, int], tuple[bytes, str]],
        new_stream_ids: NewStreamIds,
        authorizer: CommandAuthorizer | None,
    ) -> None:
        self.outcomes: Counter[Outcome] = Counter()
        self.state_cache = state_cache
        self.append_batch = append_batch
        self.first_verdicts = first_verdicts
        self.new_stream_ids = new_stream_ids
        self.authorizer = authorizer
        self.decided_at = format_time(append_batch.decided_at)

    def decide_record(self, incoming: IncomingCommand) -> None:
        """Add one record's verdict or dead letter to the batch, and its events."""
        record, parse_result = incoming.record, incoming.parse_result
        coordinates = RecordCoordinates(record.partition, record.offset, record.timestamp)
        if isinstance(parse_result, UnreadableRecord):
            self.append_batch.add_dead_letter(
                incoming.shard,
                coordinates,
                record.key,
                record.value,
                encode_headers(record),
                parse_result.reason,
                parse_result.message,
            )
            return
        assert incoming.command_key is not None
        command_id, root_account_id = incoming.command_key
        causation = build_causation_metadata(command_id, parse_result.correlation_id, parse_traceparent(record))
        first_verdict = self.first_verdicts.get(incoming.command_key)
        authorization_rejection = None if self.authorizer is None else self.authorizer.authorize(record, parse_result)
        if authorization_rejection is not None:
            verdict_body, is_first = self._reject(parse_result, authorization_rejection), False
        elif first_verdict is not None and first_verdict[0] == parse_result.content_hash:
            verdict_body, is_first = encode_duplicate_verdict(first_verdict[1]), False
            self.outcomes[get_metric_type(parse_result), "duplicate", ""] += 1
        elif first_verdict is not None:
            verdict_body, is_first = self._reject(parse_result, COMMAND_ID_REUSED), False
        elif isinstance(parse_result, InvalidCommand):
            rejection = Rejected(
                parse_result.reason,
                parse_result.message,
                errors=tuple((e["path"], e["message"]) for e in parse_result.errors),
            )
            verdict_body, is_first = self._reject(parse_result, rejection), parse_result.root_account_id is not None
        else:
            verdict_body, is_first = self._decide_command(parse_result, record, incoming.shard, causation)
        verdict_text = verdict_body.decode()
        if is_first:
            self.first_verdicts[incoming.command_key] = (parse_result.content_hash, verdict_text)
        causation["time"], causation["root_account_id"] = self.decided_at, root_account_id
        causation["course_id"], causation["assignment_id"], causation["actor_id"] = get_verdict_subject(parse_result)
        self.append_batch.add_verdict(
            incoming.shard,
            root_account_id,
            command_id,
            is_first,
            parse_result.content_hash,
            coordinates,
            get_verdict_key(parse_result, record),
            verdict_text,
            orjson.dumps(causation).decode(),
        )

    def _decide_command(
        self, parsed: ParsedCommand, record: Record, shard: int, causation: dict[str, Any]
    ) -> tuple[bytes, bool]:
        command = parsed.command
        course, course_stream = self._get_course(command, shard)
        assignment, stream = (
            self._get_assignment(command, shard) if command.type in ASSIGNMENT_COMMANDS else (None, None)
        )
        decision: Decision = decide(command, course, assignment, at=self.append_batch.decided_at)
        if isinstance(decision, Accepted):
            aggregate: Course | Assignment = course if assignment is None else assignment
            encoded_events = self._encode_events(decision, command, aggregate.version, assignment is not None)
            verdict = encode_accepted_verdict(
                command, decision, aggregate.version + len(decision.events), self.decided_at, parsed.correlation_id
            )
            if max(map(len, (verdict, *encoded_events))) <= OUTPUT_BYTES_MAX:
                if decision.events:
                    live_metadata = self._build_live_metadata(decision, record, command, course)
                    self._append_events(
                        decision,
                        encoded_events,
                        course,
                        assignment,
                        stream or course_stream,
                        shard,
                        causation,
                        live_metadata,
                    )
                self.outcomes[command.type, "accepted", ""] += 1
                return verdict, True
            decision = TOO_LARGE
        self.outcomes[command.type, "rejected", decision.reason] += 1
        stream_version = self._get_stream_version(command, course, assignment)
        verdict_body = encode_rejected_verdict(
            command.command_id,
            command.root_account_id,
            command.type,
            command.course_id,
            command.assignment_id,
            decision,
            [{"path": path, "message": message} for path, message in decision.errors],
            stream_version,
            self.decided_at,
            parsed.correlation_id,
        )
        return verdict_body, decision.reason != "unauthenticated"

    def _build_live_metadata(
        self, decision: Accepted, record: Record, command: Command, course: Course
    ) -> dict[str, Any]:
        """What events with a live event keep besides: the HTTP request the command came by, if it came by one."""
        if not record.headers or not any(event.may_change_grade for event in decision.events):
            return {}
        request = read_request_header(record, self.authorizer)
        if request is None:
            return {}
        # Encoded once for ten thousand events.
        return {"request": orjson.Fragment(orjson.dumps(add_role(request, course, command.actor_id)))}

    @staticmethod
    def _get_stream_version(command: Command, course: Course, assignment: Assignment | None) -> int:
        if command.type not in ASSIGNMENT_COMMANDS:
            return course.version
        return assignment.version if assignment is not None and assignment.course_id == command.course_id else 0

    def _encode_events(
        self, decision: Accepted, command: Command, stream_version: int, is_assignment_event: bool
    ) -> list[bytes]:
        return [
            encode_event(event, command, stream_version + index, self.decided_at, is_assignment_event)
            for index, event in enumerate(decision.events, 1)
        ]

    def _append_events(
        self,
        decision: Accepted,
        encoded_events: list[bytes],
        course: Course,
        assignment: Assignment | None,
        stream: Stream,
        shard: int,
        causation: dict[str, Any],
        live_metadata: dict[str, Any],
    ) -> None:
        """Put a decision's events in the batch and let the states follow."""
        aggregate: Course | Assignment = course if assignment is None else assignment
        stream_key = (stream.root_account, stream.course if stream.assignment is None else stream.assignment)
        if not aggregate.version:
            self.append_batch.add_stream(stream.number, stream.root_account, stream.course, stream.assignment, shard)
            if assignment is None:
                self.state_cache.courses[stream_key] = (course, stream)
            else:
                self.state_cache.assignments[stream_key] = (assignment, stream)
        for event, encoded_event in zip(decision.events, encoded_events, strict=True):
            metadata = {**causation, "id": generate_uuid4()}
            student_id = getattr(event, "student_id", None)
            if student_id is not None:
                metadata["student_id"] = student_id
            snapshot = None if assignment is None else build_grade_change_snapshot(event, course, assignment)
            if snapshot is not None:
                metadata |= live_metadata
                metadata["live_id"] = generate_uuid4()
                metadata["caliper_id"] = generate_uuid4()
                metadata["live"] = snapshot
            if assignment is not None and event.name == ASSIGNMENT_CREATED:
                metadata["secret"] = assignment.secret.hex()
            position = self.append_batch.add_event(
                shard,
                snapshot is not None,
                stream.number,
                aggregate.version + 1,
                event.name,
                encoded_event.decode(),
                orjson.dumps(metadata).decode(),
            )
            if assignment is None:
                evolve_course(course, cast(CourseEvent, event), position=position, at=self.append_batch.decided_at)
            else:
                evolve_assignment(
                    assignment, cast(AssignmentEvent, event), position=position, at=self.append_batch.decided_at
                )
                self.state_cache.add_event_bytes(stream_key, len(encoded_event))

    def _reject(self, parse_result: ParsedCommand | InvalidCommand, rejected: Rejected) -> bytes:
        self.outcomes[get_metric_type(parse_result), "rejected", rejected.reason] += 1
        stream_version: int | None = None
        if isinstance(parse_result, ParsedCommand):
            command = parse_result.command
            cached_course = self.state_cache.courses.get((command.root_account_id, command.course_id))
            cached_assignment = self.state_cache.assignments.get((command.root_account_id, command.assignment_id or 0))
            course = cached_course[0] if cached_course else Course(command.root_account_id, command.course_id)
            stream_version = self._get_stream_version(
                command, course, cached_assignment[0] if cached_assignment else None
            )
            ids = (command.root_account_id, command.type, command.course_id, command.assignment_id)
            command_id = command.command_id
        else:
            ids = (parse_result.root_account_id, parse_result.type, parse_result.course_id, parse_result.assignment_id)  # type: ignore[assignment]
            command_id = parse_result.command_id
        errors = [{"path": path, "message": message} for path, message in rejected.errors]
        return encode_rejected_verdict(
            command_id, *ids, rejected, errors, stream_version, self.decided_at, parse_result.correlation_id
        )

    def _get_course(self, command: Command, shard: int) -> tuple[Course, Stream]:
        cached = self.state_cache.courses.get((command.root_account_id, command.course_id))
        if cached is not None:
            return cached
        stream_number = self.new_stream_ids.get((command.root_account_id, command.course_id, None), PLACEHOLDER_STREAM)[
            0
        ]
        stream = Stream(stream_number, command.root_account_id, command.course_id, None, shard)
        return Course(command.root_account_id, command.course_id), stream

    def _get_assignment(self, command: Command, shard: int) -> tuple[Assignment | None, Stream | None]:
        cached = self.state_cache.assignments.get((command.root_account_id, command.assignment_id or 0))
        if cached is not None or command.type != CONFIGURE or command.assignment_id is None:
            return cached or (None, None)
        stream_number, secret = self.new_stream_ids[command.root_account_id, command.course_id, command.assignment_id]
        stream = Stream(stream_number, command.root_account_id, command.course_id, command.assignment_id, shard)
        assignment = Assignment(
            stream_number, secret, command.root_account_id, command.course_id, command.assignment_id
        )
        return assignment, stream


def get_metric_type(parse_result: ParsedCommand | InvalidCommand) -> str:
    """The command's type as it is counted: whatever else a sender calls a type is none."""
    if isinstance(parse_result, ParsedCommand):
        return parse_result.command.type
    return parse_result.type if parse_result.type is not None and parse_result.type in COMMAND_TYPES else UNKNOWN_TYPE


def get_verdict_key(parse_result: ParsedCommand | InvalidCommand, record: Record) -> bytes | None:
    """The course's id, or the record's own key where no course can be read."""
    course_id = parse_result.command.course_id if isinstance(parse_result, ParsedCommand) else parse_result.course_id
    return record.key if course_id is None else str(course_id).encode()


def get_verdict_subject(parse_result: ParsedCommand | InvalidCommand) -> tuple[int | None, int | None, int | None]:
    """Course and assignment for a verdict's subject, and the actor: whom the gateway may show it to."""
    if isinstance(parse_result, ParsedCommand):
        command = parse_result.command
        return command.course_id, command.assignment_id, command.actor_id
    return parse_result.course_id, parse_result.assignment_id, None
