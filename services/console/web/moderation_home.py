"""Where moderators begin: their assignments, and the way to an assignment by its id."""

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import RedirectResponse, Response

from services.console.web.dependencies import AnyUser, ConsoleDependencies, parse_id
from services.console.web.moderation_view import load_view
from services.eventlog.moderated_assignments import ListTooLong, list_moderated_assignments

router = APIRouter()
ROWS_MAX = 20


@router.get("/moderation")
async def moderation_home(
    request: Request, dependencies: ConsoleDependencies, user: AnyUser, assignment: str = "", before: str = ""
) -> Response:
    """List the assignments that the user moderates or audits, or go to the publication of one by its id."""
    text, problem = assignment.strip(), None
    if text:
        try:
            view = await load_view(dependencies, user, user.root_account_id, parse_id(text) or 0)
        except HTTPException:
            problem = "There is no assignment with this id that you moderate or audit"
        else:
            return RedirectResponse(f"{view.path}/publication", 303)
    try:
        listed = await list_moderated_assignments(
            dependencies.pool, user.root_account_id, user.user_id, parse_id(before), ROWS_MAX
        )
    except ListTooLong:
        listed = None
    return dependencies.templates.render_page(
        request,
        "moderation.html",
        404 if problem else 200,
        assignment=text,
        problem=problem,
        listed=listed,
        is_first_page=not before,
    )
