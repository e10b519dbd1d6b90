"""Canvas's read operations, answered from the current state as the caller may see it."""

from datetime import datetime

from fastapi import APIRouter, Request
from fastapi.responses import Response

from services.gateway.dependencies import ASSIGNMENT_PATH, AuthenticatedCaller, GatewayDependencies, raise_if_rejected
from services.gateway.openapi_canvas import (
    ANONYMOUS_STATUS,
    LIST_GRADEABLE,
    LIST_STUDENTS,
    LIST_SUBMISSIONS,
    SHOW_ANONYMOUS_SUBMISSION,
    SHOW_SUBMISSION,
    STATUS,
)
from services.gateway.pagination import link_header, parse_list, parse_page
from services.gateway.path_ids import parse_local_id, resolve_user_id, resolve_view
from services.gateway.rails_params import parse_params
from services.gateway.rails_times import parse_time
from services.gateway.responses import bad_request, json_response

router = APIRouter(prefix=ASSIGNMENT_PATH)


@router.get("/moderated_students", operation_id="list_students_selected_for_moderation", **LIST_STUDENTS)
async def moderated_students(
    request: Request, dependencies: GatewayDependencies, caller: AuthenticatedCaller, course_id: str, assignment_id: str
) -> Response:
    """List the students in the moderation set."""
    page = parse_page(request)
    view = await resolve_view(dependencies, caller, course_id, assignment_id, include_deleted=True)
    students = raise_if_rejected(view.list_moderated_students())
    links = link_header(request, dependencies.gateway_url, page, len(students))
    rows = [view.moderated_student_json(student) for student in page.slice_items(students)]
    return json_response(request, rows, headers=links)


@router.get("/provisional_grades/status", operation_id="show_provisional_grade_status", **STATUS)
async def status(
    request: Request, dependencies: GatewayDependencies, caller: AuthenticatedCaller, course_id: str, assignment_id: str
) -> Response:
    """Return whether the caller may grade; with last_updated_at also the provisional grades."""
    student = _get_required_parameter(request, "student_id")
    view = await resolve_view(dependencies, caller, course_id, assignment_id)
    return json_response(
        request,
        raise_if_rejected(
            view.provisional_grade_status(parse_local_id(dependencies, student), _last_updated_at(request))
        ),
    )


@router.get(
    "/anonymous_provisional_grades/status",
    operation_id="show_provisional_grade_status_for_anonymous_student",
    **ANONYMOUS_STATUS,
)
async def anonymous_status(
    request: Request, dependencies: GatewayDependencies, caller: AuthenticatedCaller, course_id: str, assignment_id: str
) -> Response:
    """Return the provisional grade status of a submission by its anonymous id."""
    anonymous_id = _get_required_parameter(request, "anonymous_id")
    view = await resolve_view(dependencies, caller, course_id, assignment_id)
    status_json = view.anonymous_provisional_grade_status(anonymous_id, _last_updated_at(request))
    return json_response(request, raise_if_rejected(status_json))


@router.get("/submissions/{user_id}", operation_id="get_submission", **SHOW_SUBMISSION)
async def submission(
    request: Request,
    dependencies: GatewayDependencies,
    caller: AuthenticatedCaller,
    course_id: str,
    assignment_id: str,
    user_id: str,
) -> Response:
    """Return a submission."""
    included = await _parse_include(request)
    view = await resolve_view(dependencies, caller, course_id, assignment_id)
    student = resolve_user_id(dependencies, view.course, user_id, caller)
    return json_response(request, raise_if_rejected(view.submission_json(student, included)))


@router.get(
    "/anonymous_submissions/{anonymous_id}",
    operation_id="get_submission_by_anonymous_id",
    **SHOW_ANONYMOUS_SUBMISSION,
)
async def anonymous_submission(
    request: Request,
    dependencies: GatewayDependencies,
    caller: AuthenticatedCaller,
    course_id: str,
    assignment_id: str,
    anonymous_id: str,
) -> Response:
    """Return a submission by its anonymous id; the response does not name the student."""
    included = await _parse_include(request)
    view = await resolve_view(dependencies, caller, course_id, assignment_id)
    return json_response(request, raise_if_rejected(view.anonymous_submission_json(anonymous_id, included)))


@router.get("/submissions", operation_id="list_submissions", **LIST_SUBMISSIONS)
async def submissions(
    request: Request, dependencies: GatewayDependencies, caller: AuthenticatedCaller, course_id: str, assignment_id: str
) -> Response:
    """List the submissions of the assignment."""
    page, included = parse_page(request), await _parse_include(request)
    view = await resolve_view(dependencies, caller, course_id, assignment_id)
    students = raise_if_rejected(view.list_submission_students())
    page_items = [
        raise_if_rejected(view.listed_submission_json(student, included)) for student in page.slice_items(students)
    ]
    return json_response(
        request, page_items, headers=link_header(request, dependencies.gateway_url, page, len(students))
    )


@router.get("/gradeable_students", operation_id="list_gradeable_students", **LIST_GRADEABLE)
async def gradeable_students(
    request: Request, dependencies: GatewayDependencies, caller: AuthenticatedCaller, course_id: str, assignment_id: str
) -> Response:
    """List the students whose work the caller may grade."""
    page, included = parse_page(request), await _parse_include(request)
    view = await resolve_view(dependencies, caller, course_id, assignment_id)
    students = raise_if_rejected(
        view.list_gradeable_students(
            with_grades="provisional_grades" in included,
            by_name=request.query_params.get("sort") == "name",
            descending=request.query_params.get("order") == "desc",
        )
    )
    page_items = [view.gradeable_student_json(student, included) for student in page.slice_items(students)]
    return json_response(
        request, page_items, headers=link_header(request, dependencies.gateway_url, page, len(students))
    )


async def _parse_include(request: Request) -> frozenset[str]:
    return frozenset(parse_list((await parse_params(request)).get("include")))


def _get_required_parameter(request: Request, name: str) -> str:
    """Return a parameter. It may be empty: Rails sends nil that way, and it matches nothing. Raises ApiError (400)."""
    value = request.query_params.get(name)
    if value is None:
        raise bad_request(f"{name} is missing")
    return value


def _last_updated_at(request: Request) -> datetime | None:
    text = request.query_params.get("last_updated_at")
    if not text:
        return None
    return parse_time(text, "last_updated_at")
