"""Paths as Rails reads them: a format at the end, a slash at the end, and slashes within an id.

Canvas: config/routes.rb, ``(.:format)`` of every API route; "SIS IDs" in its API documentation, on escaping.
"""

import re
from urllib.parse import unquote

from starlette.types import ASGIApp, Receive, Scope, Send

API_PREFIX = "/api/"
_FORMAT_SUFFIX = ".json"
_ENCODED_SLASH = re.compile(rb"%2f", re.IGNORECASE)


class RailsPathMiddleware:
    """Rewrites a request's path for the routes; ``raw_path`` stays as it was sent.

    A server decodes a path before it is routed, so that ``%2F`` in an id would split it. Here such a segment stays
    escaped, and :func:`unescape_segment` reads it.
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
    """A segment of a path with the slashes and percent signs that were sent encoded."""
    return segment.replace("%2F", "/").replace("%25", "%")
