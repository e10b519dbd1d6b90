"""The FastStream application: k batch subscribers of one consumer group, each with its own connection and states."""

import asyncio
import functools
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.errors import IllegalStateError, KafkaError
from faststream import AckPolicy, FastStream
from faststream.kafka import KafkaBroker, Topic
from faststream.kafka.annotations import KafkaMessage
from faststream.message import AckStatus
from pydantic import SkipValidation

from services.commands.authorization import Authority
from services.commands.processor import Deciding, Moved
from services.commands.state_cache import ENTRIES_MAX
from services.config import HandlerSettings
from services.eventlog.postgres import AWAY, WRITER, Attended, connect, trouble
from services.eventlog.store import Log
from services.handler.faststream_adapter import Records, raw_decoder, total_parser
from services.handler.metrics import Telling, first_of_each
from services.handler.offset_committer import Commits
from services.handler.position_tracker import Places
from services.handler.topic_checks import Beginnings, share_anew
from services.kafka.partitioning import SHARDS
from services.kafka.topics import topic
from services.runtime.health import Health

LOGGER = logging.getLogger("handler")
# Not by the name of "faststream": that logger has a handler and a form of its own.
FRAMEWORK_LOGGER = logging.getLogger("handler.framework")
RETRIES_SECONDS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
DRAIN_SECONDS = 10
POSITION_SECONDS_MAX = 0.5
COMMIT_SECONDS_MAX = 2
# So soon partitions that are added to the topic are read.
METADATA_MILLISECONDS_MAX = 30_000
# Somebody else has decided records of the batch, or has its partitions meanwhile: it is to be fetched anew.
ANEW = (Moved, KafkaError)
Fresh = Sequence[ConsumerRecord[Any, Any]]
Poll = Callable[[AIOKafkaConsumer], Coroutine[Any, Any, Records]]


class Subscriber(ConsumerRebalanceListener):
    """One consumer of the group and all that is its own."""

    def __init__(
        self, name: str, settings: HandlerSettings, health: Health, telling: Telling, authority: Authority | None
    ) -> None:
        self.name = name
        self.settings = settings
        self.authority = authority
        self.entries_max = ENTRIES_MAX // settings.handler_subscribers
        self.health = health
        self.telling = telling
        self.lag = telling.new_lag()
        self.commands = topic(settings.topic_prefix, "commands")
        self.connection: Attended | None = None
        self.deciding: Deciding | None = None
        self.places: Places | None = None
        self.undecidable: set[int] = set()
        self.commits = Commits()
        self.registered: Any = None
        self.stopping = False
        self.beginnings = Beginnings(settings.url())
        self.partitions = SHARDS

    async def on_partitions_revoked(self, revoked: Sequence[TopicPartition]) -> None:
        """Let the batch in hand finish, so that the next owner does not meet it."""
        await self.registered.lock.wait_release(DRAIN_SECONDS)
        await self.commits.done(COMMIT_SECONDS_MAX)

    async def on_partitions_assigned(self, assigned: Sequence[TopicPartition]) -> None:
        """Partitions may have been another's meanwhile: look at the log again.

        They are also read again from what the log decided last, so that a restored log decides again what it forgot
        without waiting for a new command. It may come too late for the first batch, which looks for itself.
        """
        self.telling.metrics.rebalances.inc()
        numbers = sorted(place.partition for place in assigned)
        LOGGER.info("%s decides partitions %s", self.name, ", ".join(map(str, numbers)) or "none")
        self.lag.forget()
        self.undecidable.clear()
        self.health.say(self.name, None)
        self._forget_places()
        try:
            connection = await connect(self.settings.url(), "handler", WRITER)
            try:
                log = Log(connection)
                source = await log.current_source(self.commands)
                watermarks = await log.watermarks(source, [place.partition for place in assigned])
            finally:
                await connection.close()
            consumer = self.registered.consumer
            for place in assigned:
                if consumer is not None and await consumer.position(place) > max(watermarks[place.partition], 0):
                    consumer.seek(place, max(watermarks[place.partition], 0))
        except (*AWAY, KafkaError) as error:
            LOGGER.warning("could not look at the log on assignment (%s): the first batch will", type(error).__name__)

    async def handle(self, records: Records, message: KafkaMessage) -> None:
        """Settle a batch. Infrastructure is retried with backoff, then raised: nothing is acknowledged then.

        Any other exception is a bug. No record is passed over for it: its partition waits for other code, and is tried
        again after a pause; the others of the batch go on.
        """
        self.lag.begin(first_of_each(records))
        try:
            for pause in (*RETRIES_SECONDS, None):
                self.health.beat(self.name)
                self.lag.tried()
                try:
                    await self._settle(records, message)
                    await self._settled(message)
                    return
                except ANEW:
                    self.telling.failed()
                    raise
                except AWAY as error:
                    self.telling.failed()
                    self.health.say(self.name, trouble(error))
                    await self._disconnect()
                    if pause is None:
                        raise
                    LOGGER.warning("%s; again in %s s", trouble(error), pause)
                    await asyncio.sleep(pause)
                except Exception:
                    LOGGER.exception("a batch cannot be looked at")
                    self.telling.failed()
                    self.health.say(self.name, "what is to be decided cannot be looked at: a bug (see the log)")
                    await asyncio.sleep(RETRIES_SECONDS[-1])
                    raise
        except BaseException:
            # All of the batch is fetched again, also of partitions that were to be read from further back.
            self._forget_places()
            raise
        finally:
            self.lag.end(self.places.stopped if self.places is not None else ())

    async def _settle(self, records: Records, message: KafkaMessage) -> None:
        deciding, places = await self._connected()
        decide = functools.partial(self._decide, deciding, places, time.time())
        fresh = await places.new_records(records, message.consumer)  # type: ignore[arg-type]
        held: Fresh = ()
        if fresh:
            try:
                await decide(fresh)
            except (*AWAY, *ANEW):
                raise
            except Exception:
                LOGGER.exception("a batch cannot be decided: its partitions are tried one by one")
                self.telling.failed()
                held = await _decide_apart(fresh, decide)
        self.telling.redelivered(places.redelivered)
        self.commits.commit(message.consumer, places.offsets(records))  # type: ignore[arg-type]
        if held or self.undecidable:
            self.undecidable.difference_update(record.partition for record in records)
            self.undecidable.update(record.partition for record in held)
        self.health.say(self.name, places.problem or self._bug())
        if held:
            await self._hold(held, message.consumer)  # type: ignore[arg-type]

    async def _decide(self, deciding: Deciding, places: Places, begun: float, fresh: Fresh) -> None:
        settled = await deciding.settle(fresh)
        places.decided(fresh)
        self.telling.settled(fresh, settled, begun)

    async def _hold(self, held: Fresh, consumer: AIOKafkaConsumer) -> None:
        """Read these partitions again from there, after a pause. Of the others nothing is read twice for it."""
        for record in held:
            consumer.seek(TopicPartition(record.topic, record.partition), record.offset)
        self.health.beat(self.name)
        await asyncio.sleep(RETRIES_SECONDS[-1])

    async def _settled(self, message: KafkaMessage) -> None:
        """Nothing is left for FastStream to acknowledge: it would commit again, and wait. The last batch waits."""
        message.committed = AckStatus.ACKED
        if self.stopping:
            await self.commits.done(COMMIT_SECONDS_MAX)

    async def stop(self) -> None:
        """Return when Kafka knows all offsets; from here on no batch ends before Kafka knows its own."""
        self.stopping = True
        await self.commits.done(COMMIT_SECONDS_MAX)

    def _bug(self) -> str | None:
        if not self.undecidable:
            return None
        numbers = ", ".join(map(str, sorted(self.undecidable)))
        return f"partition {numbers} cannot be decided: a bug, or events that newer code wrote (see the log)"

    async def _connected(self) -> tuple[Deciding, Places]:
        if self.connection is None or self.connection.is_closed() or self.deciding is None or self.places is None:
            self.connection = await connect(self.settings.url(), "handler", WRITER)
            self.connection.beat = functools.partial(self.health.beat, self.name)
            log = Log(self.connection)
            source = await log.current_source(self.commands)
            self.deciding, self.places = Deciding(log, source, self.authority, self.entries_max), Places(log, source)
        return self.deciding, self.places

    def beating(self, poll: Poll) -> Poll:
        """The same question, which tells that this subscriber's loop goes on."""

        async def polled(consumer: AIOKafkaConsumer) -> Records:
            self.health.beat(self.name)
            try:
                return await poll(consumer)
            except Exception:
                # What other partitions had given already is lost with a record that cannot be read.
                self._forget_places()
                raise

        return polled

    async def look(self) -> None:
        """Ask the brokers where the partitions end, and compare with where the consumer is."""
        consumer = self.registered.consumer
        if consumer is None:
            return
        assigned = consumer.assignment()
        self.partitions = share_anew(consumer, self.commands, self.partitions)
        # Also without a partition of its own it is to know whether Kafka answers.
        ends = await consumer.end_offsets(assigned or [TopicPartition(self.commands, 0)])
        try:
            async with asyncio.timeout(POSITION_SECONDS_MAX):
                positions = {place.partition: await consumer.position(place) for place in assigned}
        except (IllegalStateError, TimeoutError):
            return  # The partitions are being assigned anew: the next look will do.
        self.lag.look(positions, {place.partition: end for place, end in ends.items()})
        if (places := self.places) is not None:
            others = await self.beginnings.others(consumer, assigned, places.source)
            for partition, offset in others.items():
                places.is_another(partition, offset)
            if others:
                self.health.say(self.name, places.problem)

    def _forget_places(self) -> None:
        if self.places is not None:
            self.places.forget()

    async def _disconnect(self) -> None:
        if self.connection is not None:
            self.connection.terminate()
        self.connection = self.deciding = self.places = None


async def _decide_apart(fresh: Fresh, decide: Callable[[Fresh], Awaitable[None]]) -> Fresh:
    """Decide each partition's records by themselves; the first of each partition that cannot be decided."""
    by_partition: dict[int, list[ConsumerRecord[Any, Any]]] = {}
    for record in fresh:
        by_partition.setdefault(record.partition, []).append(record)
    held = []
    for partition, own in by_partition.items():
        try:
            await decide(own)
        except (*AWAY, *ANEW):
            raise
        except Exception:
            LOGGER.exception("partition %s cannot be decided", partition)
            held.append(own[0])
    return held


def build(
    settings: HandlerSettings, health: Health, telling: Telling, authority: Authority | None
) -> tuple[FastStream, list[Subscriber]]:
    """The application and its subscribers; nothing is connected yet. ``authority`` None believes every record."""
    broker = KafkaBroker(
        settings.kafka_bootstrap,
        allow_auto_create_topics=False,
        metadata_max_age_ms=METADATA_MILLISECONDS_MAX,
        logger=FRAMEWORK_LOGGER,
        graceful_timeout=30.0,
        log_level=logging.DEBUG,
        consumer_only=True,
    )
    subscribers = []
    for number in range(settings.handler_subscribers):
        subscriber = Subscriber(f"commands-{number}", settings, health, telling, authority)
        subscribers.append(subscriber)
        registered = broker.subscriber(
            Topic(subscriber.commands, declare=False),
            group_id=f"{settings.topic_prefix}.handler",
            group_instance_id=f"{settings.handler_instance}-{number}" if settings.handler_instance else None,
            batch=True,
            max_records=settings.handler_batch_records,
            batch_timeout_ms=10,
            fetch_max_wait_ms=50,
            auto_offset_reset="earliest",
            ack_policy=AckPolicy.NACK_ON_ERROR,
            isolation_level="read_committed",
            session_timeout_ms=10_000,
            heartbeat_interval_ms=1_000,
            rebalance_timeout_ms=30_000,
            listener=subscriber,
            parser=total_parser,
            decoder=raw_decoder,
            no_reply=True,
            title=subscriber.name,
        )
        subscriber.registered = registered
        registered(_typed(subscriber))
        # The loop that FastStream runs begins each turn with this question, also when nothing comes.
        vars(registered)["get_msg"] = subscriber.beating(registered.get_msg)
    return FastStream(broker, logger=FRAMEWORK_LOGGER, on_shutdown=[s.stop for s in subscribers]), subscribers


def _typed(subscriber: Subscriber) -> Callable[..., Awaitable[None]]:
    async def handle(records: SkipValidation[Any], message: KafkaMessage) -> None:
        await subscriber.handle(records, message)

    return handle
