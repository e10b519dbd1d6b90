"""Emitting a part of the log again, to a topic of somebody's choice: same ids and numbers, and ``replay: true``.

How far it has come stands on the target topic itself and nowhere else: each record carries its number and what was
asked for, and is written in a transaction. Whoever is started again with the same order goes on after the last record
of each partition; nothing that could be lost apart from the records, or be ahead of them, has to be kept.
"""

import asyncio
import math
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass

import asyncpg
from aiokafka import AIOKafkaProducer, TopicPartition

from services.eventlog.feed_history import History, Selection
from services.kafka.partitioning import SHARDS
from services.kafka.relay_progress import SERIES
from services.kafka.topic_reader import until_readable
from services.kafka.topics import SETTINGS, provide_output
from services.kafka.transactions import close, commit, transactional_producer
from services.publishing.cloudevents import Form, Message
from services.publishing.record_headers import replayed
from services.publishing.record_mapper import Translator, number_of
from services.publishing.topic_ends import ends_of

NAME = re.compile(r"[A-Za-z0-9._-]{1,249}")
COMMANDS = re.compile(r"(^|[._-])commands$")
NUMBERS_MAX = 50_000
ROWS_MAX = 500
BYTES_MAX = 4 << 20


class Refused(Exception):
    """This cannot be replayed, or not there; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Order:
    """What to emit again, and where to. ``output``: one of the service's topics, without prefix.

    ``target``: full name of the topic to fill; ``per_second``: records, None for as fast as it goes.

    Raises:
        ValueError: no such output, a rate that is not positive, or dead letters of something.
    """

    output: str
    target: str
    selection: Selection
    per_second: float | None = None

    def __post_init__(self) -> None:
        if self.output not in SERIES:
            raise ValueError(f"there is no output {self.output}: choose from {', '.join(SERIES)}")
        if self.per_second is not None and not 0 < self.per_second < math.inf:
            raise ValueError("records a second must be more than 0, and finite")
        if self.output == "dead-letters" and self.selection.root_account is not None:
            raise ValueError("a dead letter could not be read, so it is of no account, course or assignment")

    def __str__(self) -> str:
        return f"{self.output} {self.selection}"


@dataclass(frozen=True, slots=True)
class Step:
    """How far a replay is: records ``emitted`` by this run; numbers of the log ``looked_at``, and ``of`` how many."""

    emitted: int
    looked_at: int
    of: int


def refuse_own(target: str) -> None:
    """Only the relay writes to the topics of this service, of whichever prefix, and nobody replays commands.

    Raises:
        Refused: it may be one of them, or cannot be a topic's name.
    """
    if not NAME.fullmatch(target) or target in (".", ".."):
        raise Refused(f"{target!r} cannot be a topic's name: letters, digits, dots, underscores and hyphens")
    if target.startswith("__") or target.rpartition(".")[2] in SETTINGS or COMMANDS.search(target):
        raise Refused(
            f"{target} is, or could be, a topic of the service or of Kafka: choose another name. The service's own"
            " topics are filled again with python -m services.admin.rewind"
        )


async def replay(
    bootstrap: str, connection: "asyncpg.Connection[asyncpg.Record]", form: Form, order: Order
) -> AsyncGenerator[Step, None]:
    """Emit again, and say after each transaction how far it is; may be ended at any step and started again later.

    What was emitted can be read when this ends. One at a time to a target: whoever starts fences whoever was there.

    Raises:
        Refused: the target is one of the service's own, holds something else, or cannot hold it.
        WrongTopics: the target cannot be created, or cannot hold what an output does.
        KafkaError, OSError, asyncpg.PostgresError, TimeoutError: Kafka or PostgreSQL does not answer.
    """
    refuse_own(order.target)
    await provide_output(bootstrap, order.target)
    producer = transactional_producer(bootstrap, f"{order.target}.replay")
    try:
        await producer.start()
        async for step in _Replay(producer, bootstrap, connection, form, order).run():
            yield step
        await until_readable(bootstrap, [TopicPartition(order.target, shard) for shard in range(SHARDS)])
    finally:
        await close(producer)


class _Replay:
    """One run of an order."""

    def __init__(
        self,
        producer: AIOKafkaProducer,
        bootstrap: str,
        connection: "asyncpg.Connection[asyncpg.Record]",
        form: Form,
        order: Order,
    ) -> None:
        self.producer = producer
        self.bootstrap = bootstrap
        self.history = History(connection)
        self.translator = Translator(self.history, form)
        self.order = order
        self.series = SERIES[order.output]
        self.emitted = 0
        self.started = 0.0

    async def run(self) -> AsyncIterator[Step]:
        shards = await self.history.shards(self.order.selection)
        heads = dict(zip(shards, (await self.history.heads(shards))[self.series], strict=True))
        done = await self._done(heads)
        of = sum(heads.values())
        yield Step(0, sum(done.values()), of)
        self.started = time.monotonic()
        for shard, head in heads.items():
            while done[shard] < head:
                last = min(done[shard] + NUMBERS_MAX, head)
                window = (self.series, shard, done[shard], last, self.order.selection)
                rows = await self.history.rows(*window, ROWS_MAX)
                self.translator.expect(rows)
                messages = [
                    replayed(await self.translator.message(self.order.output, row), str(self.order)) for row in rows
                ]
                for part in self._parts(messages):
                    await self._emit(part)
                    yield Step(self.emitted, sum(done.values()), of)
                done[shard] = number_of(self.order.output, rows[-1]) if len(rows) == ROWS_MAX else last
                yield Step(self.emitted, sum(done.values()), of)

    async def _done(self, heads: dict[int, int]) -> dict[int, int]:
        """By shard, the number of the last record that the target holds (0: none)."""
        output, target = self.order.output, self.order.target
        ends = (await ends_of(self.bootstrap, self.history, {output: target}))[output]
        for end in ends:
            if end.number is not None and end.selection != str(self.order):
                holds = f"a replay of {end.selection}" if end.selection else "records of another kind"
                raise Refused(f"{target} holds {holds}, not of {self.order}: choose another topic")
        return {shard: ends[shard].number or 0 for shard in heads}

    def _parts(self, messages: Sequence[Message]) -> list[list[Message]]:
        """What one transaction takes each: at most 4 MiB, and at most what may be sent in a second."""
        most = ROWS_MAX if self.order.per_second is None else max(1, min(ROWS_MAX, int(self.order.per_second)))
        parts: list[list[Message]] = []
        size = 0
        for message in messages:
            if not parts or len(parts[-1]) >= most or size > BYTES_MAX:
                parts.append([])
                size = 0
            parts[-1].append(message)
            size += len(message.value or b"")
        return parts

    async def _emit(self, messages: Sequence[Message]) -> None:
        if self.order.per_second is not None:
            await asyncio.sleep(self.started + self.emitted / self.order.per_second - time.monotonic())
        await commit(self.producer, messages, lambda _: self.order.target)
        self.emitted += len(messages)
