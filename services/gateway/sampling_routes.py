"""Draws a sample for the moderation set."""

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from services.gateway.dependencies import AuthenticatedCaller, GatewayDependencies
from services.gateway.moderation_requests import load_assignment, send_command
from services.gateway.openapi_service import (
    DRAW_SAMPLE,
)
from services.gateway.parameter_checks import TakenParameters, reject_unknown_parameters
from services.gateway.rails_params import parse_params
from services.gateway.rails_values import get_count, get_number, parse_bool
from services.gateway.responses import json_response

router = APIRouter(prefix="/api/moderation/v1/assignments/{assignment_id}")
PERCENTS = ("percent", "borderline_within")
COUNTS = ("at_least", "strata")
SAMPLE_PARAMETERS: TakenParameters = dict.fromkeys((*PERCENTS, *COUNTS, "square_root", "include"))


@router.post("/draw_moderation_sample", operation_id="draw_moderation_sample", **DRAW_SAMPLE)
async def draw_sample(
    request: Request, dependencies: GatewayDependencies, caller: AuthenticatedCaller, assignment_id: str
) -> Response:
    """Draw a sample of the marked students for a hand-picked moderation set."""
    params = await parse_params(request)
    reject_unknown_parameters(params, SAMPLE_PARAMETERS)
    data: dict[str, Any] = {name: get_number(params, name, name) for name in PERCENTS}
    data |= {name: get_count(params, name) for name in COUNTS}
    if params.get("square_root") is not None:
        data["square_root"] = parse_bool(params["square_root"])
    if params.get("include") not in (None, ""):
        data["include"] = params["include"] if isinstance(params["include"], list) else [params["include"]]
    _, assignment = await load_assignment(dependencies, caller, assignment_id)
    data = {name: value for name, value in data.items() if value is not None}
    result = await send_command(request, dependencies, caller, "draw_moderation_sample", assignment, data)
    return json_response(request, result)
