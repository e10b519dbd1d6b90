"""Output topics beside the log, and parts of the log emitted again to a topic of somebody's choice."""

import asyncio
import contextlib
import json
import logging
from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from services.config import ConsoleSettings
from services.console.cli.options import FAILURES, in_words
from services.eventlog.feed_history import History, Selection
from services.eventlog.feeds import Tail
from services.eventlog.operator_actions import actions
from services.eventlog.postgres import READER, Pool, connect
from services.kafka.relay_progress import SERIES
from services.kafka.topics import WrongTopics, topic
from services.publishing.cloudevents import Form
from services.publishing.log_comparison import Comparison
from services.publishing.record_mapper import Translator
from services.publishing.replayer import Order, Refused, Step, replay
from services.publishing.verifier import CannotVerify, Verified, verify

LOGGER = logging.getLogger("console")
AGAIN_SECONDS = 5.0
GOES_ON_FOR = timedelta(days=1)
REPLAYS_MAX = 200


@dataclass(slots=True)
class Check:
    """Of one topic. ``read``, ``of``: its offsets, while it runs; ``result``: of the last one that ended."""

    topic: str
    output: str
    running: bool = False
    read: int = 0
    of: int = 0
    checked_at: datetime | None = None
    result: Verified | None = None
    problem: str | None = None


class Checks:
    """Checks the output topics against the log when somebody asks, one after another; results stay in memory."""

    def __init__(self, settings: ConsoleSettings) -> None:
        self.settings = settings
        names = {output: topic(settings.topic_prefix, output) for output in SERIES}
        self.by_topic = {name: Check(name, output) for output, name in names.items()}
        self._task: asyncio.Task[None] | None = None

    @property
    def running(self) -> bool:
        """Whether a check is under way."""
        return self._task is not None and not self._task.done()

    def start(self) -> None:
        """Check all of them, unless that is under way."""
        if not self.running:
            self._task = asyncio.create_task(self._run())

    def stop(self) -> None:
        """End what is under way."""
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        for check in self.by_topic.values():
            check.running, check.read, check.of, check.problem = True, 0, 0, None
            try:
                check.result = await self._verified(check)
                check.checked_at = datetime.now(UTC)
            except CannotVerify as error:
                check.problem = str(error)
            except FAILURES as error:
                check.problem = in_words(error)
            finally:
                check.running = False

    async def _verified(self, check: Check) -> Verified:
        connection = await connect(self.settings.url(), "verify", READER)
        try:
            translator = Translator(Tail(connection), Form.of(self.settings))
            comparison = Comparison(check.output, history=History(connection), translator=translator)

            def progress(_: str, read: int, of: int) -> None:
                check.read, check.of = read, of

            bootstrap = self.settings.kafka_bootstrap
            return await verify(bootstrap, check.topic, check.output, comparison, on_progress=progress)
        finally:
            await connection.close()


@dataclass(slots=True)
class Replay:
    """One that an operator ordered. ``step``: how far it is; ``done``: all of it is on the topic."""

    action: UUID
    order: Order
    step: Step = Step(0, 0, 0)
    done: bool = False
    problem: str | None = None


def detail_of(order: Order) -> dict[str, Any]:
    """An order as it is kept with its action."""
    selection = order.selection
    stated = {name: getattr(selection, name) for name in selection.__slots__}
    texts = {name: part.isoformat() if isinstance(part, datetime) else part for name, part in stated.items()}
    found = {"output": order.output, "target": order.target, **texts, "per_second": order.per_second}
    return {name: part for name, part in found.items() if part is not None}


def order_of(detail: Mapping[str, Any]) -> Order:
    """The reverse of :func:`detail_of`."""
    since, until = (datetime.fromisoformat(detail[name]) if name in detail else None for name in ("since", "until"))
    selection = Selection(detail.get("root_account"), detail.get("course"), detail.get("assignment"), since, until)
    return Order(detail["output"], detail["target"], selection, detail.get("per_second"))


class Replays:
    """Carries out the orders of the last day, also after a restart: a replay goes on where it was ended."""

    def __init__(self, settings: ConsoleSettings) -> None:
        self.settings = settings
        self.under_way: dict[UUID, Replay] = {}
        self._tasks: dict[UUID, asyncio.Task[None]] = {}

    async def resume(self, pool: Pool) -> None:
        """Go on with what was ordered before this process began; tried until PostgreSQL answers."""
        while True:
            with contextlib.suppress(*FAILURES):
                since = datetime.now(UTC) - GOES_ON_FOR
                for action in await actions(pool, None, REPLAYS_MAX, kind="replay", since=since):
                    order = order_of(json.loads(action.detail))
                    # One without an end is a command line's: its user goes on with it, we would add what is new.
                    if order.selection.until is not None:
                        self.start(action.id, order)
                return
            await asyncio.sleep(AGAIN_SECONDS)

    def start(self, action: UUID, order: Order) -> None:
        """Carry out an order, unless that is under way."""
        if action not in self._tasks:
            self.under_way[action] = Replay(action, order)
            self._tasks[action] = asyncio.create_task(self._run(self.under_way[action]))

    def stop(self) -> None:
        """End what is under way; what is not done goes on at the next start."""
        for task in self._tasks.values():
            task.cancel()

    async def _run(self, wanted: Replay) -> None:
        while not wanted.done:
            try:
                await self._emit(wanted)
            except (Refused, WrongTopics, ValueError) as error:
                wanted.problem = str(error)
                return
            except FAILURES as error:
                wanted.problem = in_words(error)
                LOGGER.warning("a replay waits: %s", wanted.problem)
                await asyncio.sleep(AGAIN_SECONDS)

    async def _emit(self, wanted: Replay) -> None:
        connection = await connect(self.settings.url(), "replay", READER)
        try:
            if not await Tail(connection).try_lock(f"replay {wanted.action}"):
                wanted.problem = "another console carries it out"
                await asyncio.sleep(AGAIN_SECONDS)
                return
            form = Form.of(self.settings)
            async with aclosing(replay(self.settings.kafka_bootstrap, connection, form, wanted.order)) as steps:
                async for step in steps:
                    wanted.step, wanted.problem = step, None
            wanted.done, wanted.problem = True, None
        finally:
            connection.terminate()
