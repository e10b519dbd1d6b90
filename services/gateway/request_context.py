"""The HTTP request's data for live events, with secrets redacted."""

import re
from urllib.parse import unquote_plus, urlsplit, urlunsplit

import orjson
from fastapi import Request

from schemas.http_request import URL_MAX, USER_AGENT_MAX

# Only these cause live events. No address or URL of any other request is sent.
COMMANDS_WITH_REQUEST = frozenset({"publish_provisional_grades"})
_SECRET_PARAMETER = re.compile(
    r"token|secret|passw|signature|assertion|session|credential|key|code|jwt|auth", re.IGNORECASE
)
_CONTROL_CHARACTERS = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def build_request_header(request: Request, gateway_url: str) -> bytes | None:
    """Build the record header ``http_request``; None if the caller's address is unknown.

    Host and start of the URL are the gateway's own, not those of the request.
    """
    if request.client is None:
        return None
    path = request.scope.get("raw_path", b"").decode("ascii", "replace") or request.url.path
    query = request.scope.get("query_string", b"").decode("ascii", "replace")
    url = gateway_url + path.partition("?")[0] + ("?" + query if query else "")
    request_fields = {
        "request_id": request.state.context_id,
        "session_id": None,
        "hostname": urlsplit(gateway_url).hostname,
        "http_method": request.method,
        "user_agent": _clean_text(request.headers.get("user-agent"), USER_AGENT_MAX),
        "client_ip": request.client.host,
        "url": redact_url(url),
        "referrer": redact_url(request.headers.get("referer")),
    }
    return orjson.dumps(request_fields)


def redact_url(url: str | None) -> str | None:
    """Remove user, password, fragment and possibly secret parameters from a URL; None if it is no URL."""
    text = _clean_text(url, 8 * URL_MAX)
    if text is None:
        return None
    try:
        url_parts = urlsplit(text)
    except ValueError:
        return None
    safe_parameters = [
        pair
        for pair in url_parts.query.split("&")
        if not _SECRET_PARAMETER.search(unquote_plus(pair.partition("=")[0]))
    ]
    host = url_parts.netloc.rpartition("@")[2]
    return urlunsplit((url_parts.scheme, host, url_parts.path, "&".join(safe_parameters), ""))[:URL_MAX]


def _clean_text(value: str | None, characters_max: int) -> str | None:
    return None if value is None else _CONTROL_CHARACTERS.sub("", value)[:characters_max]
