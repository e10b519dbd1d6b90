"""What a request tells of itself to the live events that follow from it, without anything that opens a door."""

import re
from urllib.parse import unquote_plus, urlsplit, urlunsplit

import orjson
from fastapi import Request

from schemas.http_request import URL_MAX, USER_AGENT_MAX

# Only these may lead to a live event: of no other request is an address or a page told.
TOLD_WITH = frozenset({"publish_provisional_grades"})
_SECRET = re.compile(r"token|secret|passw|signature|assertion|session|credential|key|code|jwt|auth", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def http_request(request: Request, gateway_url: str) -> bytes | None:
    """The value of the record header ``http_request``; None where not even the caller's address is known.

    Host and beginning of the URL are those that clients are told, not those that this one claims.
    """
    if request.client is None:
        return None
    path = request.scope.get("raw_path", b"").decode("ascii", "replace") or request.url.path
    query = request.scope.get("query_string", b"").decode("ascii", "replace")
    url = gateway_url + path.partition("?")[0] + ("?" + query if query else "")
    said = {
        "request_id": request.state.context_id,
        "session_id": None,
        "hostname": urlsplit(gateway_url).hostname,
        "http_method": request.method,
        "user_agent": _text(request.headers.get("user-agent"), USER_AGENT_MAX),
        "client_ip": request.client.host,
        "url": harmless(url),
        "referrer": harmless(request.headers.get("referer")),
    }
    return orjson.dumps(said)


def harmless(url: str | None) -> str | None:
    """A URL without user, password, fragment and whatever parameter may be a secret; None for what is no URL."""
    text = _text(url, 8 * URL_MAX)
    if text is None:
        return None
    try:
        parts = urlsplit(text)
    except ValueError:
        return None
    kept = [pair for pair in parts.query.split("&") if not _SECRET.search(unquote_plus(pair.partition("=")[0]))]
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "&".join(kept), ""))[:URL_MAX]


def _text(value: str | None, characters_max: int) -> str | None:
    return None if value is None else _CONTROL.sub("", value)[:characters_max]
