"""Canvas's write operations of grading: each sends a provisional grade or comment as a command."""

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from services.gateway.authentication import Caller
from services.gateway.command_client import idempotency_key
from services.gateway.dependencies import (
    ASSIGNMENT_PATH,
    AuthenticatedCaller,
    Dependencies,
    GatewayDependencies,
    raise_if_rejected,
)
from services.gateway.grading_parameters import check_grade_request, response_includes
from services.gateway.hidden_names import check_verdict
from services.gateway.openapi_canvas import GRADE, GRADE_ANONYMOUSLY
from services.gateway.path_ids import find_view_after, may_write, resolve_user_id, resolve_view
from services.gateway.rails_params import parse_params
from services.gateway.responses import ApiError, json_response, not_found, unauthorized
from services.moderation.canvas_views import AssignmentView

router = APIRouter(prefix=ASSIGNMENT_PATH)


@router.put("/submissions/{user_id}", operation_id="grade_or_comment_submission", **GRADE)
async def grade(
    request: Request,
    dependencies: GatewayDependencies,
    caller: AuthenticatedCaller,
    course_id: str,
    assignment_id: str,
    user_id: str,
) -> Response:
    """Grade or comment on a submission provisionally."""
    view = await resolve_view(dependencies, caller, course_id, assignment_id)
    student = resolve_user_id(dependencies, view.course, user_id, caller)
    if view.hides_student(student):
        raise unauthorized()
    view_after, includes = await _record_grade(request, dependencies, caller, view, student)
    return _graded_response(request, raise_if_rejected(view_after.submission_json(student, includes)))


@router.put(
    "/anonymous_submissions/{anonymous_id}",
    operation_id="grade_or_comment_submission_by_anonymous_id",
    **GRADE_ANONYMOUSLY,
)
async def grade_anonymously(
    request: Request,
    dependencies: GatewayDependencies,
    caller: AuthenticatedCaller,
    course_id: str,
    assignment_id: str,
    anonymous_id: str,
) -> Response:
    """Grade or comment by the submission's anonymous id; the response does not name the student."""
    view = await resolve_view(dependencies, caller, course_id, assignment_id)
    student = view.find_student(anonymous_id)
    # First, so that the response to others does not depend on whether the anonymous id exists.
    if not view.can_view_gradebook and student != caller.user_id:
        raise unauthorized()
    view_after, includes = await _record_grade(request, dependencies, caller, view, student)
    return _graded_response(request, raise_if_rejected(view_after.anonymous_submission_json(anonymous_id, includes)))


def _graded_response(request: Request, submission_json: dict[str, Any]) -> Response:
    without_comments = {name: part for name, part in submission_json.items() if name != "submission_comments"}
    return json_response(request, {**submission_json, "all_submissions": [without_comments]})


async def _record_grade(
    request: Request, dependencies: Dependencies, caller: Caller, view: AssignmentView, student: int | None
) -> tuple[AssignmentView, frozenset[str]]:
    """Send the command of a grading request, if any; return the assignment after it and what the response includes.

    Raises ApiError; a grading error is 400 with ``error``, which Canvas does on its submissions path only.
    """
    if student is None or not view.course.is_enrolled_student(student):
        raise not_found()
    assignment_key = (view.course.course_id, view.assignment.assignment_id)
    try:
        params = await parse_params(request, allow_large_body=may_write(view.course, caller))
        command_request = check_grade_request(view, params, assignment_key, student)
        # An invalid key is rejected even if no command is sent.
        idempotency_key(request)
        if command_request is not None:
            verdict = await dependencies.command_client.send_and_wait(request, caller, command_request)
            await check_verdict(dependencies, caller, verdict, is_grading=True)
            view = await find_view_after(dependencies, caller, assignment_key, verdict)
    except ApiError as error:
        if error.status == 400 and isinstance(error.body, dict) and "message" in error.body:
            raise ApiError(400, {"error": error.body["message"]}, error.headers) from None
        raise
    return view, response_includes(params)
