"""What the gateway tells of the HTTP request that a command came by: the value of the record header ``http_request``.

Canvas's live events say whether a web request made them or a job. A command that carries this header came over HTTP;
one without it, or with one that is not as below, is a job's. No token, no name and no SIS id stands here.
"""

from ipaddress import ip_address
from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints

from schemas.commands import Strict
from schemas.fields import NO_CONTROL_PATTERN, UUID_PATTERN

HTTP_REQUEST_HEADER = "http_request"
HTTP_REQUEST_HEADER_BYTES_MAX = 16 << 10
# What the best known consumer keeps of each, or what an event may be expected to carry ten thousand times.
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
    """Canvas's names; ``session_id`` is null where the caller came with a token, ``referrer`` where none was sent."""

    request_id: RequestId
    session_id: Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z_-]{1,32}$")] | None
    hostname: Hostname
    http_method: HttpMethod
    user_agent: Annotated[str, StringConstraints(max_length=USER_AGENT_MAX), Printable] | None
    client_ip: ClientIp
    url: Url
    referrer: Annotated[str, StringConstraints(max_length=URL_MAX), Printable] | None
