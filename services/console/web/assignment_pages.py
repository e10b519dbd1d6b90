"""Assignments: which there are, how one stands and stood, what happened to it; and the way of one command."""

import asyncio
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError
from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import RedirectResponse, Response
from markupsafe import Markup

from schemas.fields import ID_MAX
from services.agreement import LibrariesMissing
from services.agreement.charts import bias_chart, distance_chart
from services.agreement.coefficients import REASON_TEXTS
from services.agreement.ratings import collect_ratings
from services.agreement.statistics import compute_agreement
from services.console.event_summary import summarize_event
from services.console.masking import mask
from services.console.state_diff import CHANGES_MAX, build_student_rows, find_changes
from services.console.web.dependencies import (
    ConsoleDependencies,
    Dependencies,
    Viewer,
    parse_shard_and_number,
    parse_time,
)
from services.console.web.templates import escape_invisible
from services.eventlog.assignment_list import list_assignments
from services.eventlog.command_history import CausedEvent, CommandHistory, CommandVerdict
from services.eventlog.store import StoredEvent
from services.eventlog.stream_loader import load_as_of
from services.eventlog.stream_reader import StreamReader
from services.kafka.topic_reader import open_reader, read_until
from services.kafka.topics import full_topic_name
from services.moderation.assignment import Assignment
from services.moderation.course import Course
from services.moderation.state_document import state_document
from services.moderation.upcasters import upcast
from services.publishing.offset_lookup import find_offsets

router = APIRouter()
ROWS_MAX = 50
EFFECTS_MAX = 200
VERSION_MAX = 2**31 - 1
KAFKA_TIMEOUT_SECONDS = 5


@router.get("/assignments")
async def assignments_page(
    request: Request, dependencies: ConsoleDependencies, user: Viewer, id: str = "", before: str = ""
) -> Response:
    """Assignments, the latest made first, or those of a course or of an id."""
    requested_id = _parse_number(id, ID_MAX) if id else None
    rows = await list_assignments(
        dependencies.pool, requested_id, _parse_number(before, ID_MAX) if before else None, ROWS_MAX + 1
    )
    return dependencies.templates.render_page(
        request,
        "assignments.html",
        rows=rows[:ROWS_MAX],
        id=id,
        next_before=rows[ROWS_MAX - 1].stream_number if len(rows) > ROWS_MAX else None,
    )


@router.get("/assignments/{root_account}/{assignment}")
async def assignment_page(
    request: Request,
    dependencies: ConsoleDependencies,
    user: Viewer,
    root_account: int,
    assignment: int,
    version: str = "",
    at: str = "",
    compare: str = "",
    students: int = 1,
    before: str = "",
) -> Response:
    """An assignment as it stands, or stood at a version or time; what changed since another version; its timeline."""
    snapshot = await _load_snapshot(StreamReader(dependencies.pool), root_account, assignment, version, at, compare)
    document = state_document(snapshot.course, snapshot.state)
    state_changes = find_changes(snapshot.earlier_document, document)
    first_row, rows = (max(students, 1) - 1) * ROWS_MAX, build_student_rows(document)
    stream_version = snapshot.state.version
    until = min(_parse_number(before, VERSION_MAX) - 1 if before else stream_version, stream_version)
    events = await StreamReader(dependencies.pool).events_page(snapshot.stream, max(until - ROWS_MAX, 0), until)
    return dependencies.templates.render_page(
        request,
        "assignment.html",
        root_account=root_account,
        course=snapshot.course,
        state=snapshot.state,
        version=stream_version,
        last_version=snapshot.last_version,
        compared=snapshot.compared,
        changes=state_changes[:CHANGES_MAX],
        more_changes=len(state_changes) > CHANGES_MAX,
        settings=document["settings"],
        rows=rows[first_row : first_row + ROWS_MAX],
        students=len(rows),
        students_page=max(students, 1),
        more_students=len(rows) > first_row + ROWS_MAX,
        query={"version": version, "at": at, "compare": compare},
        names=_grader_names(snapshot.course, snapshot.state),
        events=[_event_row(stored) for stored in reversed(events)],
        next_before=until - ROWS_MAX + 1 if until > ROWS_MAX else None,
        **await _agreement_context(snapshot.course, snapshot.state),
    )


@dataclass(frozen=True, slots=True)
class AssignmentSnapshot:
    """A state that is asked for. ``earlier``: the document it is compared with, None before the first event."""

    stream: int
    course: Course
    state: Assignment
    last_version: int
    compared: int
    earlier_document: dict[str, Any] | None


async def _load_snapshot(
    stream_reader: StreamReader, root_account: int, assignment: int, version: str, at: str, compare: str
) -> AssignmentSnapshot:
    """Raises HTTPException where it never stood so."""
    if not (0 < root_account <= ID_MAX and 0 < assignment <= ID_MAX):
        raise HTTPException(404)
    streams = await stream_reader.streams(root_account, None, assignment)
    if not streams:
        raise HTTPException(404, "no such assignment in this root account")
    as_of_arguments = (
        {"version": _parse_number(version, VERSION_MAX)} if version else {"at": parse_time(_as_utc(at))} if at else {}
    )
    loaded = await load_as_of(stream_reader, root_account, assignment, **as_of_arguments)
    latest = await load_as_of(stream_reader, root_account, assignment) if as_of_arguments else loaded
    if loaded is None or latest is None:
        raise HTTPException(404, "it did not stand so: before its first event, or beyond now")
    compared, earlier_document = _parse_number(compare, VERSION_MAX) if compare else loaded[1].version - 1, None
    if compared > 0:
        compared_state = await load_as_of(stream_reader, root_account, assignment, version=compared)
        if compared_state is None:
            raise HTTPException(404, f"it has no version {compared} to compare with")
        earlier_document = state_document(*compared_state)
    return AssignmentSnapshot(streams[0].number, *loaded, latest[1].version, compared, earlier_document)


def _as_utc(text: str) -> str:
    """A time that a form's field gives without an offset."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return text
    return at.replace(tzinfo=UTC).isoformat() if at.tzinfo is None else text


def _parse_number(text: str, maximum: int) -> int:
    if not text.isascii() or not text.isdecimal() or not 0 < int(text[:20]) <= maximum:
        raise HTTPException(400, "ids and versions are positive numbers")
    return int(text)


def _grader_names(course: Course, state: Assignment) -> dict[int, str]:
    """What the graders are called, by user id: the only names that a page shows."""
    graders = [*state.grader_slots, *({state.final_grader_id} if state.final_grader_id else ())]
    return {grader: course.users.get(grader, {}).get("name") or f"user {grader}" for grader in graders}


async def _agreement_context(course: Course, state: Assignment) -> dict[str, Any]:
    """How far the graders agree, with the plots; computed in a thread, for a class may be large."""
    if not state.moderated_grading:
        return {"agreement": None}
    try:
        statistics = await asyncio.to_thread(compute_agreement, collect_ratings(course, state))
    except LibrariesMissing as error:
        return {"agreement": None, "agreement_problem": str(error)}
    names_or_none = {grader.user_id: course.users.get(grader.user_id, {}).get("name") for grader in statistics.graders}
    names = {user_id: escape_invisible(name or str(user_id)) for user_id, name in names_or_none.items()}
    plots = Markup(distance_chart(statistics)), Markup(bias_chart(statistics, names))
    return {"agreement": statistics, "reasons": REASON_TEXTS, "plots": plots}


def _event_row(stored: StoredEvent) -> dict[str, Any]:
    data, metadata = json.loads(stored.data), json.loads(stored.metadata)
    upcast_event = {**data, "payload": upcast(stored.type, stored.type_version, data["payload"])}
    return {
        "version": stored.version,
        "at": stored.recorded_at,
        "type": stored.type,
        "what": summarize_event(stored.type, upcast_event),
        "student": data["student_id"],
        "actor": data["user_id"],
        "command_id": metadata["command_id"],
    }


@router.get("/commands/{root_account}/{command_id}")
async def redirect_to_verdict(
    request: Request, dependencies: ConsoleDependencies, user: Viewer, root_account: int, command_id: UUID
) -> Response:
    """The way of a command, by its id: that of the verdict that settled it."""
    verdict_record = (
        await CommandHistory(dependencies.pool).first_verdict(root_account, str(command_id))
        if 0 < root_account <= ID_MAX
        else None
    )
    if verdict_record is None:
        raise HTTPException(404, "no verdict has settled this command: it is unknown, or not decided yet")
    return RedirectResponse(f"/verdicts/{verdict_record.shard}-{verdict_record.number}", 303)


@router.get("/verdicts/{verdict_id}")
async def command_page(request: Request, dependencies: ConsoleDependencies, user: Viewer, verdict_id: str) -> Response:
    """The way of one command: record, verdict, events, live events, with the places on the topics."""
    command_history = CommandHistory(dependencies.pool)
    verdict_record = await command_history.verdict_at(*parse_shard_and_number(verdict_id))
    if verdict_record is None:
        raise HTTPException(404)
    verdict_body = json.loads(verdict_record.body)
    root_account_id = verdict_body["root_account_id"]
    caused_events = (
        []
        if root_account_id is None or verdict_body["duplicate"]
        else await command_history.caused_events(int(root_account_id), verdict_record)
    )
    topic_offsets, problem = await _find_offsets(
        dependencies, verdict_record, caused_events[:EFFECTS_MAX], datetime.fromisoformat(verdict_body["decided_at"])
    )
    shape, missing_reason = await _load_record_shape(dependencies, verdict_record)
    return dependencies.templates.render_page(
        request,
        "command.html",
        decision=verdict_record,
        verdict=verdict_body,
        appended_at=datetime.fromtimestamp(verdict_record.append_time / 1_000, UTC),
        decided_at=datetime.fromisoformat(verdict_body["decided_at"]),
        effects=caused_events[:EFFECTS_MAX],
        more_effects=max(len(caused_events) - EFFECTS_MAX, 0),
        offsets=topic_offsets,
        prefix=dependencies.settings.topic_prefix,
        problem=problem,
        shape=shape,
        missing_reason=missing_reason,
    )


async def _find_offsets(
    dependencies: Dependencies, verdict_record: CommandVerdict, caused_events: list[CausedEvent], since: datetime
) -> tuple[dict[str, int | None], str | None]:
    """The offset of the verdict, and of the first event and first grade_change, by topic; and what keeps us from it."""
    numbers_by_topic = {"verdicts": verdict_record.number}
    if caused_events:
        numbers_by_topic["events"] = caused_events[0].position
    live_number = next((effect.live_number for effect in caused_events if effect.live_number is not None), None)
    if live_number is not None:
        numbers_by_topic["live-events"] = live_number
    shard, prefix = verdict_record.shard, dependencies.settings.topic_prefix
    try:
        async with asyncio.timeout(KAFKA_TIMEOUT_SECONDS):
            sequence_numbers = {
                (full_topic_name(prefix, name), shard): number for name, number in numbers_by_topic.items()
            }
            offsets = await find_offsets(dependencies.settings.kafka_bootstrap, sequence_numbers, since)
    except (KafkaError, OSError, TimeoutError) as error:
        return dict.fromkeys(numbers_by_topic), f"Kafka does not answer: {type(error).__name__}"
    return {name: offsets[full_topic_name(prefix, name), shard] for name in numbers_by_topic}, None


async def _load_record_shape(
    dependencies: Dependencies, verdict_record: CommandVerdict
) -> tuple[str | None, str | None]:
    """The shape of the command's record, and why it cannot be shown where it cannot."""
    topic_partition = TopicPartition(verdict_record.topic, verdict_record.partition)
    try:
        async with (
            asyncio.timeout(KAFKA_TIMEOUT_SECONDS),
            open_reader(dependencies.settings.kafka_bootstrap, [topic_partition]) as consumer,
        ):
            if (await consumer.beginning_offsets([topic_partition]))[topic_partition] > verdict_record.offset:
                return None, "The record is gone from the topic by retention; what was decided stays."
            consumer.seek(topic_partition, verdict_record.offset)
            async for _, records in read_until(consumer, {topic_partition: verdict_record.offset + 1}):
                if (
                    records
                    and records[0].offset == verdict_record.offset
                    and records[0].timestamp == verdict_record.append_time
                ):
                    return escape_invisible(mask(records[0].value)), None
                break
    except (KafkaError, OSError, TimeoutError) as error:
        return None, f"Kafka does not answer: {type(error).__name__}"
    return None, "Another record stands there now: the topic was made again."
