"""Sends commands to Kafka with one producer, which is replaced after a failure."""

import asyncio
import contextlib
import functools
import itertools
import logging
import time
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    KafkaTimeoutError,
    MessageSizeTooLargeError,
    OutOfOrderSequenceNumber,
    ProducerClosed,
    TopicAuthorizationFailedError,
)

from services.gateway.metrics import METRICS
from services.kafka.client_options import client_options
from services.kafka.producer_closing import close_producer
from services.runtime.errors import KAFKA_CLIENT_ERRORS, KAFKA_ERRORS, describe_error
from services.runtime.health import Health

LOGGER = logging.getLogger("gateway")
PROBE_SECONDS = 1.0
PROBE_TIMEOUT_SECONDS = 3.0
# The producer's own timeouts are shorter.
START_SECONDS_MAX = 60
ENQUEUE_SECONDS_MAX = 1.0
# Sending waits while a failed producer is closed; partitions that take records acknowledge them sooner.
FLUSH_FAILED_SECONDS_MAX = 0.5
FLUSH_SECONDS_MAX = 3.0
REPLACE_SECONDS_MAX = 2.0
IN_FLIGHT_MAX = 5_000
# So long a command that arrived late, or perhaps never will, is called pending until its verdict is found.
UNDECIDED_SECONDS = 60.0
REJECTED_BY_BROKER_ERRORS = (MessageSizeTooLargeError, TopicAuthorizationFailedError, ClusterAuthorizationFailedError)
NOT_SENT_ERRORS = (*REJECTED_BY_BROKER_ERRORS, OutOfOrderSequenceNumber, ProducerClosed)


class NotSent(Exception):
    """Nothing was sent to Kafka and nothing will arrive; the message says why."""


@dataclass(frozen=True, slots=True)
class ProducerRecord:
    """A command record; ``headers`` in Kafka's form."""

    command_id: str
    course_id: int
    value: bytes
    headers: list[tuple[str, bytes]]


class CommandProducer:
    """Keeps a producer running. ``problem`` states why commands cannot be sent; None while they can.

    ``in_flight`` holds the ids of commands that were sent but not yet acknowledged.
    """

    def __init__(self, bootstrap: str, topic: str, health: Health) -> None:
        self.health = health
        self.bootstrap = bootstrap
        self.topic = topic
        self.problem: str | None = "starting"
        self.in_flight: set[str] = set()
        self._undecided: set[str] = set()
        self._producer: AIOKafkaProducer | None = None
        self._started, self._broken = asyncio.Event(), asyncio.Event()

    async def run(self) -> None:
        """Keep one producer running, and replace it after a failure, until cancelled."""
        for generation in itertools.count():
            self.health.heartbeat("sender", START_SECONDS_MAX)
            if generation:
                METRICS.producers_recreated.inc()
            producer = AIOKafkaProducer(
                **client_options(self.bootstrap),
                client_id="moderation-gateway",
                enable_idempotence=True,
                acks="all",
                request_timeout_ms=10_000,
                max_request_size=2 << 20,
            )
            try:
                await producer.start()
                await producer.partitions_for(self.topic)
                self._broken.clear()
                self._producer = producer
                self._started.set()
                await self._monitor(producer)
            except KAFKA_ERRORS as error:
                self.problem = describe_error(error, "kafka")
                await asyncio.sleep(PROBE_SECONDS)
            finally:
                self._withdraw_producer()
                # Before the next one sends: else an older command could arrive after a newer one of the same grader.
                await close_producer(producer, FLUSH_FAILED_SECONDS_MAX if self._broken.is_set() else FLUSH_SECONDS_MAX)

    async def _monitor(self, producer: AIOKafkaProducer) -> None:
        """Probe the brokers; return when the producer must be replaced."""
        while not self._broken.is_set():
            self.health.heartbeat("sender")
            alive = False
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PROBE_TIMEOUT_SECONDS):
                    alive = await producer.client.force_metadata_update()
            problem = None if alive else "Kafka does not answer"
            if problem != self.problem:
                LOGGER.log(logging.WARNING if problem else logging.INFO, "%s", problem or "Kafka answers")
            self.problem = problem
            # Not wait_for, which swallows a cancellation in the moment in which the event is set.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PROBE_SECONDS):
                    await self._broken.wait()

    async def send(self, record: ProducerRecord, timeout_seconds: float) -> tuple[int, int] | None:
        """Send a record; return (partition, offset). None: no broker acknowledged it in time, and it may still arrive.

        Raises:
            NotSent: Kafka is down, takes no more records for the course's partition, or rejects the record.
        """
        if self._producer is None and self.problem is None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(REPLACE_SECONDS_MAX):
                    await self._started.wait()
        producer = self._producer
        if producer is None or self.problem is not None:
            raise NotSent(self.problem or "the connection to Kafka is being replaced")
        if len(self.in_flight) >= IN_FLIGHT_MAX:
            raise NotSent("too many commands are waiting for Kafka")
        sent_at = time.time()
        try:
            async with asyncio.timeout(ENQUEUE_SECONDS_MAX):
                acknowledgement = await producer.send(
                    self.topic,
                    record.value,
                    key=str(record.course_id).encode(),
                    headers=record.headers,
                )
        except (TimeoutError, KafkaTimeoutError):
            # The producer holds all that it may for this partition, and goes on with it; other partitions have room.
            raise NotSent("Kafka takes no more commands for this course at present") from None
        except KAFKA_ERRORS as error:
            if not isinstance(error, MessageSizeTooLargeError):
                self._replace(producer, error)
            raise NotSent(f"Kafka did not accept the command: {type(error).__name__}") from None
        self.in_flight.add(record.command_id)
        acknowledgement.add_done_callback(functools.partial(self._on_acknowledged, producer, record.command_id))
        coordinates = await self._wait_for_acknowledgement(acknowledgement, timeout_seconds, sent_at)
        if coordinates is None:
            self._undecided.add(record.command_id)
            acknowledgement.add_done_callback(functools.partial(self._forget_undecided, record.command_id))
        return coordinates

    def is_pending(self, command_id: str) -> bool:
        """Return whether a command may still be decided, of those that were sent and have no known coordinates."""
        return command_id in self.in_flight or command_id in self._undecided

    def _forget_undecided(self, command_id: str, acknowledgement: "asyncio.Future[object]") -> None:
        error = None if acknowledgement.cancelled() else acknowledgement.exception()
        seconds = 0.0 if isinstance(error, NOT_SENT_ERRORS) else UNDECIDED_SECONDS
        asyncio.get_running_loop().call_later(seconds, self._undecided.discard, command_id)

    def _on_acknowledged(
        self, producer: AIOKafkaProducer, command_id: str, acknowledgement: "asyncio.Future[object]"
    ) -> None:
        self.in_flight.discard(command_id)
        error = None if acknowledgement.cancelled() else acknowledgement.exception()
        if error is not None and not isinstance(error, REJECTED_BY_BROKER_ERRORS):
            # The sequence numbers of the partition's next records would leave a gap, which the broker refuses.
            self._replace(producer, error)

    def _replace(self, producer: AIOKafkaProducer, error: BaseException) -> None:
        """Let ``run`` replace the producer, unless it already is: its records fail when it is closed."""
        if producer is self._producer:
            LOGGER.warning("replacing the Kafka producer after an error: %s", type(error).__name__)
            self._withdraw_producer()
            self._broken.set()

    def _withdraw_producer(self) -> None:
        self._producer = None
        self._started.clear()

    async def _wait_for_acknowledgement(
        self, acknowledgement: "asyncio.Future[Any]", timeout_seconds: float, sent_at: float
    ) -> tuple[int, int] | None:
        try:
            metadata = await asyncio.wait_for(asyncio.shield(acknowledgement), timeout_seconds)
        except TimeoutError:
            return None
        except REJECTED_BY_BROKER_ERRORS as error:
            raise NotSent(f"Kafka refused the command: {type(error).__name__}") from None
        except ProducerClosed:
            raise NotSent("the connection to Kafka was replaced before the command was sent") from None
        except OutOfOrderSequenceNumber:
            # An earlier record of the partition was refused. Had this one been written, its retry would be a duplicate.
            raise NotSent("Kafka refused the command because it had refused an earlier one") from None
        except KAFKA_CLIENT_ERRORS:
            return None
        # The broker's timestamp lies between both clock readings.
        METRICS.clock_offset.labels("kafka").set(metadata.timestamp / 1_000 - (sent_at + time.time()) / 2)
        return metadata.partition, metadata.offset
