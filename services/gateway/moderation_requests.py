"""Shared by the routes of the service's own commands: load the assignment, check permissions, send the command."""

from typing import Any

from fastapi import Request

from services.gateway import path_ids
from services.gateway.authentication import Caller
from services.gateway.command_client import CommandRequest
from services.gateway.dependencies import Dependencies
from services.gateway.hidden_names import check_verdict, read_result
from services.gateway.rails_params import Params
from services.gateway.rails_values import get_ids
from services.gateway.responses import not_found, unauthorized
from services.gateway.service_routes import parse_as_of
from services.moderation import ids
from services.moderation.assignment import Assignment
from services.moderation.course import Course
from services.moderation.visibility import may_moderate, reads_moderation


async def load_assignment(dependencies: Dependencies, caller: Caller, assignment_id: str) -> tuple[Course, Assignment]:
    """Load a path's assignment and its course. Raises ApiError: 404 if there is none, it was deleted, or the
    caller has no role in the course.

    The result is valid until the next ``await``.
    """
    course, assignment = await path_ids.load_assignment(dependencies, caller, assignment_id)
    if assignment.deleted:
        raise not_found()
    return course, assignment


async def load_assignment_as_of(
    dependencies: Dependencies, caller: Caller, assignment_id: str, version: str | None, at: str | None
) -> tuple[Course, Assignment]:
    """Load an assignment and its course, now or as of a version or time.

    Students who are anonymous now stay so in every earlier state: two answers together must not name them. Graders do
    not, as other roles and settings let the caller know them then: a document that names them also needs the present
    rule, asked before this call.

    Raises ApiError: 404 for the future; 403 for a state that cannot be shown without naming students who are hidden.
    """
    course, assignment = await load_assignment(dependencies, caller, assignment_id)
    until_version, until = parse_as_of(version, at)
    if until_version is None and until is None:
        return course, assignment
    past = await dependencies.state_cache.load_as_of(
        caller.root_account_id, assignment.assignment_id, version=until_version, at=until
    )
    if past is None:
        raise not_found()
    past_course, past_assignment = past
    if assignment.anonymizes_students(course):
        past_assignment.anonymous_grading = True
        if not past_assignment.anonymizes_students(past_course):
            raise unauthorized()
    return past


def resolve_student_ids(
    dependencies: Dependencies, caller: Caller, course: Course, assignment: Assignment, params: Params, name: str
) -> list[int] | None:
    """Return the ids of the students in a parameter; None if it is absent. Hidden students have anonymous ids there.

    Raises ApiError: 400 for an invalid id; while students are hidden 403 for callers who may not moderate, whatever
    the id, and 404 for an unknown anonymous id.
    """
    if params.get(name) is None:
        return None
    if not assignment.anonymizes_students(course):
        return get_ids(params, name, dependencies.live_events_shard)
    # Here, not in the handler: the responses to others must not depend on whether an anonymous id exists.
    if not may_moderate(course, assignment, caller.user_id):
        raise unauthorized()
    values = params[name] if isinstance(params[name], list) else [params[name]]
    return [resolve_anonymous_id(course, assignment, value) for value in values if value != ""]


def resolve_anonymous_id(course: Course, assignment: Assignment, anonymous_id: Any) -> int:
    """Return the student of an anonymous id. Raises ApiError: 404 if there is none."""
    student = ids.find_student_by_anonymous_id(course, assignment, str(anonymous_id))
    if student is None:
        raise not_found()
    return student


def require_reader(course: Course, assignment: Assignment, caller: Caller) -> None:
    """Raise ApiError (403) unless the caller moderates the assignment or has ``view_audit_trail``."""
    if not reads_moderation(course, assignment, caller.user_id):
        raise unauthorized()


async def send_command(
    request: Request,
    dependencies: Dependencies,
    caller: Caller,
    command_type: str,
    assignment: Assignment,
    data: dict[str, Any],
) -> Any:
    """Send a moderation command about an assignment; return its result. Raises ApiError if it is rejected."""
    command_request = CommandRequest(command_type, assignment.course_id, assignment.assignment_id, data)
    verdict = await dependencies.command_client.send_and_wait(request, caller, command_request)
    return await read_result(dependencies, caller, await check_verdict(dependencies, caller, verdict))
