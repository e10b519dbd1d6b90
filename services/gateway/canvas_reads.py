"""Canvas's operations that read: what the log says now, as the caller may see it."""

from datetime import datetime

from fastapi import APIRouter, Request
from fastapi.responses import Response

from services.gateway.dependencies import ASSIGNMENT_PATH, GatewayParts, KnownCaller, allowed
from services.gateway.openapi_docs import (
    ANONYMOUS_STATUS,
    LIST_GRADEABLE,
    LIST_STUDENTS,
    LIST_SUBMISSIONS,
    SHOW_SUBMISSION,
    STATUS,
)
from services.gateway.pagination import link_header, list_of, page_of
from services.gateway.path_ids import user_of, view_of
from services.gateway.rails_params import params_of, path_id, time_of
from services.gateway.responses import answer, bad_request, not_found
from services.moderation.canvas_views import user_json

router = APIRouter(prefix=ASSIGNMENT_PATH)


@router.get("/moderated_students", operation_id="list_students_selected_for_moderation", **LIST_STUDENTS)
async def moderated_students(
    request: Request, parts: GatewayParts, caller: KnownCaller, course_id: str, assignment_id: str
) -> Response:
    """The students in the moderation set."""
    page = page_of(request)
    view = await view_of(parts, caller, course_id, assignment_id, also_deleted=True)
    students = allowed(view.list_moderated_students())
    links = link_header(request, parts.gateway_url, page, len(students))
    return answer(request, [user_json(view.course, student) for student in page.cut(students)], headers=links)


@router.get("/provisional_grades/status", operation_id="show_provisional_grade_status", **STATUS)
async def status(
    request: Request, parts: GatewayParts, caller: KnownCaller, course_id: str, assignment_id: str
) -> Response:
    """Whether the caller may grade, and with last_updated_at what others have."""
    student = _required(request, "student_id")
    view = await view_of(parts, caller, course_id, assignment_id)
    return answer(request, allowed(view.provisional_grade_status(path_id(student), _last_updated_at(request))))


@router.get(
    "/anonymous_provisional_grades/status",
    operation_id="show_provisional_grade_status_for_anonymous_student",
    **ANONYMOUS_STATUS,
)
async def anonymous_status(
    request: Request, parts: GatewayParts, caller: KnownCaller, course_id: str, assignment_id: str
) -> Response:
    """The same by the submission's anonymous id."""
    anonymous_id = _required(request, "anonymous_id")
    view = await view_of(parts, caller, course_id, assignment_id)
    student = view.assignment.find_student_by_anonymous_id(view.course, anonymous_id)
    return answer(request, allowed(view.provisional_grade_status(student, _last_updated_at(request))))


@router.get("/submissions/{user_id}", operation_id="get_submission", **SHOW_SUBMISSION)
async def submission(
    request: Request, parts: GatewayParts, caller: KnownCaller, course_id: str, assignment_id: str, user_id: str
) -> Response:
    """One submission."""
    included = await _included(request)
    view = await view_of(parts, caller, course_id, assignment_id)
    student = user_of(view.course, user_id, caller)
    if student is None:
        raise not_found()
    return answer(request, allowed(view.submission_json(student, included)))


@router.get("/submissions", operation_id="list_submissions", **LIST_SUBMISSIONS)
async def submissions(
    request: Request, parts: GatewayParts, caller: KnownCaller, course_id: str, assignment_id: str
) -> Response:
    """The submissions of the assignment."""
    page, included = page_of(request), await _included(request)
    view = await view_of(parts, caller, course_id, assignment_id)
    students = allowed(view.list_submission_students())
    shown = [allowed(view.submission_json(student, included)) for student in page.cut(students)]
    return answer(request, shown, headers=link_header(request, parts.gateway_url, page, len(students)))


@router.get("/gradeable_students", operation_id="list_gradeable_students", **LIST_GRADEABLE)
async def gradeable_students(
    request: Request, parts: GatewayParts, caller: KnownCaller, course_id: str, assignment_id: str
) -> Response:
    """The students whose work the caller may grade."""
    page, included = page_of(request), await _included(request)
    view = await view_of(parts, caller, course_id, assignment_id)
    students = allowed(view.list_gradeable_students(with_grades="provisional_grades" in included))
    shown = [view.gradeable_student_json(student, included) for student in page.cut(students)]
    return answer(request, shown, headers=link_header(request, parts.gateway_url, page, len(students)))


async def _included(request: Request) -> frozenset[str]:
    return frozenset(list_of((await params_of(request)).get("include")))


def _required(request: Request, name: str) -> str:
    found = request.query_params.get(name)
    if not found:
        raise bad_request(f"{name} is missing")
    return found


def _last_updated_at(request: Request) -> datetime | None:
    text = request.query_params.get("last_updated_at")
    if not text:
        return None
    return time_of(text, "last_updated_at")
