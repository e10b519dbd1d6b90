"""Sign in, sign out, and the static files that every page loads."""

from typing import Annotated

from fastapi import APIRouter, Form, HTTPException, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response

from services.auth.verifier import InvalidToken
from services.console.web.dependencies import ConsoleDependencies, Viewer
from services.console.web.sessions import require_csrf_token, require_same_origin
from services.console.web.templates import CONTENT_TYPES, STATIC

router = APIRouter()


@router.get("/sign-in")
async def sign_in_page(request: Request, dependencies: ConsoleDependencies, next: str = "/") -> Response:
    """The form that takes a token."""
    return dependencies.templates.render_page(request, "sign_in.html", next=_safe_redirect_path(next), problem=None)


@router.post("/sign-in")
async def sign_in(
    request: Request,
    dependencies: ConsoleDependencies,
    token: Annotated[str, Form()] = "",
    next: Annotated[str, Form()] = "/",
) -> Response:
    """Put the token into the session's cookie."""
    require_same_origin(request)
    response = RedirectResponse(_safe_redirect_path(next), 303)
    try:
        await dependencies.sessions.sign_in(token.strip().removeprefix("Bearer "), response)
    except InvalidToken as error:
        return dependencies.templates.render_page(
            request, "sign_in.html", 401, next=_safe_redirect_path(next), problem=str(error)
        )
    return response


@router.post("/sign-out")
async def sign_out(
    request: Request, dependencies: ConsoleDependencies, user: Viewer, csrf: Annotated[str, Form()] = ""
) -> Response:
    """Forget the session."""
    require_csrf_token(user, request, csrf)
    response = RedirectResponse("/sign-in", 303)
    dependencies.sessions.sign_out(response)
    return response


@router.get("/session")
async def session_status(user: Viewer) -> Response:
    """Whether whoever asks is signed in: 200, else 204. A page whose stream was refused asks it."""
    return JSONResponse({"status": "signed in"})


def _safe_redirect_path(path: str) -> str:
    """The path of a page of ours, the first one's for anything else."""
    is_local = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable()
    return path if is_local else "/"


@router.get("/static/{name}")
async def static(name: str) -> Response:
    """Styles and the script; the link to them changes with them."""
    if name not in STATIC:
        raise HTTPException(404)
    content_type = CONTENT_TYPES[name[name.rindex(".") :]]
    return Response(
        STATIC[name], media_type=content_type, headers={"cache-control": "public, max-age=31536000, immutable"}
    )
