"""The relay's loop: stand by, take over, bring what is waiting to the topics."""

import asyncio
import functools
import logging
import time
from typing import NoReturn

import asyncpg
from aiokafka.errors import KafkaError

from services.config import RelaySettings
from services.eventlog.feed_history import History
from services.eventlog.postgres import READER, connect, trouble
from services.kafka.relay_progress import OUTPUTS
from services.kafka.topics import topic
from services.publishing.cloudevents import Form
from services.publishing.record_mapper import Translator
from services.publishing.topic_ends import ends_of, full_names
from services.relay.metrics import Telling
from services.relay.publisher import START_SECONDS_MAX, Publisher, lock_name
from services.relay.startup_checks import SHARD_LIST, NeedsOperator, check, completed, on_new_topics
from services.relay.transaction_builder import Gathering, Waiting
from services.runtime.health import LOOP_SECONDS_MAX, Health

LOGGER = logging.getLogger("relay")
IDLE_SECONDS = (0.005, 0.010, 0.025)
STAND_BY_SECONDS = 0.25
RETRY_SECONDS = (0.2, 0.5, 1.0, 2.0, 5.0)


class Relay:
    """One relay process. Only the holder of the lock is active; ``transactional.id`` fences one that was paused."""

    def __init__(self, settings: RelaySettings, health: Health, telling: Telling) -> None:
        self.settings = settings
        self.health = health
        self.telling = telling
        self.form = Form.of(settings)
        self._failures = 0

    async def run(self) -> NoReturn:
        """Relay until cancelled. Infrastructure that fails is tried again; what needs an operator says so and waits."""
        while True:
            try:
                await self._one_life()
            except (KafkaError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError) as error:
                pause = RETRY_SECONDS[min(self._failures, len(RETRY_SECONDS) - 1)]
                kafka = isinstance(error, KafkaError)
                self.health.problem = f"cannot relay: {type(error).__name__}" if kafka else trouble(error)
                LOGGER.warning("%s; again in %s s", self.health.problem, pause)
                self._failures += 1
            except NeedsOperator as error:
                if self.health.problem != str(error):
                    LOGGER.error("%s", error)
                self.health.problem = str(error)
                pause = RETRY_SECONDS[-1]
            await asyncio.sleep(pause)

    async def _one_life(self) -> NoReturn:
        connection = await connect(self.settings.url(), "relay", READER)
        connection.beat = functools.partial(self.health.beat, "relay")
        try:
            history = History(connection)
            self.health.beat("relay")
            while not await history.try_lock(lock_name(self.settings.topic_prefix)):
                self.health.problem = None  # Standing by is what a second relay is for.
                self.telling.standing_by()
                self.health.beat("relay")
                await asyncio.sleep(STAND_BY_SECONDS)
            publisher = Publisher(self.settings.kafka_bootstrap, self.settings.topic_prefix)
            self.telling.new_producer()
            self.health.beat("relay", START_SECONDS_MAX + LOOP_SECONDS_MAX)
            try:
                gathering = await self._gathering(publisher, history)
                LOGGER.info("relaying")
                self.health.problem = None
                await self._relay(gathering, publisher)
            finally:
                self.telling.lost()
                await publisher.close()
        finally:
            connection.terminate()

    async def _gathering(self, publisher: Publisher, history: History) -> Gathering:
        """Take over: from where the relay before has come, if log and topics agree."""
        names = full_names(self.settings.topic_prefix, OUTPUTS)
        found = await publisher.start()
        self.health.beat("relay")
        if found is None:
            raise NeedsOperator(
                f"{topic(self.settings.topic_prefix, 'progress')} holds no record. Go on after what the topics hold, or"
                " emit everything again, with: python -m services.admin.rewind topics|start"
            )
        ends = await ends_of(self.settings.kafka_bootstrap, history, names)
        progress = await completed(found[0], history, ends)
        progress = await on_new_topics(progress, found[1], history)
        check(progress, await history.heads(SHARD_LIST), ends)
        self.telling.took_over(progress)
        published = await history.published_at(SHARD_LIST, progress.sequences["events"])
        return Gathering(history, Translator(history, self.form), progress, published)

    async def _relay(self, gathering: Gathering, publisher: Publisher) -> NoReturn:
        idle = 0
        waiting: Waiting | None = None
        while True:
            self.health.beat("relay")
            waiting = waiting or await gathering.next()
            if waiting is None:
                await asyncio.sleep(IDLE_SECONDS[min(idle, len(IDLE_SECONDS) - 1)])
                idle += 1
                continue
            idle = 0
            # While the broker commits there is time to read and translate what comes next.
            following = asyncio.create_task(gathering.next_if_full())
            try:
                await self._publish(publisher, waiting)
                waiting = await following
            finally:
                following.cancel()
                await asyncio.gather(following, return_exceptions=True)

    async def _publish(self, publisher: Publisher, waiting: Waiting) -> None:
        begun = time.monotonic()
        try:
            await publisher.publish(waiting.messages, waiting.before, waiting.progress)
        except BaseException as error:
            self.telling.failed(error)
            raise
        self._failures = 0
        self.telling.committed(waiting.rows, waiting.messages, waiting.progress, begun)
