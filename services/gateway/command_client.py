"""Sends a request's command to Kafka and waits for its verdict."""

import hashlib
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import orjson
from fastapi import Request
from pydantic import ValidationError
from uuid_utils import uuid7

from schemas.commands import COMMAND
from schemas.headers import TRACEPARENT
from schemas.http_request import HTTP_REQUEST_HEADER
from services.auth.signer import TokenSigner
from services.auth.verifier import REQUEST_SCOPE, digest_command
from services.gateway.authentication import Caller
from services.gateway.command_producer import CommandProducer, NotSent, ProducerRecord
from services.gateway.metrics import METRICS
from services.gateway.pending_places import PendingPlaces
from services.gateway.request_context import COMMANDS_WITH_REQUEST, build_request_header
from services.gateway.responses import (
    ApiError,
    bad_request,
    expired,
    not_found,
    parse_verdict,
    unauthorized,
    unavailable,
)
from services.gateway.verdict_waiter import VerdictWaiter
from services.moderation.ids import build_uuid8

if TYPE_CHECKING:
    from services.gateway.tracing import RequestTraces

# The token's expiry is checked against the record's append time, which a broker outage delays.
TOKEN_LIFETIME_SECONDS = 600
REPORTED_ERRORS_MAX = 5
REASON_HEADER = "X-Moderation-Reason"
_IDEMPOTENCY_KEY = re.compile(r"[!-~]([ -~]{0,253}[!-~])?")


class VerdictPending(Exception):
    """A command was sent, and no verdict arrived in time, or it cannot be answered yet.

    ``place``: what its ``Location`` names, signed.
    """

    def __init__(self, command_id: str, place: str) -> None:
        super().__init__(command_id)
        self.command_id = command_id
        self.place = place


@dataclass(frozen=True, slots=True)
class CommandRequest:
    """A moderation command to send on behalf of the caller."""

    type: str
    course_id: int
    assignment_id: int
    data: dict[str, Any]


class CommandClient:
    """Sends commands and waits for their verdicts in the log.

    ``traces`` is None without a collector. ``token_claims`` are put into each token that the gateway signs.
    """

    def __init__(
        self,
        producer: CommandProducer,
        verdict_waiter: VerdictWaiter,
        pending_places: PendingPlaces,
        signer: TokenSigner | None,
        wait_seconds: float,
        gateway_url: str,
        traces: "RequestTraces | None" = None,
        token_claims: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.producer = producer
        self.verdict_waiter = verdict_waiter
        self.pending_places = pending_places
        self.signer = signer
        self.wait_seconds = wait_seconds
        self.gateway_url = gateway_url
        self.traces = traces
        self.token_claims = token_claims

    async def send_and_wait(self, request: Request, caller: Caller, command_request: CommandRequest) -> dict[str, Any]:
        """Send a command and return its verdict.

        Raises:
            ApiError: the request is not a valid command (400), or nothing was sent to Kafka (503).
            VerdictPending: the command was sent, but no verdict arrived in time.
            POSTGRES_ERRORS: PostgreSQL does not answer; nothing was sent, unless ``request.state`` has ``pending``.
        """
        traceparent = request.headers.get("traceparent", "")
        client_traceparent = traceparent if TRACEPARENT.fullmatch(traceparent) else None
        if self.traces is None:
            return await self._send_and_wait(request, caller, command_request, client_traceparent)
        with self.traces.command_span(command_request.type, client_traceparent) as record_traceparent:
            return await self._send_and_wait(request, caller, command_request, record_traceparent)

    async def _send_and_wait(
        self, request: Request, caller: Caller, command_request: CommandRequest, traceparent: str | None
    ) -> dict[str, Any]:
        command_id = build_command_id(request, caller)
        record = self._build_record(request, caller, command_request, command_id, traceparent)
        if self.verdict_waiter.problem is not None:
            raise unavailable(self.verdict_waiter.problem)
        await self.pending_places.load_key()
        deadline = time.monotonic() + self.wait_seconds
        try:
            coordinates = await self.producer.send(record, self.wait_seconds)
        except NotSent as error:
            METRICS.commands.labels(command_request.type, "not_sent").inc()
            raise unavailable(str(error)) from None
        pending = VerdictPending(command_id, self.pending_places.sign(caller, command_id, coordinates))
        # If PostgreSQL is lost before the answer is complete, the client must not be told that nothing was changed.
        request.state.pending = pending
        stored_verdict = None
        if coordinates is not None:
            stored_verdict = await self.verdict_waiter.wait(coordinates, max(deadline - time.monotonic(), 0))
        if stored_verdict is None:
            METRICS.commands.labels(command_request.type, "pending").inc()
            raise pending
        verdict = parse_verdict(stored_verdict.body)
        METRICS.commands.labels(command_request.type, verdict["status"]).inc()
        return verdict

    def _build_record(
        self,
        request: Request,
        caller: Caller,
        command_request: CommandRequest,
        command_id: str,
        traceparent: str | None,
    ) -> ProducerRecord:
        command = {
            "command_id": command_id,
            "type": command_request.type,
            "issued_at": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "root_account_id": str(caller.root_account_id),
            "course_id": str(command_request.course_id),
            "assignment_id": str(command_request.assignment_id),
            "actor": {"user_id": str(caller.user_id)},
            "correlation_id": request.state.context_id,
            "data": command_request.data,
        }
        value = orjson.dumps(command)
        try:
            COMMAND.validate_json(value)
        except ValidationError as error:
            raise bad_request(_format_validation_error(error)) from None
        headers = [("content-type", b"application/json")]
        if traceparent is not None:
            headers.append(("traceparent", traceparent.encode()))
        request_header = (
            build_request_header(request, self.gateway_url) if command_request.type in COMMANDS_WITH_REQUEST else None
        )
        if request_header is not None:
            headers.append((HTTP_REQUEST_HEADER, request_header))
        if self.signer is not None:
            token = self.signer.issue_token(
                caller.user_id,
                caller.root_account_id,
                TOKEN_LIFETIME_SECONDS,
                REQUEST_SCOPE,
                command_sha256=digest_command(value),
                **self.token_claims,
            )
            headers.append(("authorization", f"Bearer {token}".encode()))
        return ProducerRecord(command_id, command_request.course_id, value, headers)


def idempotency_key(request: Request) -> str | None:
    """Return the request's Idempotency-Key, None if it has none. Raises ApiError if the key is invalid."""
    key = request.headers.get("idempotency-key")
    if key is not None and not _IDEMPOTENCY_KEY.fullmatch(key):
        raise bad_request("send an Idempotency-Key of 1 to 255 printable ASCII characters")
    return key


def build_command_id(request: Request, caller: Caller) -> str:
    """Return a new UUIDv7, or with an Idempotency-Key a UUIDv8 derived from it, the same in every gateway."""
    key = idempotency_key(request)
    if key is None:
        return str(uuid7())
    identity = (caller.root_account_id, caller.user_id, request.method, request.url.path, key)
    digest = hashlib.sha256(orjson.dumps(identity)).digest()
    return build_uuid8(digest[:16])


def _format_validation_error(error: ValidationError) -> str:
    """List the invalid fields, without their values."""
    messages = []
    for detail in error.errors(include_url=False, include_input=False)[:REPORTED_ERRORS_MAX]:
        path = ".".join(str(part) for part in detail["loc"][1:]) or "the command"
        messages.append(f"{path.removeprefix('data.')}: {detail['msg']}")
    return "; ".join(messages)


def raise_for_verdict(verdict: dict[str, Any], *, is_grading: bool = False) -> dict[str, Any]:
    """Return the verdict if it accepts. For a rejection, raise ApiError with Canvas's body and the reason in a header.

    ``is_grading``: on the submissions path Canvas responds to every grading error with 400 and ``error``.
    """
    if verdict["status"] == "accepted":
        return verdict
    error = _build_error(verdict, is_grading)
    raise ApiError(error.status, error.body, {**(error.headers or {}), REASON_HEADER: verdict["reason"]})


def _build_error(verdict: dict[str, Any], is_grading: bool) -> ApiError:
    message = verdict["message"]
    if verdict["errors"]:
        message += ": " + "; ".join(f"{error['path']}: {error['message']}" for error in verdict["errors"])
    match verdict["reason"]:
        case "unauthorized" | "not_assigned":
            return unauthorized()
        case "not_allocated":
            return ApiError(403, {"errors": [{"message": message}]})
        case "not_found":
            return not_found()
        case "unauthenticated":
            return unavailable("the handler's JWK set lacks the public key of this gateway's COMMAND_KEY: add it")
        case "missing_student_ids":
            return ApiError(400, [])
        case "command_id_reused":
            reused = "this Idempotency-Key was used for another request; nothing was changed: send a new key"
            return ApiError(422, {"message": reused})
        case "command_expired":
            return expired()
        case _ if is_grading:
            return ApiError(400, {"error": message})
    return ApiError(verdict["http_status"], {"message": message})


def pending_response(pending: VerdictPending) -> tuple[dict[str, str], dict[str, str]]:
    """Build body and headers of a 202 response with the verdict's location."""
    location = f"/api/moderation/v1/commands/{pending.command_id}?record={pending.place}"
    return {"command_id": pending.command_id, "status": "pending"}, {"Location": location, "Retry-After": "1"}
