"""Sign in, sign out, and the static files that every page loads."""

from typing import Annotated

from fastapi import APIRouter, Form, HTTPException, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response

from services.auth.verifier import InvalidToken
from services.console.web.dependencies import ConsoleDependencies, Viewer
from services.console.web.templates import CONTENT_TYPES, STATIC

router = APIRouter()


@router.get("/sign-in")
async def sign_in_page(request: Request, dependencies: ConsoleDependencies, next: str = "/") -> Response:
    """Show the form for the token."""
    return dependencies.templates.render_page(request, "sign_in.html", next=_safe_redirect_path(next), problem=None)


@router.post("/sign-in")
async def sign_in(
    request: Request,
    dependencies: ConsoleDependencies,
    token: Annotated[str, Form()] = "",
    next: Annotated[str, Form()] = "/",
) -> Response:
    """Set the session cookie."""
    dependencies.sessions.require_same_origin(request)
    response = RedirectResponse(_safe_redirect_path(next), 303)
    try:
        await dependencies.sessions.sign_in(request, token.strip().removeprefix("Bearer "), response)
    except InvalidToken as error:
        return dependencies.templates.render_page(
            request, "sign_in.html", 401, next=_safe_redirect_path(next), problem=str(error)
        )
    return response


@router.post("/sign-out")
async def sign_out(
    request: Request, dependencies: ConsoleDependencies, user: Viewer, csrf: Annotated[str, Form()] = ""
) -> Response:
    """End the session and delete its cookie."""
    dependencies.sessions.require_csrf_token(user, request, csrf)
    response = RedirectResponse("/sign-in", 303)
    dependencies.sessions.sign_out(user, response)
    return response


@router.get("/session")
async def session_status(user: Viewer) -> Response:
    """Answer 200 if the user is signed in, else 204; pages call it after their stream was refused."""
    return JSONResponse({"status": "signed in"})


def _safe_redirect_path(path: str) -> str:
    """Return the path if it belongs to this console, else the path of the status page."""
    is_local = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable()
    return path if is_local else "/"


@router.get("/static/{name}")
async def static(name: str) -> Response:
    """Serve styles, script and icon; their links change with their content."""
    if name not in STATIC:
        raise HTTPException(404)
    content_type = CONTENT_TYPES[name[name.rindex(".") :]]
    return Response(
        STATIC[name], media_type=content_type, headers={"cache-control": "public, max-age=31536000, immutable"}
    )
