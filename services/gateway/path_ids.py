"""Resolves ids in paths: numbers, global ids, and Canvas's SIS forms.

Canvas: lib/api.rb (sis_parse_id). Forms that the LMS does not send us, such as ``lti_context_id:``, match nothing.
"""

from typing import Any

from schemas.global_ids import to_local_id
from services.gateway.authentication import Caller
from services.gateway.dependencies import Dependencies
from services.gateway.rails_paths import unescape_segment
from services.gateway.rails_values import parse_path_id
from services.gateway.responses import not_found, unauthorized
from services.moderation.assignment import Assignment
from services.moderation.canvas_courses import can_read_course
from services.moderation.canvas_views import AssignmentView
from services.moderation.course import Course

_HEX = "hex:"


def parse_sis_id(text: str) -> tuple[str, str] | None:
    """Split ``form:id`` or ``hex:form:digits`` into form and id; None for any other text."""
    form, colon, sis_id = unescape_segment(text).removeprefix(_HEX).partition(":")
    if not colon or not sis_id:
        return None
    if not text.startswith(_HEX):
        return form, sis_id
    try:
        return form, bytes.fromhex(sis_id).decode()
    except ValueError:
        return None


def parse_local_id(dependencies: Dependencies, text: str) -> int | None:
    """Parse an id; a global id of our shard becomes the local one. None if the text is not an id."""
    number = parse_path_id(text)
    return None if number is None else to_local_id(number, dependencies.live_events_shard)


async def resolve_course(dependencies: Dependencies, caller: Caller, course: str) -> Course:
    """Load a path's course. Raises ApiError: 404 if there is none, 403 if the caller has no role in it."""
    course_id = await _resolve_course_id(dependencies, caller, course)
    if course_id is None:
        raise not_found()
    return await _load_course(dependencies, caller, course_id)


async def resolve_view(
    dependencies: Dependencies, caller: Caller, course: str, assignment: str, *, include_deleted: bool = False
) -> AssignmentView:
    """Load a path's assignment as the caller sees it.

    Raises:
        ApiError: 404 if there is no such course; 403 for a caller without a role in it, before anything else is
            checked; 404 if the course has no such assignment.
    """
    course_id, assignment_id = (
        await _resolve_course_id(dependencies, caller, course),
        parse_local_id(dependencies, assignment),
    )
    if course_id is None:
        raise not_found()
    view = None if assignment_id is None else await find_view(dependencies, caller, (course_id, assignment_id))
    if view is None:
        await _load_course(dependencies, caller, course_id)
        raise not_found()
    _reject_outsider(view.course, caller)
    if view.assignment.deleted and not include_deleted:
        raise not_found()
    return view


async def find_view(
    dependencies: Dependencies, caller: Caller, assignment_key: tuple[int, int]
) -> AssignmentView | None:
    """Load an assignment of a course as the caller sees it; None if there is none. Checks no permissions."""
    course_id, assignment_id = assignment_key
    course_and_assignment = await dependencies.state_cache.get_assignment(
        caller.root_account_id, assignment_id, course_id
    )
    if course_and_assignment is None:
        return None
    return AssignmentView(*course_and_assignment, caller.user_id, dependencies.lms_url)


async def find_first_view(dependencies: Dependencies, caller: Caller, verdict: dict[str, Any]) -> AssignmentView | None:
    """Load a verdict's assignment as the caller saw it once the command was first decided; None if there is none."""
    course_and_assignment = await dependencies.state_cache.load_as_of(
        caller.root_account_id, int(verdict["assignment_id"]), version=verdict["stream_version"]
    )
    if course_and_assignment is None:
        return None
    return AssignmentView(*course_and_assignment, caller.user_id, dependencies.lms_url)


async def find_view_after(
    dependencies: Dependencies, caller: Caller, assignment_key: tuple[int, int], verdict: dict[str, Any]
) -> AssignmentView:
    """Load an assignment as the caller sees it after a verdict.

    For a repeated command it is as of the first verdict, without the names that are hidden now; the present one if
    the gradebook is closed to the caller since. Raises ApiError (404) if there is none.
    """
    first_view = await find_first_view(dependencies, caller, verdict) if verdict["duplicate"] else None
    view = await find_view(dependencies, caller, assignment_key)
    if view is None:
        raise not_found()
    if first_view is None or (first_view.can_view_gradebook and not view.can_view_gradebook):
        return view
    first_view.hide_also(view)
    return first_view


async def resolve_assignment_key(
    dependencies: Dependencies, caller: Caller, course: str, assignment: str
) -> tuple[tuple[int, int], bool]:
    """Resolve the ids for a command, and whether the caller may change anything in the course.

    The handler checks that the course has the assignment, so that a refusal is in the log. Raises ApiError as
    :func:`resolve_view`.
    """
    found, assignment_id = (
        await resolve_course(dependencies, caller, course),
        parse_local_id(dependencies, assignment),
    )
    if assignment_id is None:
        raise not_found()
    return (found.course_id, assignment_id), may_write(found, caller)


def may_write(course: Course, caller: Caller) -> bool:
    """Return whether the caller grades or moderates in the course; only these callers may send large bodies."""
    return course.has_permission(caller.user_id, "manage_grades") or course.has_permission(
        caller.user_id, "select_final_grade"
    )


async def load_assignment(dependencies: Dependencies, caller: Caller, assignment: str) -> tuple[Course, Assignment]:
    """Load an assignment of a path that names no course, and its course.

    Raises:
        ApiError: 404 if there is none, or the caller has no role in its course.
    """
    assignment_id = parse_local_id(dependencies, assignment)
    course_and_assignment = (
        None
        if assignment_id is None
        else await dependencies.state_cache.get_assignment(caller.root_account_id, assignment_id)
    )
    if course_and_assignment is None or not can_read_course(course_and_assignment[0], caller.user_id):
        raise not_found()
    return course_and_assignment


async def _resolve_course_id(dependencies: Dependencies, caller: Caller, course: str) -> int | None:
    return parse_local_id(dependencies, course) or await _find_course_by_sis_id(dependencies, caller, course)


async def _load_course(dependencies: Dependencies, caller: Caller, course_id: int) -> Course:
    """Load a course. Raises ApiError: 404 if there is none, 403 for an outsider."""
    course = await dependencies.state_cache.get_course(caller.root_account_id, course_id)
    if course is None:
        raise not_found()
    _reject_outsider(course, caller)
    return course


def _reject_outsider(course: Course, caller: Caller) -> None:
    """Raise ApiError (403) for a caller without a role in the course, before anything in it is looked up."""
    if not can_read_course(course, caller.user_id):
        raise unauthorized()


async def _find_course_by_sis_id(dependencies: Dependencies, caller: Caller, text: str) -> int | None:
    parsed_sis_id = parse_sis_id(text)
    if parsed_sis_id is None or parsed_sis_id[0] != "sis_course_id" or "\x00" in parsed_sis_id[1]:
        return None
    for course_id in await dependencies.reader.find_courses_by_sis_id(caller.root_account_id, parsed_sis_id[1]):
        course = await dependencies.state_cache.get_course(caller.root_account_id, course_id)
        # The course may have had that id only in the past.
        if course is not None and course.sis_source_id == parsed_sis_id[1]:
            return course_id
    return None


def resolve_user_id(dependencies: Dependencies, course: Course, text: str, caller: Caller) -> int | None:
    """Resolve an id, ``self``, ``sis_user_id:…`` or ``sis_login_id:…`` to a user id; None if there is none."""
    if text == "self":
        return caller.user_id
    parsed_sis_id = parse_sis_id(text)
    if parsed_sis_id is None:
        return parse_local_id(dependencies, text)
    form, sis_id = parsed_sis_id
    if form == "sis_user_id":
        return next(
            (user for user, user_fields in course.users.items() if user_fields.get("sis_user_id") == sis_id), None
        )
    if form == "sis_login_id":
        login = sis_id.casefold()
        return next(
            (u for u, user_fields in course.users.items() if (user_fields.get("login_id") or "").casefold() == login),
            None,
        )
    return None
