"""Explains how a student's grade came about."""

from fastapi import APIRouter, Request
from fastapi.responses import Response

from services.eventlog.grade_trail import load_trail
from services.gateway.dependencies import AuthenticatedCaller, GatewayDependencies
from services.gateway.moderation_requests import load_assignment, require_reader, resolve_anonymous_id
from services.gateway.openapi_service import (
    GET_EXPLANATION,
)
from services.gateway.path_ids import parse_local_id
from services.gateway.responses import json_response, not_found
from services.moderation.explanation import Explanation
from services.moderation.revision import ALL_STATES
from services.moderation.visibility import may_moderate

router = APIRouter(prefix="/api/moderation/v1/assignments/{assignment_id}")


@router.get("/students/{student_id}/explanation", operation_id="explain_grade", **GET_EXPLANATION)
async def explanation(
    request: Request,
    dependencies: GatewayDependencies,
    caller: AuthenticatedCaller,
    assignment_id: str,
    student_id: str,
) -> Response:
    """Explain a student's grade to a moderator or auditor; while students are hidden, by anonymous id."""
    while True:
        course, assignment = await load_assignment(dependencies, caller, assignment_id)
        require_reader(course, assignment, caller)
        if assignment.anonymizes_students(course):
            student: int | None = resolve_anonymous_id(course, assignment, student_id)
        else:
            student = parse_local_id(dependencies, student_id)
        sections = course.visible_sections(caller.user_id) if may_moderate(course, assignment, caller.user_id) else None
        if student is None or not course.is_visible_student(student, sections, ALL_STATES):
            raise not_found()
        versions = course.version, assignment.version
        trail = await load_trail(dependencies.reader, assignment, student)
        # Another request may have changed the states meanwhile: who is hidden, and what the trail explains.
        if versions == (course.version, assignment.version):
            return json_response(request, Explanation(course, assignment, caller.user_id).document(student, trail))
