"""Plans a publication, and schedules it."""

from fastapi import APIRouter, Request
from fastapi.responses import Response

from services.gateway.dependencies import AuthenticatedCaller, GatewayDependencies
from services.gateway.moderation_requests import load_assignment, require_reader, send_command
from services.gateway.openapi_service import (
    CANCEL_SCHEDULED_PUBLICATION,
    GET_PUBLICATION_PLAN,
    PLAN_PUBLICATION,
    SCHEDULE_PUBLICATION,
)
from services.gateway.parameter_checks import reject_unknown_parameters
from services.gateway.rails_params import parse_params
from services.gateway.rails_values import get_text
from services.gateway.responses import bad_request, json_response
from services.moderation.publication_plan import plan_document

router = APIRouter(prefix="/api/moderation/v1/assignments/{assignment_id}")


@router.post("/plan_publication", operation_id="plan_publication", **PLAN_PUBLICATION)
async def plan_publication(
    request: Request, dependencies: GatewayDependencies, caller: AuthenticatedCaller, assignment_id: str
) -> Response:
    """Plan a publication with a command whose verdict holds the plan; nothing is published."""
    reject_unknown_parameters(await parse_params(request), {})
    _, assignment = await load_assignment(dependencies, caller, assignment_id)
    return json_response(request, await send_command(request, dependencies, caller, "plan_publication", assignment, {}))


@router.get("/publication_plan", operation_id="get_publication_plan", **GET_PUBLICATION_PLAN)
async def publication_plan(
    request: Request, dependencies: GatewayDependencies, caller: AuthenticatedCaller, assignment_id: str
) -> Response:
    """Preview a publication by the caller, for moderators and auditors."""
    course, assignment = await load_assignment(dependencies, caller, assignment_id)
    require_reader(course, assignment, caller)
    return json_response(request, plan_document(course, assignment, caller.user_id))


@router.post("/schedule_publication", operation_id="schedule_publication", **SCHEDULE_PUBLICATION)
async def schedule(
    request: Request, dependencies: GatewayDependencies, caller: AuthenticatedCaller, assignment_id: str
) -> Response:
    """Set the time at which the service publishes for the caller, replacing an earlier schedule."""
    params = await parse_params(request)
    reject_unknown_parameters(params, {"publish_at": None, "plan_digest": None})
    data = {name: get_text(params, name, name) for name in ("publish_at", "plan_digest")}
    if data["publish_at"] is None:
        raise bad_request("publish_at is missing: send a time such as 2026-01-31T12:00:00Z")
    _, assignment = await load_assignment(dependencies, caller, assignment_id)
    result = await send_command(request, dependencies, caller, "schedule_publication", assignment, data)
    return json_response(request, result)


@router.post(
    "/cancel_scheduled_publication", operation_id="cancel_scheduled_publication", **CANCEL_SCHEDULED_PUBLICATION
)
async def cancel(
    request: Request, dependencies: GatewayDependencies, caller: AuthenticatedCaller, assignment_id: str
) -> Response:
    """Cancel the schedule in force, even one whose publication was refused."""
    reject_unknown_parameters(await parse_params(request), {})
    _, assignment = await load_assignment(dependencies, caller, assignment_id)
    result = await send_command(request, dependencies, caller, "cancel_scheduled_publication", assignment, {})
    return json_response(request, result)
