"""The HTTP request's data for live events: no query, no ids from the path, only the origin of the referrer."""

import re
from urllib.parse import urlsplit, urlunsplit

import orjson
from fastapi import Request

from schemas.http_request import URL_MAX, USER_AGENT_MAX

# Only these requests cause live events. Addresses and URLs of other requests are not sent.
COMMANDS_WITH_REQUEST = frozenset({"publish_provisional_grades"})
_CONTROL_CHARACTERS = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def build_request_header(request: Request, gateway_url: str) -> bytes | None:
    """Build the record header ``http_request``; None if the caller's address is unknown.

    Host and base of the URL are the gateway's own, not the request's; the path is the route's template.
    """
    if request.client is None:
        return None
    request_fields = {
        "request_id": request.state.context_id,
        "session_id": None,
        "hostname": urlsplit(gateway_url).hostname,
        "http_method": request.method,
        "user_agent": _clean_text(request.headers.get("user-agent"), USER_AGENT_MAX),
        "client_ip": request.client.host,
        "url": (gateway_url + request.scope["route"].path)[:URL_MAX],
        "referrer": get_origin(request.headers.get("referer")),
    }
    return orjson.dumps(request_fields)


def get_origin(url: str | None) -> str | None:
    """Return scheme, host and port of a URL; None if it is not the URL of a web page."""
    text = _clean_text(url, 8 * URL_MAX)
    if text is None:
        return None
    try:
        url_parts = urlsplit(text)
    except ValueError:
        return None
    host = url_parts.netloc.rpartition("@")[2]
    if url_parts.scheme not in ("http", "https") or not host:
        return None
    return urlunsplit((url_parts.scheme, host, "", "", ""))[:URL_MAX]


def _clean_text(value: str | None, characters_max: int) -> str | None:
    return None if value is None else _CONTROL_CHARACTERS.sub("", value)[:characters_max]
