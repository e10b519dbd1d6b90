"""Sign in, sign out, and the static files that every page loads."""

from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Form, HTTPException, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response

from services.auth.verifier import InvalidToken
from services.console.web.dependencies import AnyUser, ConsoleDependencies, Dependencies
from services.console.web.openid import CALLBACK_PATH, SignInFailed
from services.console.web.signed_in_user import OPENID_PREFIX
from services.console.web.templates import CONTENT_TYPES, STATIC

router = APIRouter()


@router.get("/sign-in")
async def sign_in_page(
    request: Request, dependencies: ConsoleDependencies, next: str = "/", signed_out: str = ""
) -> Response:
    """Show the token form and the link to the OpenID provider; after ``signed_out=openid`` also its sign-out link."""
    provider = dependencies.sessions.provider
    sign_out_url = await provider.find_sign_out_url() if provider is not None and signed_out == "openid" else None
    return _render_sign_in(request, dependencies, next, None, 200, sign_out_url)


def _render_sign_in(
    request: Request,
    dependencies: Dependencies,
    next_path: str,
    problem: str | None,
    status: int = 401,
    sign_out_url: str | None = None,
) -> Response:
    return dependencies.templates.render_page(
        request,
        "sign_in.html",
        status,
        next=_safe_redirect_path(next_path),
        problem=problem,
        provider=dependencies.sessions.provider,
        sign_out_url=sign_out_url,
    )


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
        return _render_sign_in(request, dependencies, next, str(error))
    return response


@router.get("/sign-in/openid")
async def begin_openid(request: Request, dependencies: ConsoleDependencies, next: str = "/") -> Response:
    """Redirect to the OpenID provider; from another site's page to the sign-in page, where the user decides."""
    next_path = _safe_redirect_path(next)
    if not dependencies.sessions.is_same_origin(request):
        return RedirectResponse(f"/sign-in?{urlencode({'next': next_path})}", 303)
    try:
        return await dependencies.sessions.begin_openid(request, next_path)
    except SignInFailed as error:
        return _render_sign_in(request, dependencies, next, str(error), 503)


@router.get(CALLBACK_PATH)
async def finish_openid(request: Request, dependencies: ConsoleDependencies) -> Response:
    """Set the session cookie for the user that the OpenID provider authenticated.

    Responds with a page that links on, not a redirect: browsers do not send the cookie, which is SameSite=Strict, with
    a redirect that another site started.
    """
    cookies = Response()
    try:
        next_path = _safe_redirect_path(await dependencies.sessions.finish_openid(request, cookies))
    except (SignInFailed, InvalidToken) as error:
        return _render_sign_in(request, dependencies, "/", str(error))
    page = dependencies.templates.render_page(request, "signed_in.html", next=next_path)
    page.raw_headers += [header for header in cookies.raw_headers if header[0] == b"set-cookie"]
    return page


@router.post("/sign-out")
async def sign_out(
    request: Request, dependencies: ConsoleDependencies, user: AnyUser, csrf: Annotated[str, Form()] = ""
) -> Response:
    """End the session and delete its cookie."""
    dependencies.sessions.require_csrf_token(user, request, csrf)
    is_openid = user.csrf is not None and user.token.startswith(OPENID_PREFIX)
    response = RedirectResponse("/sign-in?signed_out=openid" if is_openid else "/sign-in", 303)
    dependencies.sessions.sign_out(user, response)
    request.state.session_change = "signed_out"
    return response


@router.get("/session")
async def session_status(user: AnyUser) -> Response:
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
