"""HTTP that the gateway and the console share."""

from collections.abc import MutableMapping
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send


class HeadMiddleware:
    """Answers ``HEAD`` with the status and headers of ``GET`` (RFC 9110, 9.3.2); the routes know ``GET`` only."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self.app(scope, receive, send)
            return

        async def send_without_body(message: MutableMapping[str, Any]) -> None:
            # Ends the response at once, so that an endless stream does not keep the connection.
            if message["type"] == "http.response.start":
                await send(message)
                await send({"type": "http.response.body", "body": b""})

        await self.app({**scope, "method": "GET"}, receive, send_without_body)
