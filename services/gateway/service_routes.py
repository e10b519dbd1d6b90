"""The service's own endpoints: verdicts, an assignment's current or past state, its audit trail."""

import re
from datetime import datetime
from typing import Annotated

import orjson
from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from pydantic.json_schema import SkipJsonSchema

from schemas.fields import is_uuid
from services.eventlog.schedules import find_refusal
from services.eventlog.stream_reader import StoredVerdict, VerdictArchived
from services.gateway.authentication import Caller
from services.gateway.dependencies import AuthenticatedCaller, Dependencies, GatewayDependencies
from services.gateway.hidden_names import hide_names, hide_students_in_message
from services.gateway.openapi_service import (
    GET_COMMAND,
    GET_STATE,
    LIST_EVENTS,
)
from services.gateway.pagination import link_header, parse_page
from services.gateway.path_ids import load_assignment
from services.gateway.pending_places import PLACE_PATTERN, PendingPlace, parse_place
from services.gateway.rails_times import parse_time
from services.gateway.responses import (
    bad_request,
    expired,
    json_response,
    not_found,
    parse_verdict,
    unauthorized,
    wants_string_ids,
)
from services.moderation.assignment import Assignment
from services.moderation.course import Course
from services.moderation.state_document import state_document
from services.moderation.visibility import is_auditor

router = APIRouter(prefix="/api/moderation/v1")
# Validated here instead of by FastAPI, so that the error names the remedy.
OptionalQueryText = str | SkipJsonSchema[None]
_VERSION_PATTERN = re.compile("[1-9][0-9]{0,8}")
AsOfVersion = Annotated[
    OptionalQueryText,
    Query(
        description="the state as of this version of the stream",
        json_schema_extra={"pattern": f"^{_VERSION_PATTERN.pattern}$"},
    ),
]
AsOfTime = Annotated[
    OptionalQueryText,
    Query(
        description="the state as of this time (RFC 3339). Decisions are dated from when they begin: of the last"
        " seconds, one that is not completed is missing, and the same time is later answered with it. A version always"
        " has the same decisions",
        json_schema_extra={"format": "date-time"},
    ),
]
PendingPlaceText = Annotated[
    OptionalQueryText,
    Query(
        description="PARTITION-OFFSET-SIGNATURE from Location; without a valid signature the response is never 202",
        json_schema_extra={"pattern": f"^{PLACE_PATTERN.pattern}$"},
    ),
]


@router.get("/commands/{command_id}", operation_id="get_command", **GET_COMMAND)
async def command(
    request: Request,
    dependencies: GatewayDependencies,
    caller: AuthenticatedCaller,
    command_id: str,
    record: PendingPlaceText = None,
) -> Response:
    """Return the verdict of a command, for its actor and for auditors; 202 until the record is decided."""
    if not is_uuid(command_id):
        raise not_found()
    place = None if record is None else _parse_place(record)
    # In this order: a record decided between the two queries has a verdict in the second one.
    is_pending = await _is_pending(dependencies, caller, command_id.lower(), place)
    try:
        stored_verdict = await _find_verdict(
            dependencies, caller, command_id.lower(), None if place is None else place.coordinates
        )
    except VerdictArchived:
        raise expired() from None
    if stored_verdict is None:
        if is_pending:
            return json_response(
                request, {"command_id": command_id.lower(), "status": "pending"}, 202, {"Retry-After": "1"}
            )
        raise not_found()
    metadata = orjson.loads(stored_verdict.metadata)
    course_id = metadata.get("course_id")
    course = None if course_id is None else await dependencies.state_cache.get_course(caller.root_account_id, course_id)
    verdict = parse_verdict(stored_verdict.body)
    if course is not None and is_auditor(course, caller.user_id):
        return json_response(request, verdict)
    if metadata.get("actor_id") != caller.user_id:
        raise not_found()
    hidden = {
        "message": await hide_students_in_message(dependencies, caller, verdict),
        "result": await hide_names(dependencies, caller, verdict),
    }
    return json_response(request, verdict | hidden)


def _parse_place(record: str) -> PendingPlace:
    place = parse_place(record)
    if place is None:
        raise bad_request("record is malformed: send it as in Location")
    return place


async def _find_verdict(
    dependencies: Dependencies, caller: Caller, command_id: str, coordinates: tuple[int, int] | None
) -> StoredVerdict | None:
    """Find the verdict of the record if it holds the command, else the command's first verdict."""
    for stored_verdict in (
        [] if coordinates is None else await dependencies.reader.verdicts_at(dependencies.commands_topic, [coordinates])
    ):
        if (
            stored_verdict.root_account == caller.root_account_id
            and orjson.loads(stored_verdict.body)["command_id"] == command_id
        ):
            return stored_verdict
    return await dependencies.reader.first_verdict(command_id, caller.root_account_id)


async def _is_pending(dependencies: Dependencies, caller: Caller, command_id: str, place: PendingPlace | None) -> bool:
    if place is None:
        return dependencies.producer.is_pending(command_id)
    if not await dependencies.pending_places.was_told(caller, command_id, place):
        return False
    if place.coordinates is None:
        return dependencies.pending_places.may_arrive(place) or dependencies.producer.is_pending(command_id)
    partition, offset = place.coordinates
    return await dependencies.reader.watermark(dependencies.commands_topic, partition) < offset


@router.get("/assignments/{assignment_id}/state", operation_id="get_assignment_state", **GET_STATE)
async def state(
    request: Request,
    dependencies: GatewayDependencies,
    caller: AuthenticatedCaller,
    assignment_id: str,
    version: AsOfVersion = None,
    at: AsOfTime = None,
) -> Response:
    """Return an assignment's complete state, for auditors."""
    until_version, until = parse_as_of(version, at)
    refused_with = None
    course_and_assignment = await load_state(dependencies, caller, assignment_id, version, at)
    while (scheduled := course_and_assignment[1].scheduled_publication) is not None:
        refused_with = await find_refusal(
            dependencies.reader, course_and_assignment[1], version=until_version, at=until
        )
        if until_version is not None or until is not None:
            break
        # Another request may have changed the current states meanwhile, and a failover may have lost them.
        course_and_assignment = await load_state(dependencies, caller, assignment_id, version, at)
        if course_and_assignment[1].scheduled_publication == scheduled:
            break
        refused_with = None
    is_current = version is None and at is None and not wants_string_ids(request)
    return json_response(
        request,
        dependencies.document_cache.get_document(*course_and_assignment, refused_with)
        if is_current
        else state_document(*course_and_assignment, refused_with=refused_with),
    )


@router.get("/assignments/{assignment_id}/events", operation_id="list_assignment_events", **LIST_EVENTS)
async def events(
    request: Request, dependencies: GatewayDependencies, caller: AuthenticatedCaller, assignment_id: str
) -> Response:
    """List an assignment's events by version, for auditors; paginated."""
    page = parse_page(request)
    parsed_id = await _require_auditor(dependencies, caller, assignment_id)
    course_and_assignment = await dependencies.state_cache.get_assignment(caller.root_account_id, parsed_id)
    if course_and_assignment is None:
        raise not_found()
    count = course_and_assignment[1].version
    rows = await dependencies.reader.events_page(
        course_and_assignment[1].stream_number, min(page.start, count), min(page.start + page.size, count)
    )
    return json_response(
        request,
        [{"id": orjson.loads(row.metadata)["id"], "event_type": row.type, **orjson.loads(row.data)} for row in rows],
        headers=link_header(request, dependencies.gateway_url, page, count),
    )


def parse_as_of(version: str | None, at: str | None) -> tuple[int | None, datetime | None]:
    """Parse the requested version or time. Raises ApiError (400) if one is malformed or both are sent."""
    if version is not None and at is not None:
        raise bad_request("send version or at, not both")
    return None if version is None else _parse_version(version), None if at is None else parse_time(at, "at")


async def load_state(
    dependencies: Dependencies, caller: Caller, assignment_id: str, version: str | None, at: str | None
) -> tuple[Course, Assignment]:
    """Load an assignment and its course, now or as of a version or time, for auditors. Raises ApiError.

    The result is valid until the next ``await``.
    """
    until_version, until = parse_as_of(version, at)
    parsed_id = await _require_auditor(dependencies, caller, assignment_id)
    if until_version is None and until is None:
        course_and_assignment = await dependencies.state_cache.get_assignment(caller.root_account_id, parsed_id)
    else:
        course_and_assignment = await dependencies.state_cache.load_as_of(
            caller.root_account_id, parsed_id, version=until_version, at=until
        )
    if course_and_assignment is None:
        raise not_found()
    return course_and_assignment


async def _require_auditor(dependencies: Dependencies, caller: Caller, assignment_id: str) -> int:
    """Return the assignment's id. Raises ApiError if it is unknown or the caller is not an auditor."""
    course, assignment = await load_assignment(dependencies, caller, assignment_id)
    if not is_auditor(course, caller.user_id):
        raise unauthorized()
    return assignment.assignment_id


def _parse_version(text: str) -> int:
    if not _VERSION_PATTERN.fullmatch(text):
        raise bad_request("send version as a number from 1")
    return int(text)
