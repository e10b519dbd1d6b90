"""Signing in and out, static files, and what a supervisor asks."""

from typing import Annotated

from fastapi import APIRouter, Form, HTTPException, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from services.auth.verifier import InvalidToken
from services.console.web.dependencies import ConsoleParts, Viewer
from services.console.web.metrics import METRICS
from services.console.web.sessions import check_form, check_own_page
from services.console.web.templates import STATIC, TYPES

router = APIRouter()


@router.get("/sign-in")
async def sign_in_page(request: Request, parts: ConsoleParts, next: str = "/") -> Response:
    """The form that takes a token."""
    return parts.rendering.page(request, "sign_in.html", next=_own_path(next), problem=None)


@router.post("/sign-in")
async def sign_in(
    request: Request, parts: ConsoleParts, token: Annotated[str, Form()] = "", next: Annotated[str, Form()] = "/"
) -> Response:
    """Put the token into the session's cookie."""
    check_own_page(request)
    answer = RedirectResponse(_own_path(next), 303)
    try:
        await parts.sessions.sign_in(token.strip().removeprefix("Bearer "), answer)
    except InvalidToken as error:
        return parts.rendering.page(request, "sign_in.html", 401, next=_own_path(next), problem=str(error))
    return answer


@router.post("/sign-out")
async def sign_out(
    request: Request, parts: ConsoleParts, person: Viewer, csrf: Annotated[str, Form()] = ""
) -> Response:
    """Forget the session."""
    check_form(person, request, csrf)
    answer = RedirectResponse("/sign-in", 303)
    parts.sessions.sign_out(answer)
    return answer


@router.get("/session")
async def session(person: Viewer) -> Response:
    """Whether whoever asks is signed in: 200, else 204. A page whose stream was refused asks it."""
    return JSONResponse({"status": "signed in"})


def _own_path(path: str) -> str:
    """The path of a page of ours, the first one's for anything else."""
    is_own = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable()
    return path if is_own else "/"


@router.get("/static/{name}")
async def static(name: str) -> Response:
    """Styles and the script; the link to them changes with them."""
    if name not in STATIC:
        raise HTTPException(404)
    kind = TYPES[name[name.rindex(".") :]]
    return Response(STATIC[name], media_type=kind, headers={"cache-control": "public, max-age=31536000, immutable"})


@router.get("/health/live")
async def live(parts: ConsoleParts) -> Response:
    """Whether the process answers and its loops go on; what it depends on does not count."""
    problem = parts.health.stuck()
    return JSONResponse({"status": problem or "live"}, 200 if problem is None else 503)


@router.get("/health/ready")
async def ready(parts: ConsoleParts) -> Response:
    """Whether it sees everything now, else what it does not see."""
    problem = parts.health.wrong()
    return JSONResponse({"status": problem or "ready"}, 200 if problem is None else 503)


@router.get("/metrics")
async def metrics() -> Response:
    """Prometheus's text format."""
    return Response(generate_latest(METRICS.registry), media_type=CONTENT_TYPE_LATEST)
