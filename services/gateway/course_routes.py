"""Canvas's operations that clients start with: a course, its assignments, its users, the current user."""

from fastapi import APIRouter, Request
from fastapi.responses import Response

from services.gateway.dependencies import AuthenticatedCaller, GatewayDependencies
from services.gateway.openapi_canvas import (
    GET_ASSIGNMENT,
    GET_COURSE,
    GET_COURSE_USER,
    GET_SELF,
    LIST_ASSIGNMENTS,
    LIST_COURSE_USERS,
)
from services.gateway.pagination import link_header, parse_list, parse_page
from services.gateway.path_ids import resolve_course, resolve_user_id, resolve_view
from services.gateway.rails_params import parse_params
from services.gateway.rails_values import get_ids, get_text
from services.gateway.responses import bad_request, json_response, not_found, unauthorized
from services.moderation.canvas_courses import (
    RosterFilter,
    assignment_json,
    can_read_assignment,
    course_json,
    course_user_json,
    list_course_users,
)
from services.moderation.canvas_people import user_json
from services.moderation.course import LISTED_STATES, NOT_DELETED_STATES, Course

COURSE_PATH = "/api/v1/courses/{course_id}"
# Canvas's other filters. Ignoring one would list users that were not asked for.
UNSUPPORTED_FILTERS = ("enrollment_role", "enrollment_role_id", "section_ids")
router = APIRouter()


@router.get(COURSE_PATH, operation_id="get_course", **GET_COURSE)
async def course(
    request: Request, dependencies: GatewayDependencies, caller: AuthenticatedCaller, course_id: str
) -> Response:
    """Return a course, for users with a role in it."""
    found = await resolve_course(dependencies, caller, course_id)
    return json_response(request, course_json(found, caller.user_id, dependencies.lms_url))


@router.get(f"{COURSE_PATH}/assignments", operation_id="list_assignments", **LIST_ASSIGNMENTS)
async def assignments(
    request: Request, dependencies: GatewayDependencies, caller: AuthenticatedCaller, course_id: str
) -> Response:
    """List the assignments of a course that the caller may see, by id. A page leaves out deleted ones."""
    page = parse_page(request)
    found = await resolve_course(dependencies, caller, course_id)
    assignment_ids = await dependencies.reader.list_assignment_ids(caller.root_account_id, found.course_id)
    rows = []
    for assignment_id in page.slice_items(assignment_ids):
        course_and_assignment = await dependencies.state_cache.get_assignment(caller.root_account_id, assignment_id)
        if course_and_assignment is None or course_and_assignment[1].deleted:
            continue
        if can_read_assignment(*course_and_assignment, caller.user_id):
            rows.append(assignment_json(*course_and_assignment, caller.user_id, dependencies.lms_url))
    links = link_header(request, dependencies.gateway_url, page, len(assignment_ids))
    return json_response(request, rows, headers=links)


@router.get(f"{COURSE_PATH}/assignments/{{assignment_id}}", operation_id="get_assignment", **GET_ASSIGNMENT)
async def assignment(
    request: Request, dependencies: GatewayDependencies, caller: AuthenticatedCaller, course_id: str, assignment_id: str
) -> Response:
    """Return an assignment, for users with a role in its course."""
    view = await resolve_view(dependencies, caller, course_id, assignment_id)
    if not can_read_assignment(view.course, view.assignment, caller.user_id):
        raise unauthorized()
    body = assignment_json(view.course, view.assignment, caller.user_id, dependencies.lms_url)
    return json_response(request, body)


@router.get(f"{COURSE_PATH}/search_users", operation_id="search_course_users", **LIST_COURSE_USERS)
@router.get(f"{COURSE_PATH}/users", operation_id="list_course_users", **LIST_COURSE_USERS)
async def users(
    request: Request, dependencies: GatewayDependencies, caller: AuthenticatedCaller, course_id: str
) -> Response:
    """List the users of a course by sortable name."""
    page, params = parse_page(request), await parse_params(request)
    found = await resolve_course(dependencies, caller, course_id)
    refused = [name for name in UNSUPPORTED_FILTERS if params.get(name)]
    if refused:
        raise bad_request(f"filter not supported: {', '.join(refused)}. Use enrollment_type[] or enrollment_state[]")
    roster_filter = RosterFilter(
        roles=parse_list(params.get("enrollment_type")),
        states=parse_list(params.get("enrollment_state")) or LISTED_STATES,
        user_ids=get_ids(params, "user_ids", dependencies.live_events_shard) or (),
        search_term=get_text(params, "search_term", "search_term") or "",
    )
    user_ids = list_course_users(found, caller.user_id, roster_filter)
    included = parse_list(params.get("include"))
    rows = [
        course_user_json(found, user_id, caller.user_id, included, dependencies.lms_url)
        for user_id in page.slice_items(user_ids)
    ]
    return json_response(request, rows, headers=link_header(request, dependencies.gateway_url, page, len(user_ids)))


@router.get(f"{COURSE_PATH}/users/{{user_id}}", operation_id="get_course_user", **GET_COURSE_USER)
async def user(
    request: Request, dependencies: GatewayDependencies, caller: AuthenticatedCaller, course_id: str, user_id: str
) -> Response:
    """Return a user of a course."""
    included = parse_list((await parse_params(request)).get("include"))
    found = await resolve_course(dependencies, caller, course_id)
    resolved_id = resolve_user_id(dependencies, found, user_id, caller)
    if resolved_id is None or not _is_shown(found, caller.user_id, resolved_id):
        raise not_found()
    body = course_user_json(found, resolved_id, caller.user_id, included, dependencies.lms_url)
    return json_response(request, body)


def _is_shown(found: Course, viewer_id: int, user_id: int) -> bool:
    only_user = RosterFilter(user_ids=(user_id,), states=NOT_DELETED_STATES)
    return user_id == viewer_id or bool(list_course_users(found, viewer_id, only_user))


@router.get("/api/v1/users/self", operation_id="get_current_user", **GET_SELF)
async def current_user(request: Request, dependencies: GatewayDependencies, caller: AuthenticatedCaller) -> Response:
    """Return the current user; the name is null until this gateway has read one of the user's courses."""
    found = dependencies.state_cache.find_cached_course_of_user(caller.root_account_id, caller.user_id)
    # Read again: the person may have been erased since.
    course = found and await dependencies.state_cache.get_course(caller.root_account_id, found.course_id)
    return json_response(
        request, user_json(course or Course(caller.root_account_id, 0), caller.user_id, with_logins=False)
    )
