"""Where moderators begin: the way to an assignment by its id."""

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import RedirectResponse, Response

from services.console.web.dependencies import AnyUser, ConsoleDependencies, parse_id
from services.console.web.moderation_view import load_view

router = APIRouter()


@router.get("/moderation")
async def moderation_home(
    request: Request, dependencies: ConsoleDependencies, user: AnyUser, assignment: str = ""
) -> Response:
    """Ask for an assignment of the user's root account; go to its publication if the user may read it."""
    text, problem = assignment.strip(), None
    if text:
        try:
            view = await load_view(dependencies, user, user.root_account_id, parse_id(text) or 0)
        except HTTPException:
            problem = "There is no assignment with this id that you moderate or audit"
        else:
            return RedirectResponse(f"{view.path}/publication", 303)
    return dependencies.templates.render_page(
        request, "moderation.html", 404 if problem else 200, assignment=text, problem=problem
    )
