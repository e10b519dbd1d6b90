"""The service's own endpoints: verdicts of commands, an assignment's state now and then, its audit trail."""

import re
from typing import Annotated

import orjson
from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from pydantic.json_schema import SkipJsonSchema

from schemas.fields import is_uuid
from services.eventlog.stream_reader import FoundVerdict
from services.gateway.authentication import Caller
from services.gateway.dependencies import GatewayParts, KnownCaller, Parts
from services.gateway.openapi_docs import OWN_COMMAND, OWN_EVENTS, OWN_STATE
from services.gateway.pagination import link_header, page_of
from services.gateway.rails_params import path_id, time_of
from services.gateway.responses import answer, bad_request, not_found, string_ids, unauthorized
from services.moderation.assignment import Assignment
from services.moderation.course import Course
from services.moderation.state_document import state_document

AUDITOR = "view_audit_trail"
router = APIRouter(prefix="/api/moderation/v1")
# What is no such text is refused here and not by FastAPI, with its remedy.
Asked = str | SkipJsonSchema[None]
_VERSION = re.compile("[1-9][0-9]{0,8}")
AsOfVersion = Annotated[
    Asked,
    Query(description="as the stream stood at this version", json_schema_extra={"pattern": f"^{_VERSION.pattern}$"}),
]
AsOfTime = Annotated[
    Asked, Query(description="as it stood at this time (RFC 3339)", json_schema_extra={"format": "date-time"})
]
_RECORD = re.compile(r"([0-9]{1,9})-([0-9]{1,18})")
AtRecord = Annotated[
    Asked,
    Query(description="PARTITION-OFFSET, as Location named it", json_schema_extra={"pattern": f"^{_RECORD.pattern}$"}),
]


@router.get("/commands/{command_id}", operation_id="get_command", **OWN_COMMAND)
async def command(
    request: Request,
    parts: GatewayParts,
    caller: KnownCaller,
    command_id: str,
    record: AtRecord = None,
) -> Response:
    """The verdict of a command, for its actor and for auditors; 202 while the record waits to be decided."""
    if not is_uuid(command_id):
        raise not_found()
    place = None if record is None else _place(record)
    # In this order: what is decided between the two questions has a verdict by the second one.
    pending = await _is_pending(parts, command_id.lower(), place)
    found = await _verdict(parts, caller, command_id.lower(), place)
    if found is None:
        if pending:
            return answer(request, {"command_id": command_id.lower(), "status": "pending"}, 202, {"Retry-After": "1"})
        raise not_found()
    metadata = orjson.loads(found.metadata)
    if metadata.get("actor_id") != caller.user_id:
        course_id = metadata["course_id"]
        course = None if course_id is None else await parts.states.course(caller.root_account_id, course_id)
        if course is None or not _is_auditor(course, caller):
            raise not_found()
    return answer(request, orjson.loads(found.body))


def _place(record: str) -> tuple[int, int]:
    match = _RECORD.fullmatch(record)
    if match is None:
        raise bad_request("send record as PARTITION-OFFSET, as Location named it")
    return int(match[1]), int(match[2])


async def _verdict(parts: Parts, caller: Caller, command_id: str, place: tuple[int, int] | None) -> FoundVerdict | None:
    """That of the record, if it is the command's; else the one that settled the command."""
    for found in [] if place is None else await parts.reader.verdicts_at(parts.commands_topic, [place]):
        if found.root_account == caller.root_account_id and orjson.loads(found.body)["command_id"] == command_id:
            return found
    return await parts.reader.first_verdict(command_id, caller.root_account_id)


async def _is_pending(parts: Parts, command_id: str, place: tuple[int, int] | None) -> bool:
    if place is None:
        return command_id in parts.sender.in_flight
    partition, offset = place
    return await parts.reader.watermark(parts.commands_topic, partition) < offset


@router.get("/assignments/{assignment_id}/state", operation_id="get_assignment_state", **OWN_STATE)
async def state(
    request: Request,
    parts: GatewayParts,
    caller: KnownCaller,
    assignment_id: str,
    version: AsOfVersion = None,
    at: AsOfTime = None,
) -> Response:
    """An assignment's whole state, for auditors."""
    found = await asked_state(parts, caller, assignment_id, version, at)
    now = version is None and at is None and not string_ids(request)
    return answer(request, parts.documents.document(*found) if now else state_document(*found))


@router.get("/assignments/{assignment_id}/events", operation_id="list_assignment_events", **OWN_EVENTS)
async def events(request: Request, parts: GatewayParts, caller: KnownCaller, assignment_id: str) -> Response:
    """An assignment's events in their order, for auditors; paginated."""
    page = page_of(request)
    number = await _audited(parts, caller, assignment_id)
    found = await parts.states.assignment(caller.root_account_id, number)
    if found is None:
        raise not_found()
    count = found[1].version
    rows = await parts.reader.page(found[1].stream_number, min(page.start, count), min(page.start + page.size, count))
    return answer(
        request,
        [{"id": orjson.loads(row.metadata)["id"], "event_type": row.type, **orjson.loads(row.data)} for row in rows],
        headers=link_header(request, parts.gateway_url, page, count),
    )


async def asked_state(
    parts: Parts, caller: Caller, assignment_id: str, version: str | None, at: str | None
) -> tuple[Course, Assignment]:
    """An assignment and its course, now or as of a version or time, for auditors. Raises Refused.

    Valid until the next ``await``, as every state that is held.
    """
    if version is not None and at is not None:
        raise bad_request("send version or at, not both")
    until_version = None if version is None else _version(version)
    until = None if at is None else time_of(at, "at")
    number = await _audited(parts, caller, assignment_id)
    if until_version is None and until is None:
        found = await parts.states.assignment(caller.root_account_id, number)
    else:
        found = await parts.states.as_of(caller.root_account_id, number, version=until_version, at=until)
    if found is None:
        raise not_found()
    return found


async def _audited(parts: Parts, caller: Caller, assignment_id: str) -> int:
    """The assignment's id, if there is one and the caller may see its trail."""
    number = path_id(assignment_id)
    found = None if number is None else await parts.states.assignment(caller.root_account_id, number)
    if number is None or found is None:
        raise not_found()
    if not _is_auditor(found[0], caller):
        raise unauthorized()
    return number


def _is_auditor(course: Course, caller: Caller) -> bool:
    """An account-level right: graders would see each other's marks."""
    return AUDITOR in course.admins.get(caller.user_id, ())


def _version(text: str) -> int:
    if not _VERSION.fullmatch(text):
        raise bad_request("send version as a number from 1")
    return int(text)
