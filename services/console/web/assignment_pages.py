"""Pages about assignments: the list, and one assignment at any version or time with its timeline."""

import asyncio
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import Response
from markupsafe import Markup

from schemas.fields import ID_MAX
from services.agreement import LibrariesMissing
from services.agreement.charts import bias_chart, distance_chart
from services.agreement.coefficients import REASON_TEXTS
from services.agreement.ratings import collect_ratings
from services.agreement.statistics import compute_agreement
from services.console.event_summary import summarize_event
from services.console.state_diff import CHANGES_MAX, StudentRow, build_student_rows, find_changes
from services.console.web.dependencies import (
    ConsoleDependencies,
    Viewer,
    as_utc,
    parse_id,
    parse_time,
    record_page,
)
from services.console.web.exported_tables import ASSIGNMENTS
from services.console.web.row_list import Rows, build_row_page
from services.console.web.templates import escape_invisible
from services.eventlog.aggregates import load_as_of
from services.eventlog.assignment_list import list_assignments
from services.eventlog.schedules import find_refusal
from services.eventlog.stored_events import StoredEvent
from services.eventlog.stream_reader import StreamReader
from services.moderation.assignment import Assignment
from services.moderation.course import Course
from services.moderation.state_document import state_document
from services.moderation.upcasters import upcast

router = APIRouter()
ROWS_MAX = 50
VERSION_MAX = 2**31 - 1
_NUMBER = re.compile("[0-9]{1,19}")
STUDENT_COLUMNS: Mapping[str, Callable[[StudentRow], Any]] = {
    "student": lambda row: row.student_id,
    "set": lambda row: not row.in_moderation_set,
    "marks": lambda row: len(row.grade_cells),
    "submission": lambda row: row.state,
    "grade": lambda row: row.grade,
}


@router.get("/assignments")
async def assignments_page(
    request: Request,
    dependencies: ConsoleDependencies,
    user: Viewer,
    id: str = "",
    before: str = "",
    csv: Literal["", "assignments"] = "",
) -> Response:
    """List assignments, newest first, or those of a course or with an id."""
    requested_id = parse_number(id, ID_MAX) if id else None
    rows = await list_assignments(
        dependencies.pool,
        requested_id,
        parse_number(before, ID_MAX) if before else None,
        ROWS_MAX + 1,
        None if user.sees_all_accounts else user.root_account_id,
    )
    if csv:
        return ASSIGNMENTS.respond(rows[:ROWS_MAX])
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
    students: Rows,
    version: str = "",
    at: str = "",
    compare: str = "",
    before: str = "",
) -> Response:
    """Show an assignment at a version or time: its changes since another version, its students and its timeline."""
    if not user.sees(root_account):
        raise HTTPException(404)
    snapshot = await _load_snapshot(StreamReader(dependencies.pool), root_account, assignment, version, at, compare)
    await record_page(request, user, "assignment page", {"root_account": root_account, "assignment": assignment})
    document = state_document(snapshot.course, snapshot.state, refused_with=snapshot.refused_with)
    state_changes = find_changes(snapshot.earlier_document, document)
    path, kept = f"/assignments/{root_account}/{assignment}", {"version": version, "at": at, "compare": compare}
    stream_version = snapshot.state.version
    until = min(parse_number(before, VERSION_MAX) - 1 if before else stream_version, stream_version)
    events = await StreamReader(dependencies.pool).events_page(snapshot.stream, max(until - ROWS_MAX, 0), until)
    return dependencies.templates.render_page(
        request,
        "assignment.html",
        view={"path": path, "user": user},
        root_account=root_account,
        course=snapshot.course,
        state=snapshot.state,
        version=stream_version,
        last_version=snapshot.last_version,
        compared=snapshot.compared,
        changes=state_changes[:CHANGES_MAX],
        more_changes=len(state_changes) > CHANGES_MAX,
        settings=document["settings"],
        schedule=document["scheduled_publication"],
        page=build_row_page(
            build_student_rows(document), students, path, lambda row: str(row.student_id), STUDENT_COLUMNS, kept
        ),
        explains=snapshot.state.moderated_grading and not snapshot.state.anonymizes_students(snapshot.course),
        query=kept,
        names=_grader_names(snapshot.course, snapshot.state),
        events=[_event_row(stored) for stored in reversed(events)],
        next_before=until - ROWS_MAX + 1 if until > ROWS_MAX else None,
        **await _agreement_context(snapshot.course, snapshot.state),
    )


@dataclass(frozen=True, slots=True)
class AssignmentSnapshot:
    """A requested state. ``earlier_document``: the state to compare with, None before the first event.

    ``refused_with``: the reason if the publication of its schedule was refused.
    """

    stream: int
    course: Course
    state: Assignment
    last_version: int
    compared: int
    earlier_document: dict[str, Any] | None
    refused_with: str | None


async def _load_snapshot(
    stream_reader: StreamReader, root_account: int, assignment: int, version: str, at: str, compare: str
) -> AssignmentSnapshot:
    """Load the requested state. Raises HTTPException if it never existed."""
    if parse_id(root_account) is None or parse_id(assignment) is None:
        raise HTTPException(404)
    streams = await stream_reader.streams(root_account, None, assignment)
    if not streams:
        raise HTTPException(404, "This root account has no such assignment.")
    as_of_arguments = (
        {"version": parse_number(version, VERSION_MAX)} if version else {"at": parse_time(as_utc(at))} if at else {}
    )
    loaded = await load_as_of(stream_reader, root_account, assignment, **as_of_arguments)
    latest = await load_as_of(stream_reader, root_account, assignment) if as_of_arguments else loaded
    if loaded is None or latest is None:
        raise HTTPException(404, "The assignment did not exist at that version or time, or it lies in the future.")
    compared, earlier_document = parse_number(compare, VERSION_MAX) if compare else loaded[1].version - 1, None
    if compared > 0:
        compared_state = await load_as_of(stream_reader, root_account, assignment, version=compared)
        if compared_state is None:
            raise HTTPException(404, f"The assignment has no version {compared} to compare with.")
        earlier_document = state_document(*compared_state)
    refused_with = await find_refusal(stream_reader, loaded[1], **as_of_arguments)
    return AssignmentSnapshot(streams[0].number, *loaded, latest[1].version, compared, earlier_document, refused_with)


def parse_number(text: str, maximum: int) -> int:
    """Parse an id or version in a query. Raises HTTPException."""
    number = int(text) if _NUMBER.fullmatch(text) else 0
    if not 0 < number <= maximum:
        raise HTTPException(400, "Ids and versions must be positive numbers.")
    return number


def _grader_names(course: Course, state: Assignment) -> dict[int, str]:
    """Return the graders' names by user id; pages show no other names."""
    graders = [*state.grader_slots, *({state.final_grader_id} if state.final_grader_id else ())]
    return {grader: course.users.get(grader, {}).get("name") or f"user {grader}" for grader in graders}


async def _agreement_context(course: Course, state: Assignment) -> dict[str, Any]:
    """Compute the agreement of the graders and its plots, in a thread because classes may be large."""
    if not state.moderated_grading:
        return {"agreement": None, "agreement_problem": None}
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
