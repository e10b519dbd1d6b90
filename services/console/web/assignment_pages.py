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
from services.agreement.charts import bias_chart, distance_chart
from services.agreement.coefficients import REASON_TEXTS
from services.agreement.ratings import collect_ratings
from services.agreement.statistics import compute_agreement
from services.console.event_summary import happening
from services.console.masking import masked
from services.console.state_diff import CHANGES_MAX, changes, students_of
from services.console.web.dependencies import ConsoleParts, Parts, Viewer, letter_of, moment_of
from services.console.web.templates import visible
from services.eventlog.assignment_list import assignments
from services.eventlog.command_history import Causes, Decision, Effect
from services.eventlog.store import Stored
from services.eventlog.stream_loader import as_of
from services.eventlog.stream_reader import Reader
from services.kafka.topic_reader import read_until, reader
from services.kafka.topics import topic
from services.moderation.assignment import Assignment
from services.moderation.course import Course
from services.moderation.state_document import state_document
from services.moderation.upcasters import upcast
from services.publishing.offset_lookup import offsets_of

router = APIRouter()
ROWS_MAX = 50
EFFECTS_MAX = 200
VERSION_MAX = 2**31 - 1
FIND_SECONDS_MAX = 5


@router.get("/assignments")
async def page(request: Request, parts: ConsoleParts, person: Viewer, id: str = "", before: str = "") -> Response:
    """Assignments, the latest made first, or those of a course or of an id."""
    wanted = _number(id, ID_MAX) if id else None
    rows = await assignments(parts.pool, wanted, _number(before, ID_MAX) if before else None, ROWS_MAX + 1)
    return parts.rendering.page(
        request,
        "assignments.html",
        rows=rows[:ROWS_MAX],
        id=id,
        next_before=rows[ROWS_MAX - 1].number if len(rows) > ROWS_MAX else None,
    )


@router.get("/assignments/{root_account}/{assignment}")
async def one(
    request: Request,
    parts: ConsoleParts,
    person: Viewer,
    root_account: int,
    assignment: int,
    version: str = "",
    at: str = "",
    compare: str = "",
    students: int = 1,
    before: str = "",
) -> Response:
    """An assignment as it stands, or stood at a version or time; what changed since another version; its timeline."""
    shown = await _shown(Reader(parts.pool), root_account, assignment, version, at, compare)
    document = state_document(shown.course, shown.state)
    differences = changes(shown.earlier, document)
    first, rows = (max(students, 1) - 1) * ROWS_MAX, students_of(document)
    number = shown.state.version
    until = min(_number(before, VERSION_MAX) - 1 if before else number, number)
    events = await Reader(parts.pool).page(shown.stream, max(until - ROWS_MAX, 0), until)
    return parts.rendering.page(
        request,
        "assignment.html",
        root_account=root_account,
        course=shown.course,
        state=shown.state,
        version=number,
        last_version=shown.last_version,
        compared=shown.compared,
        changes=differences[:CHANGES_MAX],
        more_changes=len(differences) > CHANGES_MAX,
        settings=document["settings"],
        rows=rows[first : first + ROWS_MAX],
        students=len(rows),
        students_page=max(students, 1),
        more_students=len(rows) > first + ROWS_MAX,
        query={"version": version, "at": at, "compare": compare},
        names=_names(shown.course, shown.state),
        events=[_told(stored) for stored in reversed(events)],
        next_before=until - ROWS_MAX + 1 if until > ROWS_MAX else None,
        **await _agreement(shown.course, shown.state),
    )


@dataclass(frozen=True, slots=True)
class Shown:
    """A state that is asked for. ``earlier``: the document it is compared with, None before the first event."""

    stream: int
    course: Course
    state: Assignment
    last_version: int
    compared: int
    earlier: dict[str, Any] | None


async def _shown(reader_: Reader, root_account: int, assignment: int, version: str, at: str, compare: str) -> Shown:
    """Raises HTTPException where it never stood so."""
    if not (0 < root_account <= ID_MAX and 0 < assignment <= ID_MAX):
        raise HTTPException(404)
    streams = await reader_.streams(root_account, None, assignment)
    if not streams:
        raise HTTPException(404, "no such assignment in this root account")
    then = {"version": _number(version, VERSION_MAX)} if version else {"at": moment_of(_as_utc(at))} if at else {}
    found = await as_of(reader_, root_account, assignment, **then)
    latest = await as_of(reader_, root_account, assignment) if then else found
    if found is None or latest is None:
        raise HTTPException(404, "it did not stand so: before its first event, or beyond now")
    compared, earlier = _number(compare, VERSION_MAX) if compare else found[1].version - 1, None
    if compared > 0:
        before = await as_of(reader_, root_account, assignment, version=compared)
        if before is None:
            raise HTTPException(404, f"it has no version {compared} to compare with")
        earlier = state_document(*before)
    return Shown(streams[0].number, *found, latest[1].version, compared, earlier)


def _as_utc(text: str) -> str:
    """A time that a form's field gives without an offset."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return text
    return at.replace(tzinfo=UTC).isoformat() if at.tzinfo is None else text


def _number(text: str, most: int) -> int:
    if not text.isascii() or not text.isdecimal() or not 0 < int(text[:20]) <= most:
        raise HTTPException(400, "ids and versions are positive numbers")
    return int(text)


def _names(course: Course, state: Assignment) -> dict[int, str]:
    """What the graders are called, by user id: the only names that a page shows."""
    graders = [*state.grader_slots, *({state.final_grader_id} if state.final_grader_id else ())]
    return {grader: course.users.get(grader, {}).get("name") or f"user {grader}" for grader in graders}


async def _agreement(course: Course, state: Assignment) -> dict[str, Any]:
    """How far the graders agree, with the plots; figured beside the loop, for a class may be large."""
    if not state.moderated_grading:
        return {"agreed": None}
    figures = await asyncio.to_thread(compute_agreement, collect_ratings(course, state))
    called = {grader.user_id: course.users.get(grader.user_id, {}).get("name") for grader in figures.graders}
    names = {user_id: visible(name or str(user_id)) for user_id, name in called.items()}
    plots = Markup(distance_chart(figures)), Markup(bias_chart(figures, names))
    return {"agreed": figures, "reasons": REASON_TEXTS, "plots": plots}


def _told(stored: Stored) -> dict[str, Any]:
    data, metadata = json.loads(stored.data), json.loads(stored.metadata)
    today = {**data, "payload": upcast(stored.type, stored.type_version, data["payload"])}
    return {
        "version": stored.version,
        "at": stored.recorded_at,
        "type": stored.type,
        "what": happening(stored.type, today),
        "student": data["student_id"],
        "actor": data["user_id"],
        "command_id": metadata["command_id"],
    }


@router.get("/commands/{root_account}/{command_id}")
async def command(
    request: Request, parts: ConsoleParts, person: Viewer, root_account: int, command_id: UUID
) -> Response:
    """The way of a command, by its id: that of the verdict that settled it."""
    decision = await Causes(parts.pool).decision(root_account, str(command_id)) if 0 < root_account <= ID_MAX else None
    if decision is None:
        raise HTTPException(404, "no verdict has settled this command: it is unknown, or not decided yet")
    return RedirectResponse(f"/verdicts/{decision.shard}-{decision.number}", 303)


@router.get("/verdicts/{verdict_id}")
async def verdict(request: Request, parts: ConsoleParts, person: Viewer, verdict_id: str) -> Response:
    """The way of one command: record, verdict, events, live events, with the places on the topics."""
    causes = Causes(parts.pool)
    decision = await causes.decision_at(*letter_of(verdict_id))
    if decision is None:
        raise HTTPException(404)
    said = json.loads(decision.body)
    root = said["root_account_id"]
    effects = [] if root is None or said["duplicate"] else await causes.effects(int(root), decision)
    places, problem = await _places(parts, decision, effects[:EFFECTS_MAX], datetime.fromisoformat(said["decided_at"]))
    shape, gone = await _record(parts, decision)
    return parts.rendering.page(
        request,
        "command.html",
        decision=decision,
        said=said,
        appended_at=datetime.fromtimestamp(decision.append_time / 1_000, UTC),
        decided_at=datetime.fromisoformat(said["decided_at"]),
        effects=effects[:EFFECTS_MAX],
        more_effects=max(len(effects) - EFFECTS_MAX, 0),
        places=places,
        prefix=parts.settings.topic_prefix,
        problem=problem,
        shape=shape,
        gone=gone,
    )


async def _places(
    parts: Parts, decision: Decision, effects: list[Effect], since: datetime
) -> tuple[dict[str, int | None], str | None]:
    """The offset of the verdict, and of the first event and first grade_change, by topic; and what keeps us from it."""
    wanted = {"verdicts": decision.number}
    if effects:
        wanted["events"] = effects[0].position
    live = next((effect.live_number for effect in effects if effect.live_number is not None), None)
    if live is not None:
        wanted["live-events"] = live
    shard, prefix = decision.shard, parts.settings.topic_prefix
    try:
        async with asyncio.timeout(FIND_SECONDS_MAX):
            asked = {(topic(prefix, name), shard): number for name, number in wanted.items()}
            found = await offsets_of(parts.settings.kafka_bootstrap, asked, since)
    except (KafkaError, OSError, TimeoutError) as error:
        return dict.fromkeys(wanted), f"Kafka does not answer: {type(error).__name__}"
    return {name: found[topic(prefix, name), shard] for name in wanted}, None


async def _record(parts: Parts, decision: Decision) -> tuple[str | None, str | None]:
    """The shape of the command's record, and why it cannot be shown where it cannot."""
    place = TopicPartition(decision.topic, decision.partition)
    try:
        async with (
            asyncio.timeout(FIND_SECONDS_MAX),
            reader(parts.settings.kafka_bootstrap, [place]) as consumer,
        ):
            if (await consumer.beginning_offsets([place]))[place] > decision.offset:
                return None, "The record is gone from the topic by retention; what was decided stays."
            consumer.seek(place, decision.offset)
            async for _, records in read_until(consumer, {place: decision.offset + 1}):
                if records and records[0].offset == decision.offset and records[0].timestamp == decision.append_time:
                    return visible(masked(records[0].value)), None
                break
    except (KafkaError, OSError, TimeoutError) as error:
        return None, f"Kafka does not answer: {type(error).__name__}"
    return None, "Another record stands there now: the topic was made again."
