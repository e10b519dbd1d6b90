"""Adjudication: set the policy, adjudicate, and preview what a policy would do."""

import re
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from pydantic import ValidationError

from schemas.adjudication import AdjudicationPolicy as PolicyDocument
from services.commands.to_domain import to_domain_policy
from services.gateway.dependencies import AuthenticatedCaller, GatewayDependencies, raise_if_rejected
from services.gateway.moderation_requests import (
    load_assignment,
    load_assignment_as_of,
    require_reader,
    resolve_student_ids,
    send_command,
)
from services.gateway.openapi_service import (
    ADJUDICATE,
    GET_ADJUDICATION,
    SET_ADJUDICATION_POLICY,
)
from services.gateway.parameter_checks import reject_unknown_parameters
from services.gateway.path_ids import may_write
from services.gateway.rails_params import parse_params
from services.gateway.rails_values import get_object
from services.gateway.responses import bad_request, json_response
from services.gateway.service_routes import AsOfTime, AsOfVersion, OptionalQueryText
from services.moderation.adjudication_documents import what_if_document
from services.moderation.decisions import INVALID_ADJUDICATION
from services.moderation.moderation_checks import check_policy
from services.moderation.visibility import may_moderate

router = APIRouter(prefix="/api/moderation/v1/assignments/{assignment_id}")
POLICY_FIELDS = frozenset(PolicyDocument.model_fields)
_SMALL_NUMBER = re.compile("[0-9]{1,4}")
Policy = Annotated[OptionalQueryText, Query(description="a policy as JSON to preview; default: the assignment's own")]


@router.post("/set_adjudication_policy", operation_id="set_adjudication_policy", **SET_ADJUDICATION_POLICY)
async def set_adjudication_policy(
    request: Request, dependencies: GatewayDependencies, caller: AuthenticatedCaller, assignment_id: str
) -> Response:
    """Set the policy that derives one grade from several marks; null clears it."""
    params = await parse_params(request)
    reject_unknown_parameters(params, {"adjudication": POLICY_FIELDS})
    if "adjudication" not in params:
        raise bad_request("adjudication is missing: send the policy, or null for none")
    # An object without fields is no null: like any policy without result, the command's schema refuses it.
    policy: dict[str, Any] | None = None if params["adjudication"] in (None, "") else get_object(params, "adjudication")
    # A form holds only texts.
    if policy is not None and isinstance(policy.get("marks"), str) and _SMALL_NUMBER.fullmatch(policy["marks"]):
        policy["marks"] = int(policy["marks"])
    _, assignment = await load_assignment(dependencies, caller, assignment_id)
    data = {"adjudication": policy}
    return json_response(
        request, await send_command(request, dependencies, caller, "set_adjudication_policy", assignment, data)
    )


@router.post("/adjudicate_provisional_grades", operation_id="adjudicate_provisional_grades", **ADJUDICATE)
async def adjudicate(
    request: Request, dependencies: GatewayDependencies, caller: AuthenticatedCaller, assignment_id: str
) -> Response:
    """Adjudicate students of the moderation set by the assignment's policy."""
    course, assignment = await load_assignment(dependencies, caller, assignment_id)
    params = await parse_params(request, allow_large_body=may_write(course, caller))
    reject_unknown_parameters(params, {"student_ids": None})
    course, assignment = await load_assignment(dependencies, caller, assignment_id)
    students = resolve_student_ids(dependencies, caller, course, assignment, params, "student_ids")
    data = {} if students is None else {"student_ids": students}
    return json_response(
        request, await send_command(request, dependencies, caller, "adjudicate_provisional_grades", assignment, data)
    )


@router.get("/adjudication", operation_id="get_adjudication", **GET_ADJUDICATION)
async def adjudication(
    request: Request,
    dependencies: GatewayDependencies,
    caller: AuthenticatedCaller,
    assignment_id: str,
    policy: Policy = None,
    version: AsOfVersion = None,
    at: AsOfTime = None,
) -> Response:
    """Preview an adjudication by the assignment's policy or another one, now or as of a version or time."""
    course, assignment = await load_assignment(dependencies, caller, assignment_id)
    require_reader(course, assignment, caller)
    # Permissions are checked against the present state; the result is computed from the past one.
    sections = course.visible_sections(caller.user_id) if may_moderate(course, assignment, caller.user_id) else None
    course, assignment = await load_assignment_as_of(dependencies, caller, assignment_id, version, at)
    chosen_policy = assignment.adjudication if policy is None else _parse_policy(policy)
    if chosen_policy is None:
        raise bad_request(f"{INVALID_ADJUDICATION.message}, or send policy")
    raise_if_rejected(check_policy(chosen_policy, assignment.grading_type) if policy is not None else None)
    return json_response(request, what_if_document(chosen_policy, sections, course, assignment))


def _parse_policy(text: str) -> Any:
    try:
        return to_domain_policy(PolicyDocument.model_validate_json(text))
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
        fields = "; ".join(
            f"{'.'.join(map(str, detail['loc'])) or 'policy'}: {detail['msg']}" for detail in details[:5]
        )
        raise bad_request(f"policy is not a valid adjudication policy in JSON: {fields}") from None
