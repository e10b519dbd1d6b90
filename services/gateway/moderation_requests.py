"""What the routes of the service's own moderation commands share: the assignment, who may read it, the command."""

from typing import Any

from fastapi import Request

from services.gateway import path_ids
from services.gateway.authentication import Caller
from services.gateway.command_client import CommandRequest, raise_for_verdict
from services.gateway.dependencies import Dependencies
from services.gateway.responses import not_found, unauthorized
from services.moderation.assignment import Assignment
from services.moderation.course import Course
from services.moderation.visibility import reads_moderation


async def load_assignment(dependencies: Dependencies, caller: Caller, assignment_id: str) -> tuple[Course, Assignment]:
    """Load a path's assignment and its course. Raises ApiError: 404 if there is none, it was deleted, or the
    caller has no role in the course.

    The result is valid until the next ``await``.
    """
    course, assignment = await path_ids.load_assignment(dependencies, caller, assignment_id)
    if assignment.deleted:
        raise not_found()
    return course, assignment


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
    return raise_for_verdict(verdict)["result"]
