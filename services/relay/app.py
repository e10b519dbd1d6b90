"""The relay's loop: stand by, take over, bring what is waiting to the topics."""

import asyncio
import logging
import time
from dataclasses import dataclass

import asyncpg
import orjson
from aiokafka.errors import KafkaError

from services.eventlog.connecting import READER, connect, trouble
from services.eventlog.history import Row
from services.eventlog.shards import SHARDS
from services.eventlog.tail import DeadLetterRow, EventRow, Tail, VerdictRow
from services.health import Health
from services.outputs.records import Form, Message, dead_letter_message
from services.outputs.translation import PUBLISHED, Translator
from services.relay.kafka import NoProgress, Publisher
from services.relay.telling import Telling
from services.settings import RelaySettings
from services.topics import Progress

LOGGER = logging.getLogger("relay")
RECORDS_MAX = 5_000
BYTES_MAX = 4 << 20
ROWS_PER_SHARD_MAX = 1_000
IDLE_SECONDS = (0.005, 0.010, 0.025)
STAND_BY_SECONDS = 0.25
# Fencing who was there, and reading the progress topic to its end.
TAKE_OVER_SECONDS_MAX = 60
RETRY_SECONDS = (0.2, 0.5, 1.0, 2.0, 5.0)
SHARD_LIST = list(range(SHARDS))


class AheadOfLog(Exception):
    """The topics hold more than the log: it was restored to an earlier time."""


@dataclass(slots=True)
class Waiting:
    """What one transaction takes, and the progress after it."""

    rows: list[Row]
    messages: list[Message]
    progress: Progress


class Relay:
    """One relay process. Only the holder of the lock is active; ``transactional.id`` fences one that was paused."""

    def __init__(self, settings: RelaySettings, health: Health, telling: Telling) -> None:
        self.settings = settings
        self.health = health
        self.telling = telling
        self.form = Form.of(settings)

    async def run(self) -> None:
        """Relay until cancelled. Infrastructure that fails is tried again; what needs an operator says so and waits."""
        failures = 0
        while True:
            try:
                await self._one_life()
            except (KafkaError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError) as error:
                pause = RETRY_SECONDS[min(failures, len(RETRY_SECONDS) - 1)]
                kafka = isinstance(error, KafkaError)
                self.health.problem = f"cannot relay: {type(error).__name__}" if kafka else trouble(error)
                LOGGER.warning("%s; again in %s s", self.health.problem, pause)
                failures += 1
            except (NoProgress, AheadOfLog) as error:
                if self.health.problem != str(error):
                    LOGGER.error("%s", error)
                self.health.problem = str(error)
                pause = RETRY_SECONDS[-1]
            else:
                failures, pause = 0, RETRY_SECONDS[0]
            await asyncio.sleep(pause)

    async def _one_life(self) -> None:
        connection = await connect(self.settings.url(), "relay", READER)
        try:
            tail = Tail(connection)
            self.health.beat("relay")
            while not await tail.try_lock(f"relay {self.settings.topic_prefix}"):
                self.health.problem = None  # Standing by is what a second relay is for.
                self.telling.standing_by()
                self.health.beat("relay")
                await asyncio.sleep(STAND_BY_SECONDS)
            publisher = Publisher(self.settings.kafka_bootstrap, self.settings.topic_prefix)
            self.telling.new_producer()
            self.health.beat("relay", TAKE_OVER_SECONDS_MAX)
            try:
                progress = await publisher.start()
                await self._check(tail, progress)
                self.telling.took_over(progress)
                LOGGER.info("relaying")
                self.health.problem = None
                await self._relay(tail, publisher, progress)
            finally:
                await publisher.close()
        finally:
            connection.terminate()

    async def _check(self, tail: Tail, progress: Progress) -> None:
        heads = await tail.heads(SHARD_LIST)
        for shard, (position, verdict, dead_letter) in enumerate(heads):
            known = (progress.positions[shard], progress.verdicts[shard], progress.dead_letters[shard])
            if known[0] > position or known[1] > verdict or known[2] > dead_letter:
                raise AheadOfLog(
                    f"shard {shard}: the topics are at {known}, the log ends at {heads[shard]}: it was restored to an"
                    " earlier time. Restore a later backup, or give the topics a new prefix and fill them from the log"
                )

    async def _relay(self, tail: Tail, publisher: Publisher, progress: Progress) -> None:
        translator = Translator(tail, self.form)
        idle = 0
        while True:
            self.health.beat("relay")
            heads = await tail.heads(SHARD_LIST)
            known = list(zip(progress.positions, progress.verdicts, progress.dead_letters, strict=True))
            if heads == known:
                await asyncio.sleep(IDLE_SECONDS[min(idle, len(IDLE_SECONDS) - 1)])
                idle += 1
                continue
            idle = 0
            waiting = await self._waiting(tail, translator, progress)
            begun = time.monotonic()
            try:
                await publisher.publish(waiting.messages, waiting.progress)
            except BaseException as error:
                self.telling.failed(error)
                raise
            progress = waiting.progress
            self.telling.committed(waiting.rows, waiting.messages, progress, begun)

    async def _waiting(self, tail: Tail, translator: Translator, progress: Progress) -> Waiting:
        """The next records of each shard, until a transaction is full."""
        events, verdicts, dead_letters = await tail.read(
            SHARD_LIST, progress.positions, progress.verdicts, progress.dead_letters, ROWS_PER_SHARD_MAX
        )
        positions, verdict_numbers = list(progress.positions), list(progress.verdicts)
        letter_numbers = list(progress.dead_letters)
        taken: list[Row] = []
        messages: list[Message] = []
        size = 0
        translator.expect(events)
        rows: list[Row] = [*events, *verdicts, *dead_letters]
        for row in rows:
            if size > BYTES_MAX or len(messages) >= RECORDS_MAX:
                break
            match row:
                case EventRow():
                    metadata = orjson.loads(row.metadata)
                    new = [translator.event(row, metadata)]
                    if row.live_number is not None:
                        new += [await translator.published(output, row, metadata) for output in PUBLISHED]
                    positions[row.shard] = row.position
                case VerdictRow():
                    new = [translator.verdict(row)]
                    verdict_numbers[row.shard] = row.number
                case DeadLetterRow():
                    new = [dead_letter_message(row)]
                    letter_numbers[row.shard] = row.number
            taken.append(row)
            messages.extend(new)
            size += sum(len(message.value or b"") + 512 for message in new)
        return Waiting(taken, messages, Progress(tuple(positions), tuple(verdict_numbers), tuple(letter_numbers)))
