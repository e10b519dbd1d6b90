"""Requests of the moderators' commands to the gateway, which checks permissions as for any other client."""

import uuid
from typing import Any

import httpx2

from services.config import ModeratorSettings
from services.runtime.command_line import ActionRefused, NotFound, ServerUnavailable, run_command

Json = dict[str, Any]
TIMEOUT_SECONDS = 60.0
OWN_PATH = "/api/moderation/v1/assignments"


def read_assignment(assignment_id: int, path: str, **query: str) -> Json:
    """Read a resource below an assignment's path. Exits if the gateway refuses, finds nothing or is down."""
    return _run("GET", f"{OWN_PATH}/{assignment_id}/{path}", params=query)


def change_assignment(assignment_id: int, command: str, data: Json) -> Json:
    """Send a moderation command and return its result. Exits as :func:`read_assignment`."""
    return _run("POST", f"{OWN_PATH}/{assignment_id}/{command}", json=data)


def publish_assignment(course_id: int, assignment_id: int, plan_digest: str) -> Json:
    """Publish by Canvas's path. Exits as :func:`read_assignment`."""
    path = f"/api/v1/courses/{course_id}/assignments/{assignment_id}/provisional_grades/publish"
    return _run("POST", path, json={"plan_digest": plan_digest})


def _run(method: str, path: str, **options: Any) -> Json:
    async def request() -> Json:
        settings = ModeratorSettings()
        headers = {"Authorization": f"Bearer {settings.moderator_token.get_secret_value()}"}
        if method == "POST":
            headers["Idempotency-Key"] = str(uuid.uuid4())
        try:
            async with httpx2.AsyncClient(base_url=settings.gateway_url, timeout=TIMEOUT_SECONDS) as client:
                response = await client.request(method, path, headers=headers, **options)
        except httpx2.TransportError as error:
            raise ServerUnavailable(
                f"the gateway at {settings.gateway_url} does not answer ({type(error).__name__})."
                f"{_describe_unknown_outcome(method)}"
            ) from None
        return _check(response, method)

    return run_command(request)


def _describe_unknown_outcome(method: str) -> str:
    return " The command may still be decided: look at the plan or the state before you repeat it" * (method == "POST")


def _check(response: httpx2.Response, method: str) -> Json:
    """Return the body. Raises ActionRefused, NotFound or ServerUnavailable."""
    try:
        body: Json = response.json()
    except ValueError:
        body = {}
    if response.status_code == httpx2.codes.OK:
        return body
    if response.status_code == httpx2.codes.ACCEPTED:
        raise ServerUnavailable(
            f"there is no verdict of command {body.get('command_id')} yet: run moderated-grading verdict with its id"
        )
    message = _find_message(body) or f"the gateway answered with status {response.status_code}"
    if response.is_server_error:
        raise ServerUnavailable(f"{message}.{_describe_unknown_outcome(method)}")
    if response.status_code == httpx2.codes.NOT_FOUND:
        raise NotFound(message)
    if response.status_code == httpx2.codes.UNAUTHORIZED:
        raise ActionRefused(f"MODERATOR_TOKEN was rejected: {message}")
    reason = response.headers.get("x-moderation-reason")
    raise ActionRefused(message if reason is None else f"{message} ({reason})")


def _find_message(body: Any) -> str | None:
    """Return the text of an error, in Canvas's or the service's form."""
    if not isinstance(body, dict):
        return None
    if isinstance(body.get("errors"), list) and body["errors"]:
        return str(body["errors"][0].get("message"))
    return body.get("message") or body.get("error")
