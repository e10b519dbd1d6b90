"""Request targets in absolute form."""

import re
from urllib.parse import unquote

from starlette.types import ASGIApp, Receive, Scope, Send

_AUTHORITY = re.compile(rb"https?://[^/]*", re.IGNORECASE)


class AbsoluteTargetMiddleware:
    """Takes ``GET http://host/path`` for ``GET /path``, which every server must (RFC 9112, 3.2.2).

    Clients send it to proxies, and some when they follow a ``Link``. The host is ignored: links in answers begin with
    the configured URL.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (authority := _AUTHORITY.match(scope["raw_path"])):
            raw_path = scope["raw_path"][authority.end() :] or b"/"
            scope = {**scope, "raw_path": raw_path, "path": unquote(raw_path.decode("ascii"))}
        await self.app(scope, receive, send)
