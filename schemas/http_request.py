"""The HTTP request that a command came from: the value of the record header ``http_request``, written by the gateway.

Canvas's live events state whether a web request or a job caused them. A command with this header came over HTTP; a
command without it, or with an invalid one, counts as a job's. It never holds a token, a name or a SIS id.
"""

from ipaddress import ip_address
from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints

from schemas.fields import NO_CONTROL_PATTERN, UUID_PATTERN
from schemas.strict import Strict

HTTP_REQUEST_HEADER = "http_request"
HTTP_REQUEST_HEADER_BYTES_MAX = 16 << 10
# The lengths that the best-known consumer stores, or that are acceptable in ten thousand events.
HOSTNAME_MAX = 253
USER_AGENT_MAX = 512
URL_MAX = 1_024


def _validate_ip_address(value: str) -> str:
    ip_address(value)
    return value


Printable = StringConstraints(pattern=NO_CONTROL_PATTERN)
Url = Annotated[str, StringConstraints(min_length=1, max_length=URL_MAX, pattern=r"^https?://[^\s\u0000-\u001f]+$")]

RequestId = Annotated[str, Field(pattern=UUID_PATTERN)]
Hostname = Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z.:_-]{1,253}$")]
HttpMethod = Annotated[str, StringConstraints(pattern=r"^[A-Z]{1,16}$")]
ClientIp = Annotated[str, StringConstraints(max_length=64), AfterValidator(_validate_ip_address)]


class HttpRequest(Strict):
    """Canvas's names; ``session_id`` is null for a caller with a token, ``referrer`` if none was sent."""

    request_id: RequestId = Field(description="the request's id, also in X-Request-Context-Id")
    session_id: Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z_-]{1,32}$")] | None = Field(
        description="null for a caller with a token"
    )
    hostname: Hostname = Field(description="the requested host")
    http_method: HttpMethod = Field(description="the method")
    user_agent: Annotated[str, StringConstraints(max_length=USER_AGENT_MAX), Printable] | None = Field(
        description="the caller's, null if none was sent"
    )
    client_ip: ClientIp = Field(description="the caller's address")
    url: Url = Field(description="the requested URL")
    referrer: Annotated[str, StringConstraints(max_length=URL_MAX), Printable] | None = Field(
        description="the caller's, null if none was sent"
    )
