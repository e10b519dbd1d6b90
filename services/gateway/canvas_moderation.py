"""Canvas's write operations of moderation: the moderation set, selections, the publication."""

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from services.gateway.authentication import Caller
from services.gateway.command_client import CommandRequest
from services.gateway.dependencies import ASSIGNMENT_PATH, AuthenticatedCaller, Dependencies, GatewayDependencies
from services.gateway.hidden_names import check_verdict, read_result
from services.gateway.openapi_canvas import ADD_STUDENTS, BULK_SELECT, SELECT
from services.gateway.openapi_service import PUBLISH
from services.gateway.parameter_checks import TakenParameters, reject_unknown_parameters
from services.gateway.path_ids import find_view, find_view_after, resolve_assignment_key
from services.gateway.rails_params import Params, parse_params
from services.gateway.rails_values import get_ids, get_text, parse_path_id
from services.gateway.responses import bad_request, json_response, not_found, unauthorized
from services.moderation.canvas_views import AssignmentView

router = APIRouter(prefix=ASSIGNMENT_PATH)
NO_PARAMETERS: TakenParameters = {}


@router.post("/moderated_students", operation_id="select_students_for_moderation", **ADD_STUDENTS)
async def add_students(
    request: Request, dependencies: GatewayDependencies, caller: AuthenticatedCaller, course_id: str, assignment_id: str
) -> Response:
    """Add students to the moderation set; the response lists all accepted students, new in the set or not."""
    assignment_key, is_writer = await resolve_assignment_key(dependencies, caller, course_id, assignment_id)
    params = await parse_params(request, allow_large_body=is_writer)
    reject_unknown_parameters(params, {"student_ids": None})
    view = await find_view(dependencies, caller, assignment_key)
    if view is not None and view.anonymizes_moderation_set:
        students = _get_anonymous_students(view, params)
    else:
        students = get_ids(params, "student_ids", dependencies.live_events_shard)
    data = {} if students is None else {"student_ids": students}
    verdict = await _send_command(
        request, dependencies, caller, CommandRequest("select_students_for_moderation", *assignment_key, data)
    )
    view = await find_view_after(dependencies, caller, assignment_key, verdict)
    rows = [view.moderated_student_json(row["id"]) for row in verdict["result"]]
    if view.anonymizes_moderation_set:
        # The result's order is that of the user ids, which would reveal the students.
        rows.sort(key=lambda row: row["anonymous_id"])
    return json_response(request, rows)


def _get_anonymous_students(view: AssignmentView, params: Params) -> list[int] | None:
    """Return the students of the anonymous ids in ``student_ids``, None if it is absent. Raises ApiError.

    User ids are refused: adding a student by user id would reveal which anonymous submission is theirs.
    """
    if not view.can_moderate:
        raise unauthorized()
    value = params.get("student_ids")
    if value is None:
        return None
    anonymous_ids = [item for item in (value if isinstance(value, list) else [value]) if item != ""]
    students = [view.find_student(item) if isinstance(item, str) else None for item in anonymous_ids]
    found_students = [student for student in students if student is not None]
    if len(found_students) < len(students):
        raise bad_request("the assignment hides its students: send their anonymous ids as student_ids[]")
    return found_students


@router.put("/provisional_grades/bulk_select", operation_id="bulk_select_provisional_grades", **BULK_SELECT)
async def bulk_select(
    request: Request, dependencies: GatewayDependencies, caller: AuthenticatedCaller, course_id: str, assignment_id: str
) -> Response:
    """Choose many provisional grades at once; the response holds the selections that changed."""
    assignment_key, is_writer = await resolve_assignment_key(dependencies, caller, course_id, assignment_id)
    params = await parse_params(request, allow_large_body=is_writer)
    reject_unknown_parameters(params, {"provisional_grade_ids": None})
    provisional_grade_ids = get_ids(params, "provisional_grade_ids")
    if provisional_grade_ids is None:
        raise bad_request("provisional_grade_ids[] is missing: name the provisional grades to select")
    command_request = CommandRequest(
        "bulk_select_provisional_grades", *assignment_key, {"provisional_grade_ids": provisional_grade_ids}
    )
    verdict = await _send_command(request, dependencies, caller, command_request)
    return json_response(request, await read_result(dependencies, caller, verdict))


@router.put("/provisional_grades/{provisional_grade_id}/select", operation_id="select_provisional_grade", **SELECT)
async def select(
    request: Request,
    dependencies: GatewayDependencies,
    caller: AuthenticatedCaller,
    course_id: str,
    assignment_id: str,
    provisional_grade_id: str,
) -> Response:
    """Select a student's provisional grade."""
    reject_unknown_parameters(await parse_params(request), NO_PARAMETERS)
    assignment_key, _ = await resolve_assignment_key(dependencies, caller, course_id, assignment_id)
    parsed_grade_id = parse_path_id(provisional_grade_id)
    if parsed_grade_id is None:
        raise not_found()
    command_request = CommandRequest(
        "select_provisional_grade", *assignment_key, {"provisional_grade_id": parsed_grade_id}
    )
    verdict = await _send_command(request, dependencies, caller, command_request)
    return json_response(request, await read_result(dependencies, caller, verdict))


@router.post("/provisional_grades/publish", operation_id="publish_provisional_grades", **PUBLISH)
async def publish(
    request: Request, dependencies: GatewayDependencies, caller: AuthenticatedCaller, course_id: str, assignment_id: str
) -> Response:
    """Publish the selected grades, all or none; with ``plan_digest`` only if the plan is unchanged."""
    params = await parse_params(request)
    reject_unknown_parameters(params, {"plan_digest": None})
    plan_digest = get_text(params, "plan_digest", "plan_digest")
    data = {} if plan_digest is None else {"plan_digest": plan_digest}
    assignment_key, _ = await resolve_assignment_key(dependencies, caller, course_id, assignment_id)
    command_request = CommandRequest("publish_provisional_grades", *assignment_key, data)
    verdict = await _send_command(request, dependencies, caller, command_request)
    return json_response(request, await read_result(dependencies, caller, verdict))


async def _send_command(
    request: Request, dependencies: Dependencies, caller: Caller, command_request: CommandRequest
) -> dict[str, Any]:
    verdict = await dependencies.command_client.send_and_wait(request, caller, command_request)
    return await check_verdict(dependencies, caller, verdict)
