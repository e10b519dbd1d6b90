"""Requests of the moderators' commands to the gateway, which checks permissions as for any other client."""

import uuid
from dataclasses import dataclass
from typing import Any

import httpx2

from schemas.reasons import REASONS
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


@dataclass(frozen=True, slots=True)
class Target:
    """What a request is about, for error messages. ``students``: their ids; ``details``: other ids and files."""

    assignment_id: int
    details: str = ""
    students: tuple[str, ...] = ()

    def __str__(self) -> str:
        students = f" with student {', '.join(self.students)}" if self.students else ""
        return f"assignment {self.assignment_id}{students}{self.details}"


def read_assignment(target: Target, path: str, **query: str) -> Json:
    """Read a resource below an assignment's path. Exits if the gateway refuses, finds nothing or is down."""
    return _run(target, "GET", f"{OWN_PATH}/{target.assignment_id}/{path}", params=query)


def change_assignment(target: Target, command: str, data: Json) -> Json:
    """Send a moderation command and return its result. Exits as :func:`read_assignment`."""
    return _run(target, "POST", f"{OWN_PATH}/{target.assignment_id}/{command}", json=data)


def publish_assignment(course_id: int, assignment_id: int, plan_digest: str) -> Json:
    """Publish by Canvas's path. Exits as :func:`read_assignment`."""
    target = Target(assignment_id, f" of course {course_id}")
    return _run(target, "POST", build_publish_path(course_id, assignment_id), json={"plan_digest": plan_digest})


def _run(target: Target, method: str, path: str, **options: Any) -> Json:
    async def request() -> Json:
        settings = ModeratorSettings()
        token = settings.moderator_token.get_secret_value()
        headers = {"Idempotency-Key": str(uuid.uuid4())} if method == "POST" else {}
        try:
            answer = await request_gateway(settings.gateway_url, token, method, path, headers=headers, **options)
        except GatewayUnavailable as error:
            remedy = "" if error.command_id is None else f"; run moderated-grading verdict {error.command_id} to see it"
            raise ServerUnavailable(f"{error}{remedy} (GATEWAY_URL is {settings.gateway_url})") from None
        if not answer.is_accepted:
            raise build_refusal(answer, target)
        return answer.body

    return run_command(request)


def build_refusal(answer: GatewayAnswer, target: Target) -> ActionRefused | NotFound:
    """Build the error of a refused request: it names the target, the gateway's message and the remedy."""
    message = str(answer.message).rstrip(".")
    if answer.status == httpx2.codes.UNAUTHORIZED:
        return ActionRefused(f"MODERATOR_TOKEN was rejected: {message}")
    if answer.status == httpx2.codes.NOT_FOUND:
        hint = (
            f": moderated-grading plan {target.assignment_id} shows whether the assignment is found, and the"
            " anonymous ids of hidden students"
            if target.students
            else ""
        )
        return NotFound(
            f"{target} was not found: there is no such id, or the user of MODERATOR_TOKEN has no role in its course."
            f" Check each id and the token{hint}"
        )
    reason = answer.reason or ("unauthorized" if answer.status == httpx2.codes.FORBIDDEN else None)
    if reason == "plan_outdated":
        remedy = f"Run moderated-grading plan {target.assignment_id} to see what changed"
    else:
        remedy = next((info.remedy for known, info in REASONS.items() if known == reason), "")
    return ActionRefused(f"{target}: {message}{'' if reason is None else f' ({reason})'}. {remedy}".rstrip(". "))
