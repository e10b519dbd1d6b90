"""Failpoints: a test can make a process crash, fail or wait at each call to a server. Off in production.

``FAILPOINTS=handler.log.append.after=crash@3,relay.producer.send.before=raise`` sets two failpoints. A point is a
name in BOUNDARIES with ``.before`` (nothing was sent to the server) or ``.after`` (it has answered). The actions:

- ``crash`` ends the process at once, like SIGKILL;
- ``raise`` raises the error of the server's client for a broken connection;
- ``delay(2.5)`` waits that many seconds, while the rest of the process goes on.

``@3`` acts only the third time, ``@3+`` from the third time on; without a suffix the action happens each time. Without
FAILPOINTS nothing is patched: the clients keep their own methods, and a block tests one attribute.
"""

import asyncio
import contextlib
import inspect
import logging
import os
import re
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import asyncpg
from aiokafka.errors import KafkaConnectionError

from services.config.base import SettingsError

T = TypeVar("T")
LOGGER = logging.getLogger("failpoints")
POSTGRESQL, KAFKA = "postgresql", "kafka"
# Boundaries by name, with the server behind each: a client's method, or a block of code around several of them.
BOUNDARIES: Mapping[str, str] = {
    **dict.fromkeys(
        (
            "handler.installation",
            "handler.connect",
            # BEGIN and COMMIT around a batch that is decided under the locks of its shards.
            "handler.connection.execute",
            "handler.log.current_incarnation",
            "handler.log.watermarks",
            "handler.log.append_times",
            "handler.log.read_batch_context",
            "handler.log.load_first_verdicts",
            "handler.log.streams",
            "handler.log.events",
            "handler.log.find_snapshot",
            "handler.log.write_snapshot",
            "handler.log.draw_stream_numbers",
            "handler.log.lock",
            "handler.log.append",
            "handler.log.notify_appended",
            # The keys of a batch's persons and of the day's unreadable records.
            "handler.keys.of_persons",
            "handler.keys.of_days",
            # The deletion of past days' keys, once an hour, on a connection of its own.
            "handler.keys.connect",
            "handler.keys.delete_old_days",
            # The server monitor of a process: its connection, and its query once a second.
            "monitor.postgresql",
            # The relay's count of open dead letters, on a connection of its own.
            "monitor.dead_letters",
            "relay.connect",
            "relay.leases.connect",
            "relay.leases.begin",
            "relay.leases.read_sessions",
            "relay.leases.join",
            "relay.leases.leave",
            "relay.leases.try_lock",
            "relay.leases.unlock",
            "relay.leases.end_session",
            "relay.log.heads",
            "relay.log.read",
            "relay.log.live_numbers_at",
            "relay.log.users_updated_events",
            "relay.log.find_dead_letters",
            "relay.verify_log",
            "relay.listen",
            "scheduler.connect",
            # Each query of the loop: first for schedules, then for verdicts on those that are due.
            "scheduler.connection.fetch",
            "scheduler.outlook.connect",
            "scheduler.outlook.observe",
            "scheduler.outlook.load_as_of",
        ),
        POSTGRESQL,
    ),
    **dict.fromkeys(
        (
            "handler.consumer.getmany",
            "handler.consumer.commit",
            "handler.consumer.position",
            "handler.consumer.beginning_offsets",
            "handler.consumer.offsets_for_times",
            "handler.verify_topics",
            "handler.read_offsets",
            "monitor.kafka",
            "relay.producer.start",
            "relay.producer.begin_transaction",
            "relay.producer.send_batch",
            "relay.producer.send",
            "relay.producer.commit_transaction",
            "relay.producer.stop",
            "relay.verify_topics",
            "relay.read_progress",
            "relay.read_topic_ends",
            "scheduler.producer.start",
            "scheduler.producer.send_and_wait",
            "scheduler.producer.stop",
        ),
        KAFKA,
    ),
}
_CHOICE = re.compile(
    r"(?P<point>[a-z_.]+)=(?P<action>crash|raise|delay\((?P<seconds>\d+(\.\d+)?)\))(@(?P<pass>[1-9]\d*)(?P<on>\+)?)?"
)


@dataclass(frozen=True, slots=True)
class _Choice:
    """The action at a point, from pass ``first_pass`` to ``last_pass`` (None: without end)."""

    action: str
    seconds: float
    first_pass: int
    last_pass: int | None


class Failpoints:
    """The points of one process; ``choices`` is empty unless FAILPOINTS is set."""

    def __init__(self) -> None:
        self.choices: dict[str, _Choice] = {}
        self.passes: Counter[str] = Counter()

    def configure(self, text: str) -> None:
        """Parse the value of FAILPOINTS and use it.

        Raises:
            SettingsError: it names an unknown point or action.
        """
        for part in filter(None, text.split(",")):
            choice = _CHOICE.fullmatch(part)
            boundary, _, moment = choice["point"].rpartition(".") if choice else ("", "", "")
            if choice is None or boundary not in BOUNDARIES or moment not in ("before", "after"):
                raise SettingsError(
                    f"FAILPOINTS has {part!r}: set it to POINT=crash, raise or delay(SECONDS), optionally with @N or"
                    f" @N+, separated by commas; POINT is one of these with .before or .after: {', '.join(BOUNDARIES)}"
                )
            first = int(choice["pass"] or 1)
            last = first if choice["pass"] and not choice["on"] else None
            self.choices[choice["point"]] = _Choice(
                choice["action"].partition("(")[0], float(choice["seconds"] or 0), first, last
            )
        if self.choices:
            LOGGER.warning("failpoints are on: %s", text)

    @contextlib.asynccontextmanager
    async def around(self, boundary: str) -> AsyncIterator[None]:
        """Put the two points of a boundary around a block."""
        if self.choices:
            await self._reach(boundary, "before")
        yield
        if self.choices:
            await self._reach(boundary, "after")

    def arm(self, client: T, prefix: str) -> T:
        """Put the chosen points around those methods of a client that BOUNDARIES names after ``prefix``."""
        for boundary in {point.rpartition(".")[0] for point in self.choices}:
            owner, _, method = boundary.rpartition(".")
            if owner == prefix and method not in vars(client):
                vars(client)[method] = self._wrap(boundary, getattr(client, method))
        return client

    def _wrap(self, boundary: str, method: Callable[..., Any]) -> Callable[..., Any]:
        if inspect.isasyncgenfunction(method):

            async def generate(*arguments: Any, **options: Any) -> Any:
                async with self.around(boundary), contextlib.aclosing(method(*arguments, **options)) as items:
                    async for item in items:
                        yield item

            return generate

        async def call(*arguments: Any, **options: Any) -> Any:
            async with self.around(boundary):
                return await method(*arguments, **options)

        return call

    async def _reach(self, boundary: str, moment: str) -> None:
        point = f"{boundary}.{moment}"
        choice = self.choices.get(point)
        if choice is None:
            return
        self.passes[point] += 1
        count = self.passes[point]
        if count < choice.first_pass or (choice.last_pass is not None and count > choice.last_pass):
            return
        LOGGER.warning("%s: %s at pass %s", point, choice.action, count)
        match choice.action:
            case "crash":
                os.kill(os.getpid(), signal.SIGKILL)
            case "raise" if BOUNDARIES[boundary] == KAFKA:
                raise KafkaConnectionError(f"failpoint {point}")
            case "raise":
                raise asyncpg.ConnectionDoesNotExistError(f"failpoint {point}")
            case _:
                await asyncio.sleep(choice.seconds)


failpoints = Failpoints()
"""Those of this process: ``run_process`` configures them before anything connects."""
