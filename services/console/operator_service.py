"""Operator actions, each recorded with user, reason and target in the transaction that performs it."""

import contextlib
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Literal
from uuid import UUID

import asyncpg

from services.commands.authorization import CommandAuthorizer
from services.commands.dry_run import DryRunResult, build_synthetic_record, dry_run
from services.console.redriver import DEAD_LETTER_BYTES_MAX, allocate_producer_id, decode_headers
from services.eventlog.dead_letters import DeadLetter, DeadLetterFilter
from services.eventlog.operator_actions import Action, OperatorActions
from services.eventlog.postgres import OPERATOR, close_quickly, connect, connect_operator

REASON_CHARACTERS_MAX = 1_000


class InvalidReason(Exception):
    """The reason must have 1 to REASON_CHARACTERS_MAX characters, without control characters."""


@dataclass(frozen=True, slots=True)
class Actor:
    """The user who performs an action."""

    root_account: int
    user_id: int


class OperatorService:
    """Performs actions, each on a new connection with the role OPERATOR.

    ``commands_topic`` is a full name; ``authorizer`` is the handler's, None without COMMAND_AUTH. If a method raises
    INFRASTRUCTURE_ERRORS, nothing was changed.
    """

    def __init__(
        self,
        url: str,
        bootstrap: str,
        commands_topic: str,
        authorizer: CommandAuthorizer | None,
        live_events_shard: int | None = None,
    ) -> None:
        self.url = url
        self.bootstrap = bootstrap
        self.commands_topic = commands_topic
        self.authorizer = authorizer
        self.live_events_shard = live_events_shard

    @contextlib.asynccontextmanager
    async def _open_connection(self) -> "AsyncIterator[asyncpg.Connection[asyncpg.Record]]":
        connection = await connect(self.url, "console", OPERATOR)
        try:
            yield connection
        finally:
            await close_quickly(connection)

    async def redrive(self, action_id: UUID, actor: Actor, reason: str, selection: DeadLetterFilter) -> int:
        """Close open dead letters for a redrive and return their number; a Redriver sends them.

        Records that are too large for the redrive headers stay open.

        Raises:
            InvalidReason, ActionAlreadyRecorded, NoOpenDeadLetters: nothing was changed.
        """
        operator_action = _build_action(action_id, "redrive", actor, reason, _describe_selection(selection))
        redrive = await allocate_producer_id(self.bootstrap, self.commands_topic, action_id)
        async with self._open_connection() as connection:
            return await OperatorActions(connection).record_action(
                operator_action, selection, redrive, DEAD_LETTER_BYTES_MAX
            )

    async def discard(self, action_id: UUID, actor: Actor, reason: str, selection: DeadLetterFilter) -> int:
        """Close dead letters without sending them; they stay in the log. Raises as :meth:`redrive`."""
        operator_action = _build_action(action_id, "discard", actor, reason, _describe_selection(selection))
        async with self._open_connection() as connection:
            return await OperatorActions(connection).record_action(operator_action, selection, None)

    async def reveal(self, action_id: UUID, actor: Actor, reason: str, dead_letter_id: tuple[int, int]) -> None:
        """Record that the user sees a dead letter's content. Raises InvalidReason, ActionAlreadyRecorded."""
        operator_action = _build_action(
            action_id, "reveal", actor, reason, _describe_selection(DeadLetterFilter(id=dead_letter_id))
        )
        async with self._open_connection() as connection:
            await OperatorActions(connection).record_action(operator_action, None, None)

    async def replay(self, action_id: UUID, actor: Actor, reason: str, detail: dict[str, object]) -> None:
        """Record a replay request. Raises InvalidReason, ActionAlreadyRecorded."""
        operator_action = _build_action(action_id, "replay", actor, reason, detail)
        async with self._open_connection() as connection:
            await OperatorActions(connection).record_action(operator_action, None, None)

    async def record_person_action(
        self, action_id: UUID, kind: Literal["erase", "export"], actor: Actor, reason: str, person: Actor
    ) -> None:
        """Record that the user erases or exports a person's data. Raises InvalidReason, ActionAlreadyRecorded."""
        detail: dict[str, object] = {"root_account_id": str(person.root_account), "user_id": str(person.user_id)}
        operator_action = _build_action(action_id, kind, actor, reason, detail)
        # The only actions that a login bound to one root account may record.
        connection = await connect_operator(self.url, "console", OPERATOR)
        try:
            await OperatorActions(connection).record_action(operator_action, None, None)
        finally:
            await close_quickly(connection)

    async def dry_run(self, dead_letter: DeadLetter) -> DryRunResult:
        """Decide a dead letter as if it were redriven now, without writing anything."""
        headers = decode_headers(dead_letter.headers or b"[]")
        now_ms = int(time.time() * 1_000)
        record = build_synthetic_record(
            dead_letter.topic, dead_letter.partition, now_ms, dead_letter.key, dead_letter.value, headers
        )
        async with self._open_connection() as connection:
            return await dry_run(connection, record, self.authorizer, self.live_events_shard)


def parse_reason(text: str) -> str:
    """Return the reason without spaces around it. Raises InvalidReason."""
    reason = text.strip()
    if not 1 <= len(reason) <= REASON_CHARACTERS_MAX or any(ord(c) < 32 and c not in "\r\n\t" for c in reason):
        raise InvalidReason
    return reason


def _build_action(action_id: UUID, kind: str, actor: Actor, reason: str, detail: dict[str, object]) -> Action:
    return Action(action_id, kind, actor.root_account, actor.user_id, parse_reason(reason), json.dumps(detail))


def _describe_selection(selection: DeadLetterFilter) -> dict[str, object]:
    if selection.id is not None:
        return {"dead_letter": f"{selection.id[0]}-{selection.id[1]}"}
    detail: dict[str, object] = {"reason": selection.reason, "partition": selection.partition}
    if selection.until is not None:
        detail["until"] = selection.until.isoformat()
    return {name: value for name, value in detail.items() if value is not None}
