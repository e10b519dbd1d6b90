"""Allocates students to graders, and releases a grader's slot."""

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from services.gateway.authentication import Caller
from services.gateway.dependencies import AuthenticatedCaller, Dependencies, GatewayDependencies
from services.gateway.moderation_requests import (
    load_assignment,
    load_assignment_as_of,
    require_reader,
    resolve_student_ids,
    send_command,
)
from services.gateway.openapi_service import (
    ALLOCATE,
    GET_ALLOCATION,
    RELEASE_SLOT,
)
from services.gateway.parameter_checks import TakenParameters, reject_unknown_parameters
from services.gateway.path_ids import may_write
from services.gateway.rails_params import Params, parse_params
from services.gateway.rails_values import get_count, get_ids, get_object, parse_bool
from services.gateway.responses import bad_request, json_response
from services.gateway.service_routes import AsOfTime, AsOfVersion
from services.moderation.allocation import allocation_document
from services.moderation.assignment import Assignment
from services.moderation.course import Course
from services.moderation.visibility import may_moderate, reads_grader_names

router = APIRouter(prefix="/api/moderation/v1/assignments/{assignment_id}")
ALLOCATION_PARAMETERS: TakenParameters = {
    "allocations": None,
    "evenly": frozenset({"grader_ids", "marks"}),
    "enforced": None,
}
ALLOCATED_FIELDS: TakenParameters = {"grader_id": None, "student_ids": None}


@router.post("/allocate_submissions", operation_id="allocate_submissions", **ALLOCATE)
async def allocate(
    request: Request, dependencies: GatewayDependencies, caller: AuthenticatedCaller, assignment_id: str
) -> Response:
    """Allocate students to graders, by id or evenly over the moderation set."""
    course, _ = await load_assignment(dependencies, caller, assignment_id)
    params = await parse_params(request, allow_large_body=may_write(course, caller))
    reject_unknown_parameters(params, ALLOCATION_PARAMETERS)
    course, assignment = await load_assignment(dependencies, caller, assignment_id)
    data: dict[str, Any] = {}
    if params.get("allocations") is not None:
        data["allocations"] = _get_allocations(dependencies, caller, course, assignment, params["allocations"])
    if params.get("evenly") not in (None, ""):
        evenly = get_object(params, "evenly")
        graders = get_ids(evenly, "grader_ids", dependencies.live_events_shard)
        data["evenly"] = {"grader_ids": graders or [], "marks": get_count(evenly, "marks")}
    if params.get("enforced") is not None:
        data["enforced"] = parse_bool(params["enforced"])
    result = await send_command(request, dependencies, caller, "allocate_submissions", assignment, data)
    return json_response(request, result)


def _get_allocations(
    dependencies: Dependencies, caller: Caller, course: Course, assignment: Assignment, rows: Any
) -> list[dict[str, Any]]:
    """Parse the graders with their students. Raises ApiError (400, 403, 404)."""
    if not isinstance(rows, list):
        raise bad_request("send allocations as a list of objects with grader_id and student_ids")
    allocations = []
    for row in rows:
        if not isinstance(row, dict):
            raise bad_request("send allocations as a list of objects with grader_id and student_ids")
        reject_unknown_parameters(row, ALLOCATED_FIELDS)
        students = resolve_student_ids(dependencies, caller, course, assignment, row, "student_ids")
        allocations.append({"grader_id": _get_grader(dependencies, row), "student_ids": students or []})
    return allocations


def _get_grader(dependencies: Dependencies, params: Params) -> int:
    graders = get_ids(params, "grader_id", dependencies.live_events_shard)
    if graders is None or len(graders) != 1:
        raise bad_request("send grader_id: the user id of one grader")
    return graders[0]


@router.get("/allocation", operation_id="get_allocation", **GET_ALLOCATION)
async def allocation(
    request: Request,
    dependencies: GatewayDependencies,
    caller: AuthenticatedCaller,
    assignment_id: str,
    version: AsOfVersion = None,
    at: AsOfTime = None,
) -> Response:
    """Return the allocation and the graders' progress, now or as of a version or time."""
    course, assignment = await load_assignment(dependencies, caller, assignment_id)
    require_reader(course, assignment, caller)
    # Permissions are checked against the present state; the result is computed from the past one.
    sections = course.visible_sections(caller.user_id) if may_moderate(course, assignment, caller.user_id) else None
    may_name_graders = reads_grader_names(course, assignment, caller.user_id)
    course, assignment = await load_assignment_as_of(dependencies, caller, assignment_id, version, at)
    document = allocation_document(
        assignment.allocations,
        assignment.allocation_enforced,
        caller.user_id,
        sections,
        course,
        assignment,
        may_name_graders=may_name_graders,
    )
    return json_response(request, document)


@router.post("/release_grader_slot", operation_id="release_grader_slot", **RELEASE_SLOT)
async def release_slot(
    request: Request, dependencies: GatewayDependencies, caller: AuthenticatedCaller, assignment_id: str
) -> Response:
    """Free the slot of a grader who has entered no grade."""
    params = await parse_params(request)
    reject_unknown_parameters(params, {"grader_id": None})
    grader = _get_grader(dependencies, params)
    _, assignment = await load_assignment(dependencies, caller, assignment_id)
    result = await send_command(request, dependencies, caller, "release_grader_slot", assignment, {"grader_id": grader})
    return json_response(request, result)
