"""What the ids in a path stand for: numbers, and Canvas's SIS forms of what the LMS has told.

Canvas: lib/api.rb (sis_parse_id). Forms of ids that nobody has stated, such as ``lti_context_id:``, find nothing.
"""

from services.gateway.authentication import Caller
from services.gateway.dependencies import Parts
from services.gateway.rails_params import path_id
from services.gateway.responses import not_found
from services.moderation.canvas_views import AssignmentView
from services.moderation.course import Course

_HEX = "hex:"


def sis_form(text: str) -> tuple[str, str] | None:
    """Form and id of ``form:id`` or ``hex:form:digits``, None for anything else."""
    form, colon, wanted = text.removeprefix(_HEX).partition(":")
    if not colon or not wanted:
        return None
    if not text.startswith(_HEX):
        return form, wanted
    try:
        return form, bytes.fromhex(wanted).decode()
    except ValueError:
        return None


async def place_of(parts: Parts, caller: Caller, course: str, assignment: str) -> tuple[int, int]:
    """The ids of a path. Raises Refused: 404 where they stand for nothing."""
    assignment_id = path_id(assignment)
    course_id = path_id(course) or await _course_of(parts, caller, course)
    if course_id is None or assignment_id is None:
        raise not_found()
    return course_id, assignment_id


async def view_of(
    parts: Parts, caller: Caller, course: str, assignment: str, *, also_deleted: bool = False
) -> AssignmentView:
    """An assignment of a path as the caller sees it now. Raises Refused: 404 where there is none."""
    course_id, assignment_id = await place_of(parts, caller, course, assignment)
    found = await parts.states.assignment(caller.root_account_id, assignment_id, course_id)
    if found is None or (found[1].deleted and not also_deleted):
        raise not_found()
    return AssignmentView(*found, caller.user_id, parts.lms_url)


async def _course_of(parts: Parts, caller: Caller, text: str) -> int | None:
    named = sis_form(text)
    if named is None or named[0] != "sis_course_id" or "\x00" in named[1]:
        return None
    for course_id in await parts.reader.courses_of_sis_id(caller.root_account_id, named[1]):
        course = await parts.states.course(caller.root_account_id, course_id)
        # It may have had that id before and not now.
        if course is not None and course.sis_source_id == named[1]:
            return course_id
    return None


def user_of(course: Course, text: str, caller: Caller) -> int | None:
    """The user that an id, ``self``, ``sis_user_id:…`` or ``sis_login_id:…`` stands for."""
    if text == "self":
        return caller.user_id
    named = sis_form(text)
    if named is None:
        return path_id(text)
    form, wanted = named
    if form == "sis_user_id":
        return next((user for user, known in course.users.items() if known.get("sis_user_id") == wanted), None)
    if form == "sis_login_id":
        login = wanted.casefold()
        return next((u for u, known in course.users.items() if (known.get("login_id") or "").casefold() == login), None)
    return None
