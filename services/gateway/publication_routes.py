"""Planning a publication."""

from fastapi import APIRouter, Request
from fastapi.responses import Response

from services.gateway.dependencies import AuthenticatedCaller, GatewayDependencies
from services.gateway.moderation_requests import load_assignment, require_reader, send_command
from services.gateway.openapi_docs import GET_PUBLICATION_PLAN, PLAN_PUBLICATION
from services.gateway.parameter_checks import reject_unknown_parameters
from services.gateway.rails_params import parse_params
from services.gateway.responses import json_response
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
