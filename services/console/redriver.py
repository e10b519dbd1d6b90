"""Dead letters back onto the commands topic: in their order, each once, whatever happens between Kafka and PostgreSQL.

Why never twice:

1. What is redriven is decided in PostgreSQL, in the transaction of the action. A dead letter is settled once (primary
   key) and an action is done once (its id is drawn with the form), so a double click, a second tab and the back button
   find it done. Only then is anything sent; a crash before loses nothing, for whoever comes next sends it.
2. Of several processes one sends at a time: a session-level lock of PostgreSQL's, which ends with the connection that
   any error ends.
3. Who goes on after a crash first reads the commands topic from where it ended before the action: what carries the
   action's headers has arrived, and is noted as sent.
4. What was on its way in the moment of the crash, or comes from a process that was paused and woke up late, is refused
   by the broker: an action's records bear the producer id that was drawn for it and sequence numbers that follow from
   their order, one record a batch, so that the same record is the same batch whoever sends it. The broker keeps the
   last five batches of a producer for a day (``producer.id.expiration.ms``) and answers a repeat with the first one's
   offset; anything older or out of order it refuses.

A record's order is that of its partition: the next is sent when the one before it is acknowledged.

A database restored to before an action has forgotten it: its dead letters are open again, and redriving them once more
sends a second record, with the same command ids as the first; the handler gives each id one verdict, whatever comes.
A dead letter keeps no ``authorization``: with COMMAND_AUTH=required what is redriven is refused as unauthenticated, and
a dry run says so.
"""

import asyncio
import base64
import contextlib
import json
import logging
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from uuid import UUID

import asyncpg
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError

from services.eventlog.operator_actions import Operating, Redrive, Waiting
from services.eventlog.postgres import OPERATOR, connect, trouble
from services.kafka import client_compat
from services.kafka.topics import MIB, topic

LOGGER = logging.getLogger("console")
ACTION_HEADER = "redrive_action"
LETTER_HEADER = "redrive_dead_letter"
LETTER_MARK = re.compile(rb"(\d{1,4})-(\d{1,18})")
RECORDS_MAX = 50
ANSWER_SECONDS_MAX = 30
STOP_SECONDS_MAX = 5
LOOK_SECONDS = 1.0
# What a record gains by its redrive's headers, and what a batch has around its one record; generously.
ROOM_BYTES = 1_024
LETTER_BYTES_MAX = MIB - ROOM_BYTES
Headers = list[tuple[str, bytes | None]]


def headers_of(stored: bytes) -> Headers:
    """A dead letter's headers, as the record had them."""
    return [
        (base64.b64decode(name).decode(), None if value is None else base64.b64decode(value))
        for name, value in json.loads(stored)
    ]


def redriven_headers(action: UUID, letter: Waiting) -> Headers:
    """The record's own headers and the marks of this redrive, which replace those of an earlier one."""
    own = [pair for pair in headers_of(letter.headers) if pair[0] not in (ACTION_HEADER, LETTER_HEADER)]
    return [
        *own,
        (ACTION_HEADER, str(action).encode()),
        (LETTER_HEADER, b"%d-%d" % (letter.shard, letter.number)),
    ]


def marked_letter(action: UUID, headers: Mapping[str, bytes | None]) -> tuple[int, int] | None:
    """(shard, number) of the dead letter that a record of this redrive is; None for others, who may write anything."""
    mark = LETTER_MARK.fullmatch(headers.get(LETTER_HEADER) or b"")
    if headers.get(ACTION_HEADER) != str(action).encode() or mark is None:
        return None
    return int(mark[1]), int(mark[2])


async def reserve(bootstrap: str, commands: str, action: UUID) -> Redrive:
    """A producer id for an action, and where the partitions end before it. Raises KafkaError, TimeoutError."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, enable_idempotence=True)
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False)
    try:
        async with asyncio.timeout(ANSWER_SECONDS_MAX):
            await producer.start()
            await consumer.start()
            manager = producer._txn_manager
            await manager.wait_for_pid()
            places = [TopicPartition(commands, number) for number in await producer.partitions_for(commands)]
            ends = {place.partition: end for place, end in (await consumer.end_offsets(places)).items()}
        return Redrive(action, commands, manager.producer_id, manager.producer_epoch, ends)
    finally:
        await producer.stop()
        await consumer.stop()


class Redriver:
    """Sends what actions have decided. Any process may run one; they take turns."""

    def __init__(self, url: str, bootstrap: str, prefix: str) -> None:
        client_compat.install()  # What stands on the commands topic between our records may be anything.
        self.url = url
        self.bootstrap = bootstrap
        self.lock = f"redrive {prefix}"
        self.commands = topic(prefix, "commands")
        self.problem: str | None = None
        """Why what waits to be sent cannot be; None also where nothing is known to wait."""
        self._is_waiting = False
        self._finished: set[UUID] = set()
        self._wanted, self._drained = asyncio.Event(), asyncio.Event()

    def wake(self) -> None:
        """Look at once."""
        self._wanted.set()

    async def finished(self, action: UUID, seconds: float) -> bool:
        """Wait until all of an action is sent, but not longer than that."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while action not in self._finished:
                    await self._drained.wait()
        return action in self._finished

    async def run(self) -> None:
        """Send whatever waits to be sent, until cancelled; what fails is tried again, over a connection of its own."""
        while True:
            try:
                async with self._connected() as operating:
                    while True:
                        await self._drain(operating)
                        self.problem = None
                        self._drained.set()
                        self._drained = asyncio.Event()
                        await self._next_look()
            except (KafkaError, OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                kafka = isinstance(error, KafkaError)
                problem = f"Kafka does not answer: {type(error).__name__}" if kafka else trouble(error)
                if self._is_waiting and problem != self.problem:
                    LOGGER.warning("a redrive waits: %s", problem)
                self.problem = problem if self._is_waiting else None
            await self._next_look()

    async def _next_look(self) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._wanted.wait(), LOOK_SECONDS)
        self._wanted.clear()

    @contextlib.asynccontextmanager
    async def _connected(self) -> AsyncIterator[Operating]:
        connection = await connect(self.url, "redrive", OPERATOR)
        try:
            yield Operating(connection)
        finally:
            connection.terminate()

    async def drain(self) -> bool:
        """Send all that waits; False where another process is at it. Raises what Kafka and PostgreSQL raise."""
        async with self._connected() as operating:
            return await self._drain(operating)

    async def _drain(self, operating: Operating) -> bool:
        """The same over a connection, which is left without the lock; after an error it must not be used on."""
        self._is_waiting = bool(await operating.unfinished(self._finished))
        if not self._is_waiting:
            return True
        if not await operating.try_lock(self.lock):
            return False
        for redrive in await operating.unfinished(self._finished):
            await self._finish(operating, redrive)
            self._finished.add(redrive.action)
        await operating.unlock(self.lock)
        return True

    async def _finish(self, operating: Operating, redrive: Redrive) -> None:
        await operating.redriven(redrive.action, await self._arrived(redrive))
        producer = AIOKafkaProducer(
            bootstrap_servers=self.bootstrap, enable_idempotence=True, acks="all", max_request_size=2 * MIB
        )
        try:
            manager = producer._txn_manager
            manager.set_pid_and_epoch(redrive.producer_id, redrive.producer_epoch)
            for partition, sent in (await operating.sent(redrive.action)).items():
                place = TopicPartition(redrive.topic, self._target(redrive, partition))
                manager.increment_sequence_number(place, sent)
            await producer.start()
            while waiting := await operating.not_sent(redrive.action, RECORDS_MAX):
                async with asyncio.timeout(ANSWER_SECONDS_MAX):
                    places = await self._send(producer, redrive, waiting)
                await operating.redriven(redrive.action, places)
        finally:
            # It waits for brokers that are away; what it may still send then, the next one's numbers make harmless.
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(producer.stop(), STOP_SECONDS_MAX)

    @staticmethod
    def _target(redrive: Redrive, partition: int) -> int:
        """The partition a record goes to: its own, also on a topic that was made again with fewer."""
        return partition % len(redrive.ends)

    async def _send(
        self, producer: AIOKafkaProducer, redrive: Redrive, letters: Sequence[Waiting]
    ) -> list[tuple[int, int, int, int]]:
        """Partitions side by side, each one's records one after the other."""
        by_partition: dict[int, list[Waiting]] = {}
        for letter in letters:
            by_partition.setdefault(self._target(redrive, letter.partition), []).append(letter)

        async def in_order(partition: int, own: list[Waiting]) -> list[tuple[int, int, int, int]]:
            places = []
            for letter in own:
                batch = producer.create_batch()
                headers = redriven_headers(redrive.action, letter)
                batch.append(key=letter.key, value=letter.value, timestamp=None, headers=headers)
                sent = await (await producer.send_batch(batch, redrive.topic, partition=partition))
                places.append((letter.shard, letter.number, partition, sent.offset))
            return places

        done = await asyncio.gather(*(in_order(*pair) for pair in by_partition.items()))
        return [place for places in done for place in places]

    async def _arrived(self, redrive: Redrive) -> list[tuple[int, int, int, int]]:
        """What of an action stands on the topic: (shard, number) of the dead letter, (partition, offset)."""
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.bootstrap, enable_auto_commit=False, auto_offset_reset="earliest"
        )
        try:
            await consumer.start()
            places = [TopicPartition(redrive.topic, number) for number in redrive.ends]
            ends = await consumer.end_offsets(places)
            grown = [place for place in places if ends[place] != redrive.ends[place.partition]]
            consumer.assign(grown)
            for place in grown:
                # A topic that was made again since may end before; it is read from its beginning.
                before = redrive.ends[place.partition]
                consumer.seek(place, before if before <= ends[place] else 0)
            found = []
            for place in grown:
                while await consumer.position(place) < ends[place]:
                    for record in (await consumer.getmany(place, timeout_ms=200)).get(place, []):
                        letter = marked_letter(redrive.action, dict(record.headers))
                        if letter is not None:
                            found.append((*letter, record.partition, record.offset))
            return found
        finally:
            await consumer.stop()
