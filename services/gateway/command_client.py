"""A request as a command, the command's way out, and its verdict back."""

import hashlib
import re
import secrets
import time
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import orjson
from fastapi import Request
from pydantic import ValidationError

from schemas.commands import COMMAND
from schemas.http_request import HEADER
from services.auth.signer import Signer
from services.auth.verifier import REQUEST_SCOPE
from services.gateway.authentication import Caller
from services.gateway.command_producer import NotSent, Record, Sender
from services.gateway.metrics import METRICS
from services.gateway.request_context import TOLD_WITH, http_request
from services.gateway.responses import Refused, bad_request, not_found, unauthorized, unavailable
from services.gateway.verdict_waiter import Verdicts

if TYPE_CHECKING:
    from services.gateway.tracing import RequestTraces

# Judged when the broker appends the record: as long as one may wait for the other after an outage.
TOKEN_SECONDS = 600
ERRORS_SHOWN_MAX = 5
_KEY = re.compile(r"[!-~]([ -~]{0,253}[!-~])?")
_TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


class Pending(Exception):
    """No verdict in time. ``record``: PARTITION-OFFSET, None where no broker has acknowledged the record."""

    def __init__(self, command_id: str, record: str | None) -> None:
        super().__init__(command_id)
        self.command_id = command_id
        self.record = record


@dataclass(frozen=True, slots=True)
class Asked:
    """A moderation command that a request asks for, on behalf of its caller."""

    type: str
    course_id: int
    assignment_id: int
    data: dict[str, Any]


class Commands:
    """Sends commands and waits for what the log says to them. ``traces``: who tells of it, None where nobody asked."""

    def __init__(
        self,
        sender: Sender,
        verdicts: Verdicts,
        signer: Signer | None,
        wait_seconds: float,
        gateway_url: str,
        traces: "RequestTraces | None" = None,
    ) -> None:
        self.sender = sender
        self.verdicts = verdicts
        self.signer = signer
        self.wait_seconds = wait_seconds
        self.gateway_url = gateway_url
        self.traces = traces

    async def verdict(self, request: Request, caller: Caller, asked: Asked) -> dict[str, Any]:
        """The verdict of the command.

        Raises:
            Refused: the request cannot be a command (400), or nothing was handed to Kafka (503).
            Pending: it was, and there is no verdict in time.
        """
        traceparent = request.headers.get("traceparent", "")
        clients = traceparent if _TRACEPARENT.fullmatch(traceparent) else None
        if self.traces is None:
            return await self._verdict(request, caller, asked, clients)
        with self.traces.command(asked.type, clients) as own:
            return await self._verdict(request, caller, asked, own)

    async def _verdict(self, request: Request, caller: Caller, asked: Asked, traceparent: str | None) -> dict[str, Any]:
        command_id = command_id_of(request, caller)
        record = self._record(request, caller, asked, command_id, traceparent)
        if self.verdicts.problem is not None:
            raise unavailable(self.verdicts.problem)
        deadline = time.monotonic() + self.wait_seconds
        try:
            place = await self.sender.send(record, self.wait_seconds)
        except NotSent as error:
            METRICS.commands.labels(asked.type, "not_sent").inc()
            raise unavailable(str(error)) from None
        found = None
        if place is not None:
            found = await self.verdicts.wait(place, max(deadline - time.monotonic(), 0))
        if found is None:
            METRICS.commands.labels(asked.type, "pending").inc()
            raise Pending(command_id, None if place is None else f"{place[0]}-{place[1]}")
        verdict: dict[str, Any] = orjson.loads(found.body)
        METRICS.commands.labels(asked.type, verdict["status"]).inc()
        return verdict

    def _record(
        self, request: Request, caller: Caller, asked: Asked, command_id: str, traceparent: str | None
    ) -> Record:
        command = {
            "command_id": command_id,
            "type": asked.type,
            "issued_at": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "root_account_id": str(caller.root_account_id),
            "course_id": str(asked.course_id),
            "assignment_id": str(asked.assignment_id),
            "actor": {"user_id": str(caller.user_id)},
            "correlation_id": request.state.context_id,
            "data": asked.data,
        }
        value = orjson.dumps(command)
        try:
            COMMAND.validate_json(value)
        except ValidationError as error:
            raise bad_request(_said_of(error)) from None
        headers = [("content-type", b"application/json")]
        if traceparent is not None:
            headers.append(("traceparent", traceparent.encode()))
        told = http_request(request, self.gateway_url) if asked.type in TOLD_WITH else None
        if told is not None:
            headers.append((HEADER, told))
        if self.signer is not None:
            token = self.signer.token(caller.user_id, caller.root_account_id, TOKEN_SECONDS, REQUEST_SCOPE)
            headers.append(("authorization", f"Bearer {token}".encode()))
        return Record(command_id, asked.course_id, value, headers)


def idempotency_key(request: Request) -> str | None:
    """The request's Idempotency-Key, None where it has none. Raises Refused for what is no key."""
    key = request.headers.get("idempotency-key")
    if key is not None and not _KEY.fullmatch(key):
        raise bad_request("send an Idempotency-Key of 1 to 255 printable ASCII characters")
    return key


def command_id_of(request: Request, caller: Caller) -> str:
    """A fresh UUIDv7; with an Idempotency-Key the UUIDv8 that stands for it, the same in every gateway."""
    key = idempotency_key(request)
    if key is None:
        return uuid7()
    said = (caller.root_account_id, caller.user_id, request.method, request.url.path, key)
    digest = hashlib.sha256(orjson.dumps(said)).digest()
    return _uuid(digest[:16], 8)


def uuid7() -> str:
    """A UUID that begins with the time: milliseconds, then 74 random bits."""
    return _uuid(int(time.time() * 1_000).to_bytes(6, "big") + secrets.token_bytes(10), 7)


def _uuid(octets: bytes, version: int) -> str:
    number = int.from_bytes(octets, "big")
    number = number & ~(0xF << 76) | version << 76
    return str(uuid.UUID(int=number & ~(0x3 << 62) | 0x2 << 62))


def _said_of(error: ValidationError) -> str:
    """The fields at fault, without their values."""
    said = []
    for detail in error.errors(include_url=False, include_input=False)[:ERRORS_SHOWN_MAX]:
        path = ".".join(str(part) for part in detail["loc"][1:]) or "the command"
        said.append(f"{path.removeprefix('data.')}: {detail['msg']}")
    return "; ".join(said)


def accepted_or_refused(verdict: dict[str, Any], *, of_grading: bool = False) -> dict[str, Any]:
    """The verdict, if it accepts the command. Raises Refused with Canvas's body for the refusal.

    ``of_grading``: on the submissions path Canvas answers every grading error with 400 and ``error``.
    """
    if verdict["status"] == "accepted":
        return verdict
    reason, message = verdict["reason"], verdict["message"]
    if verdict["errors"]:
        message += ": " + "; ".join(f"{error['path']}: {error['message']}" for error in verdict["errors"])
    match reason:
        case "unauthorized":
            raise unauthorized()
        case "not_found":
            raise not_found()
        case "unauthenticated":
            raise unavailable("the handler does not know this gateway's key (COMMAND_KEY): its JWK set is to hold it")
        case "missing_student_ids":
            raise Refused(400, [])
        case "command_id_reused":
            raise Refused(422, {"message": "this Idempotency-Key was used for another request: send a new one"})
        case _ if of_grading:
            raise Refused(400, {"error": message})
    raise Refused(verdict["http_status"], {"message": message})


def pending(error: Pending) -> tuple[dict[str, str], dict[str, str]]:
    """Body and headers of 202: where the verdict will be."""
    location = f"/api/moderation/v1/commands/{error.command_id}"
    if error.record is not None:
        location += f"?record={error.record}"
    return {"command_id": error.command_id, "status": "pending"}, {"Location": location, "Retry-After": "1"}
