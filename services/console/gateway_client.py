"""Requests to the gateway with a user's own token: it decides as for any other client of that user."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx2

Json = dict[str, Any]
TIMEOUT_SECONDS = 60.0
NOT_SENT_ERRORS = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)
OWN_PATH = "/api/moderation/v1/assignments"


class GatewayUnavailable(Exception):
    """The gateway does not answer, cannot reach its servers, or has no verdict yet.

    The message states whether a command may still be decided. ``command_id``: of a command without a verdict.
    """

    def __init__(self, message: str, command_id: str | None = None) -> None:
        super().__init__(message)
        self.command_id = command_id


@dataclass(frozen=True, slots=True)
class GatewayAnswer:
    """An answer with ``status`` below 500. A refusal has a message, and a reason if a verdict refused the command."""

    status: int
    body: Json
    message: str | None
    reason: str | None

    @property
    def is_accepted(self) -> bool:
        """Whether the request was answered as asked."""
        return self.status == httpx2.codes.OK


def build_publish_path(course_id: int, assignment_id: int) -> str:
    """Return Canvas's path of a publication."""
    return f"/api/v1/courses/{course_id}/assignments/{assignment_id}/provisional_grades/publish"


async def request_gateway(
    gateway_url: str, token: str, method: str, path: str, *, headers: Mapping[str, str], **options: Any
) -> GatewayAnswer:
    """Send a request with a user's token. Raises GatewayUnavailable."""
    try:
        async with httpx2.AsyncClient(base_url=gateway_url, timeout=TIMEOUT_SECONDS) as client:
            response = await client.request(
                method, path, headers={**headers, "Authorization": f"Bearer {token}"}, **options
            )
    except NOT_SENT_ERRORS as error:
        raise GatewayUnavailable(
            f"the gateway does not answer ({type(error).__name__}): nothing was changed, try again"
        ) from None
    except httpx2.TransportError as error:
        raise GatewayUnavailable(
            f"the gateway does not answer ({type(error).__name__}){_describe_unknown_outcome(method)}"
        ) from None
    return read_answer(method, response)


def read_answer(method: str, response: httpx2.Response) -> GatewayAnswer:
    """Read the gateway's response. Raises GatewayUnavailable."""
    try:
        body: Json = response.json()
    except ValueError:
        body = {}
    if response.status_code == httpx2.codes.ACCEPTED:
        command_id = str(body.get("command_id"))
        raise GatewayUnavailable(
            f"there is no verdict of command {command_id} yet{_describe_unknown_outcome(method)}", command_id
        )
    if response.status_code == httpx2.codes.OK:
        return GatewayAnswer(response.status_code, body, None, None)
    own_message = _find_message(body)
    message = own_message or f"the gateway answered with status {response.status_code}"
    if response.is_server_error:
        # The gateway's own 503 states that nothing was changed; that of a proxy does not.
        is_unchanged = response.status_code == httpx2.codes.SERVICE_UNAVAILABLE and own_message is not None
        raise GatewayUnavailable(message if is_unchanged else message + _describe_unknown_outcome(method))
    return GatewayAnswer(response.status_code, body, message, response.headers.get("x-moderation-reason"))


def _describe_unknown_outcome(method: str) -> str:
    return ". The command may still be decided: look at the plan or the state before you repeat it" * (method == "POST")


def _find_message(body: Any) -> str | None:
    """Return the texts of an error, in Canvas's or the service's form."""
    if not isinstance(body, dict):
        return None
    if isinstance(body.get("errors"), list) and body["errors"]:
        return "; ".join(str(error.get("message")).rstrip(".") for error in body["errors"])
    return body.get("message") or body.get("error")
