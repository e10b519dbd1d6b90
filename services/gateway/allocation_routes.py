"""Releases a grader's slot."""

from fastapi import APIRouter, Request
from fastapi.responses import Response

from services.gateway.dependencies import AuthenticatedCaller, GatewayDependencies
from services.gateway.moderation_requests import load_assignment, send_command
from services.gateway.openapi_docs import RELEASE_SLOT
from services.gateway.parameter_checks import reject_unknown_parameters
from services.gateway.rails_params import get_ids, parse_params
from services.gateway.responses import bad_request, json_response

router = APIRouter(prefix="/api/moderation/v1/assignments/{assignment_id}")


@router.post("/release_grader_slot", operation_id="release_grader_slot", **RELEASE_SLOT)
async def release_slot(
    request: Request, dependencies: GatewayDependencies, caller: AuthenticatedCaller, assignment_id: str
) -> Response:
    """Free the slot of a grader who has entered no grade."""
    params = await parse_params(request)
    reject_unknown_parameters(params, {"grader_id": None})
    graders = get_ids(params, "grader_id", dependencies.live_events_shard)
    if graders is None or len(graders) != 1:
        raise bad_request("grader_id is missing: send the id of the grader whose slot is to be freed")
    _, assignment = await load_assignment(dependencies, caller, assignment_id)
    data = {"grader_id": graders[0]}
    result = await send_command(request, dependencies, caller, "release_grader_slot", assignment, data)
    return json_response(request, result)
