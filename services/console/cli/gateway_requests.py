"""Requests of the moderators' commands to the gateway, which checks permissions as for any other client."""

import uuid
from typing import Any

import httpx2

from services.config.cli import ModeratorSettings
from services.console.gateway_client import (
    OWN_PATH,
    GatewayAnswer,
    GatewayUnavailable,
    build_publish_path,
    request_gateway,
)
from services.runtime.command_line import ActionRefused, NotFound, ServerUnavailable, run_command

Json = dict[str, Any]


def read_assignment(assignment_id: int, path: str, **query: str) -> Json:
    """Read a resource below an assignment's path. Exits if the gateway refuses, finds nothing or is down."""
    return _run("GET", f"{OWN_PATH}/{assignment_id}/{path}", params=query)


def change_assignment(assignment_id: int, command: str, data: Json) -> Json:
    """Send a moderation command and return its result. Exits as :func:`read_assignment`."""
    return _run("POST", f"{OWN_PATH}/{assignment_id}/{command}", json=data)


def publish_assignment(course_id: int, assignment_id: int, plan_digest: str) -> Json:
    """Publish by Canvas's path. Exits as :func:`read_assignment`."""
    return _run("POST", build_publish_path(course_id, assignment_id), json={"plan_digest": plan_digest})


def _run(method: str, path: str, **options: Any) -> Json:
    async def request() -> Json:
        settings = ModeratorSettings()
        token = settings.moderator_token.get_secret_value()
        headers = {"Idempotency-Key": str(uuid.uuid4())} if method == "POST" else {}
        try:
            return _check(await request_gateway(settings.gateway_url, token, method, path, headers=headers, **options))
        except GatewayUnavailable as error:
            remedy = "" if error.command_id is None else f"; run moderated-grading verdict {error.command_id} to see it"
            raise ServerUnavailable(f"{error}{remedy} (GATEWAY_URL is {settings.gateway_url})") from None

    return run_command(request)


def _check(answer: GatewayAnswer) -> Json:
    """Return the body. Raises ActionRefused or NotFound."""
    if answer.is_accepted:
        return answer.body
    message = str(answer.message)
    if answer.status == httpx2.codes.NOT_FOUND:
        raise NotFound(message)
    if answer.status == httpx2.codes.UNAUTHORIZED:
        raise ActionRefused(f"MODERATOR_TOKEN was rejected: {message}")
    raise ActionRefused(message if answer.reason is None else f"{message} ({answer.reason})")
