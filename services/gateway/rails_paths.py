"""Rewrites paths like Rails: removes a trailing format or slash, and keeps encoded slashes inside ids.

Canvas: config/routes.rb, ``(.:format)`` of every API route; "SIS IDs" in its API documentation, on escaping.
"""

import re
from urllib.parse import unquote

from starlette.types import ASGIApp, Receive, Scope, Send

API_PREFIX = "/api/"
_FORMAT_SUFFIX = ".json"
_ENCODED_SLASH = re.compile(rb"%2f", re.IGNORECASE)


class RailsPathMiddleware:
    """Rewrites the path that the router sees; ``raw_path`` stays as it was sent.

    The server decodes a path before routing, so ``%2F`` in an id would split the path. The middleware keeps such a
    segment escaped; :func:`unescape_segment` decodes it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith(API_PREFIX):
            scope = {**scope, "path": _rewrite_path(scope["path"], scope.get("raw_path") or b"")}
        await self.app(scope, receive, send)


def _rewrite_path(path: str, raw_path: bytes) -> str:
    raw_path = raw_path.partition(b"?")[0]
    if _ENCODED_SLASH.search(raw_path):
        path = "/".join(_escape_segment(unquote(segment)) for segment in raw_path.decode("ascii", "replace").split("/"))
    return path.rstrip("/").removesuffix(_FORMAT_SUFFIX)


def _escape_segment(segment: str) -> str:
    return segment.replace("%", "%25").replace("/", "%2F")


def unescape_segment(segment: str) -> str:
    """Decode the slashes and percent signs of a path segment."""
    return segment.replace("%2F", "/").replace("%25", "%")
