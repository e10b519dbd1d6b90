"""Sends a moderation command as the signed-in user, through the gateway, which checks the user's rights."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, HTTPException, Request

from services.console.gateway_client import GatewayAnswer, GatewayUnavailable, request_gateway
from services.console.web.dependencies import ConsoleDependencies, Dependencies, FormUser
from services.console.web.moderation_view import ModerationView, load_view
from services.console.web.signed_in_user import Forbidden

NOT_A_MODERATOR = "You do not moderate this assignment. Nothing was changed."


def require_moderator(view: ModerationView) -> None:
    """Raise Forbidden unless the console can send the user's commands about the assignment."""
    if not view.moderates:
        raise Forbidden(NOT_A_MODERATOR)
    if view.cannot_act_because is not None:
        raise Forbidden(f"{view.cannot_act_because}. Nothing was changed.")


async def load_moderated_view(
    dependencies: ConsoleDependencies, user: FormUser, root_account: int, assignment: int
) -> ModerationView:
    """Load the assignment that a form is about. Raises NotSignedIn, HTTPException (404), Forbidden."""
    view = await load_view(dependencies, user, root_account, assignment)
    require_moderator(view)
    return view


ModeratedView = Annotated[ModerationView, Depends(load_moderated_view)]


async def send_command(
    request: Request,
    dependencies: Dependencies,
    view: ModerationView,
    path: str,
    action: UUID,
    data: dict[str, Any],
) -> GatewayAnswer:
    """Send a command; a form that is submitted again is answered with the first verdict.

    Raises HTTPException (503) if the gateway has no verdict.
    """
    gateway_url = dependencies.settings.gateway_url
    assert gateway_url is not None
    headers = build_request_headers(request, action)
    try:
        return await request_gateway(gateway_url, view.user.token, "POST", path, headers=headers, json=data)
    except GatewayUnavailable as error:
        raise HTTPException(503, f"{error}.") from None


def build_request_headers(request: Request, action: UUID) -> dict[str, str]:
    """Build the headers that describe the user's own request to the gateway, for the live event.

    A gateway whose ``FORWARDED_ALLOW_IPS`` names the console publishes the user's address, not the console's. Headers
    of a browser may hold any bytes, which Starlette decodes as Latin-1; httpx2 sends only ASCII.
    """
    headers = {"Idempotency-Key": str(action), "User-Agent": request.headers.get("user-agent", "console")}
    if request.client is not None:
        headers["X-Forwarded-For"] = request.client.host
    return {name: value.encode("ascii", "replace").decode() for name, value in headers.items()}
