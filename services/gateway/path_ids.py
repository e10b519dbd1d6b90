"""What the ids in a path stand for: numbers, and Canvas's SIS forms of what the LMS has told.

Canvas: lib/api.rb (sis_parse_id). Forms of ids that nobody has stated, such as ``lti_context_id:``, find nothing.
"""

from schemas.global_ids import to_local_id
from services.gateway.authentication import Caller
from services.gateway.dependencies import Dependencies
from services.gateway.rails_params import parse_path_id
from services.gateway.rails_paths import unescape_segment
from services.gateway.responses import not_found, unauthorized
from services.moderation.canvas_courses import can_read_course
from services.moderation.canvas_views import AssignmentView
from services.moderation.course import Course

_HEX = "hex:"


def parse_sis_id(text: str) -> tuple[str, str] | None:
    """Form and id of ``form:id`` or ``hex:form:digits``, None for anything else."""
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
    """An id of the LMS; a global one of our shard is the local id that it stands for. None for what is no id."""
    number = parse_path_id(text)
    return None if number is None else to_local_id(number, dependencies.live_events_shard)


async def resolve_assignment_key(
    dependencies: Dependencies, caller: Caller, course: str, assignment: str
) -> tuple[int, int]:
    """The ids of a path. Raises ApiError: 404 where they stand for nothing."""
    assignment_id = parse_local_id(dependencies, assignment)
    course_id = parse_local_id(dependencies, course) or await _find_course_by_sis_id(dependencies, caller, course)
    if course_id is None or assignment_id is None:
        raise not_found()
    return course_id, assignment_id


async def resolve_course(dependencies: Dependencies, caller: Caller, course: str) -> Course:
    """A course of a path as it is now, for who has a role there. Raises ApiError: 404 where there is none, 403."""
    course_id = parse_local_id(dependencies, course) or await _find_course_by_sis_id(dependencies, caller, course)
    found = None if course_id is None else await dependencies.state_cache.get_course(caller.root_account_id, course_id)
    if found is None:
        raise not_found()
    if not can_read_course(found, caller.user_id):
        raise unauthorized()
    return found


async def resolve_view(
    dependencies: Dependencies, caller: Caller, course: str, assignment: str, *, include_deleted: bool = False
) -> AssignmentView:
    """An assignment of a path as the caller sees it now. Raises ApiError: 404 where there is none."""
    course_id, assignment_id = await resolve_assignment_key(dependencies, caller, course, assignment)
    course_and_assignment = await dependencies.state_cache.get_assignment(
        caller.root_account_id, assignment_id, course_id
    )
    if course_and_assignment is None or (course_and_assignment[1].deleted and not include_deleted):
        raise not_found()
    return AssignmentView(*course_and_assignment, caller.user_id, dependencies.lms_url)


async def _find_course_by_sis_id(dependencies: Dependencies, caller: Caller, text: str) -> int | None:
    parsed_sis_id = parse_sis_id(text)
    if parsed_sis_id is None or parsed_sis_id[0] != "sis_course_id" or "\x00" in parsed_sis_id[1]:
        return None
    for course_id in await dependencies.reader.find_courses_by_sis_id(caller.root_account_id, parsed_sis_id[1]):
        course = await dependencies.state_cache.get_course(caller.root_account_id, course_id)
        # It may have had that id before and not now.
        if course is not None and course.sis_source_id == parsed_sis_id[1]:
            return course_id
    return None


def resolve_user_id(dependencies: Dependencies, course: Course, text: str, caller: Caller) -> int | None:
    """The user that an id, ``self``, ``sis_user_id:…`` or ``sis_login_id:…`` stands for."""
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
