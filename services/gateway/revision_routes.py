"""Revising and withdrawing published grades."""

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from services.gateway.dependencies import AuthenticatedCaller, Dependencies, GatewayDependencies
from services.gateway.moderation_requests import load_assignment, send_command
from services.gateway.openapi_service import (
    REVISE_GRADE,
    WITHDRAW_GRADE,
)
from services.gateway.parameter_checks import TakenParameters, reject_unknown_parameters
from services.gateway.rails_params import Params, parse_params
from services.gateway.rails_values import get_ids, get_number, get_text, parse_bool
from services.gateway.responses import bad_request, json_response

router = APIRouter(prefix="/api/moderation/v1/assignments/{assignment_id}")
WITHDRAWAL_PARAMETERS: TakenParameters = {"student_id": None, "reason": None}
REVISION_PARAMETERS: TakenParameters = {
    **WITHDRAWAL_PARAMETERS,
    **dict.fromkeys(("posted_grade", "score", "excuse")),
}


@router.post("/revise_published_grade", operation_id="revise_published_grade", **REVISE_GRADE)
async def revise(
    request: Request, dependencies: GatewayDependencies, caller: AuthenticatedCaller, assignment_id: str
) -> Response:
    """Replace a student's published grade and record the reason."""
    params = await parse_params(request)
    reject_unknown_parameters(params, REVISION_PARAMETERS)
    data = _student_and_reason(dependencies, params)
    posted_grade, score = get_text(params, "posted_grade", "posted_grade"), get_number(params, "score", "score")
    if posted_grade is not None:
        data["posted_grade"] = posted_grade
    if score is not None:
        data["score"] = score
    if params.get("excuse") is not None:
        data["excuse"] = parse_bool(params["excuse"])
    _, assignment = await load_assignment(dependencies, caller, assignment_id)
    result = await send_command(request, dependencies, caller, "revise_published_grade", assignment, data)
    return json_response(request, result)


@router.post("/withdraw_published_grade", operation_id="withdraw_published_grade", **WITHDRAW_GRADE)
async def withdraw(
    request: Request, dependencies: GatewayDependencies, caller: AuthenticatedCaller, assignment_id: str
) -> Response:
    """Withdraw a student's published grade and record the reason."""
    params = await parse_params(request)
    reject_unknown_parameters(params, WITHDRAWAL_PARAMETERS)
    data = _student_and_reason(dependencies, params)
    _, assignment = await load_assignment(dependencies, caller, assignment_id)
    result = await send_command(request, dependencies, caller, "withdraw_published_grade", assignment, data)
    return json_response(request, result)


def _student_and_reason(dependencies: Dependencies, params: Params) -> dict[str, Any]:
    students = get_ids(params, "student_id", dependencies.live_events_shard)
    reason = get_text(params, "reason", "reason")
    if students is None or len(students) != 1 or reason is None:
        raise bad_request("student_id or reason is missing: send both")
    return {"student_id": students[0], "reason": reason}
