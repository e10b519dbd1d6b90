"""What operators do about dead letters. Each deed is kept with who, why and what in the transaction that does it."""

import contextlib
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from uuid import UUID

import asyncpg

from services.commands.authorization import Authority
from services.commands.dry_run import Rehearsal, record_of, rehearse
from services.console.redriver import LETTER_BYTES_MAX, headers_of, reserve
from services.eventlog.dead_letters import DeadLetter, Selection
from services.eventlog.operator_actions import Action, Operating
from services.eventlog.postgres import OPERATOR, connect, leave

REASON_CHARACTERS_MAX = 1_000


class NoReason(Exception):
    """Every action needs a reason of 1 to 1,000 characters, without control characters."""


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts."""

    root_account: int
    user_id: int


class Actions:
    """Deeds, over a connection each with the role OPERATOR.

    ``commands``: the topic's full name. ``authority``: as the handler's. Methods may raise asyncpg's, OSError's and
    Kafka's errors; nothing is then done.
    """

    def __init__(self, url: str, bootstrap: str, commands: str, authority: Authority | None) -> None:
        self.url = url
        self.bootstrap = bootstrap
        self.commands = commands
        self.authority = authority

    @contextlib.asynccontextmanager
    async def _connected(self) -> "AsyncIterator[asyncpg.Connection[asyncpg.Record]]":
        connection = await connect(self.url, "console", OPERATOR)
        try:
            yield connection
        finally:
            await leave(connection)

    async def redrive(self, action: UUID, actor: Actor, reason: str, selection: Selection) -> int:
        """Decide that open dead letters go back onto the topic in their order, and how many; a Redriver sends them.

        Those that are too large to carry the mark of a redrive stay open.

        Raises:
            NoReason, AlreadyActed, AlreadySettled: nothing is done.
        """
        kept = _action(action, "redrive", actor, reason, _what(selection))
        redrive = await reserve(self.bootstrap, self.commands, action)
        async with self._connected() as connection:
            return await Operating(connection).act(kept, selection, redrive, LETTER_BYTES_MAX)

    async def discard(self, action: UUID, actor: Actor, reason: str, selection: Selection) -> int:
        """Close dead letters for good; they stay in the log. Raises as :meth:`redrive`."""
        kept = _action(action, "discard", actor, reason, _what(selection))
        async with self._connected() as connection:
            return await Operating(connection).act(kept, selection, None)

    async def reveal(self, action: UUID, actor: Actor, reason: str, letter: tuple[int, int]) -> None:
        """Keep that somebody looked at a dead letter's content. Raises NoReason, AlreadyActed."""
        kept = _action(action, "reveal", actor, reason, _what(Selection(letter=letter)))
        async with self._connected() as connection:
            await Operating(connection).act(kept, None, None)

    async def replay(self, action: UUID, actor: Actor, reason: str, detail: dict[str, object]) -> None:
        """Keep that a part of the log is to be emitted again. Raises NoReason, AlreadyActed."""
        kept = _action(action, "replay", actor, reason, detail)
        async with self._connected() as connection:
            await Operating(connection).act(kept, None, None)

    async def dry_run(self, letter: DeadLetter) -> Rehearsal:
        """What would come of a dead letter if it were redriven now; nothing is written, not even that it was asked."""
        headers = headers_of(letter.headers or b"[]")
        now = int(time.time() * 1_000)
        record = record_of(letter.topic, letter.partition, now, letter.key, letter.value, headers)
        async with self._connected() as connection:
            return await rehearse(connection, record, self.authority)


def _action(action: UUID, kind: str, actor: Actor, reason: str, what: dict[str, object]) -> Action:
    reason = reason.strip()
    if not 1 <= len(reason) <= REASON_CHARACTERS_MAX or any(ord(c) < 32 and c not in "\r\n\t" for c in reason):
        raise NoReason
    return Action(action, kind, actor.root_account, actor.user_id, reason, json.dumps(what))


def _what(selection: Selection) -> dict[str, object]:
    if selection.letter is not None:
        return {"dead_letter": f"{selection.letter[0]}-{selection.letter[1]}"}
    found: dict[str, object] = {"reason": selection.reason, "partition": selection.partition}
    if selection.until is not None:
        found["until"] = selection.until.isoformat()
    return {name: value for name, value in found.items() if value is not None}
