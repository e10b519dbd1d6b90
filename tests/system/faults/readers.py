"""Read topics with librdkafka: while faults are injected, and all of them at the end."""

import contextlib
import threading
import time
from collections.abc import Callable, Sequence

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, Message, TopicPartition

from services.kafka.client_options import librdkafka_options
from services.kafka.topics import full_topic_name
from tests.system.faults.checker.observations import TopicRecord

OUTPUTS = ("verdicts", "events", "live-events", "caliper", "dead-letters")
READ_SECONDS_MAX = 120
REQUEST_SECONDS_MAX = 30


def create_consumer(bootstrap: str, *, committed: bool) -> Consumer:
    return Consumer(
        {
            **librdkafka_options(bootstrap),
            "group.id": "faults-reader",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed" if committed else "read_uncommitted",
            "fetch.wait.max.ms": 50,
            "reconnect.backoff.max.ms": 500,
            "topic.metadata.refresh.interval.ms": 2_000,
            "log_level": 0,
        }
    )


def list_partitions(consumer: Consumer, name: str) -> list[TopicPartition]:
    """Return all partitions of a topic, positioned at their beginning."""
    topic = consumer.list_topics(name, timeout=REQUEST_SECONDS_MAX).topics[name]
    return [TopicPartition(name, number, OFFSET_BEGINNING) for number in topic.partitions]


def to_record(message: Message, prefix: str) -> TopicRecord:
    """Convert a record, without its topic's prefix; bytes that are not UTF-8 are escaped."""

    def text(value: bytes | str | None) -> str:
        return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value or ""

    partition, offset, key = message.partition(), message.offset(), message.key()
    assert partition is not None
    assert offset is not None
    return TopicRecord(
        (message.topic() or "").removeprefix(f"{prefix}."),
        partition,
        offset,
        None if key is None else text(key),
        text(message.value()),
        {str(name): text(value) for name, value in list(message.headers() or ())},
    )


def read_end_offsets(bootstrap: str, prefix: str, topics: Sequence[str]) -> dict[str, int]:
    """Return the end of each topic, summed over its partitions, including open transactions."""
    consumer = create_consumer(bootstrap, committed=False)
    try:
        return {
            topic: sum(
                consumer.get_watermark_offsets(place, REQUEST_SECONDS_MAX)[1]
                for place in list_partitions(consumer, full_topic_name(prefix, topic))
            )
            for topic in topics
        }
    finally:
        consumer.close()


def count_commands(bootstrap: str, prefix: str) -> int:
    """Return how many records the commands topic has, without those that were removed."""
    consumer = create_consumer(bootstrap, committed=False)
    try:
        places = list_partitions(consumer, full_topic_name(prefix, "commands"))
        bounds = [consumer.get_watermark_offsets(place, REQUEST_SECONDS_MAX) for place in places]
        return sum(end - first for first, end in bounds)
    finally:
        consumer.close()


def read_topic(bootstrap: str, prefix: str, topic: str, *, committed: bool) -> list[TopicRecord]:
    """Read a topic from its beginning to its current end. Raises TimeoutError if a transaction stays open."""
    consumer = create_consumer(bootstrap, committed=committed)
    try:
        places = list_partitions(consumer, full_topic_name(prefix, topic))
        bounds = {place.partition: consumer.get_watermark_offsets(place, REQUEST_SECONDS_MAX) for place in places}
        consumer.assign([place for place in places if bounds[place.partition][0] < bounds[place.partition][1]])
        waiting = {number for number, (first, end) in bounds.items() if first < end}
        records: list[TopicRecord] = []
        deadline = time.monotonic() + READ_SECONDS_MAX
        while waiting:
            records += [to_record(message, prefix) for message in consumer.consume(500, 0.1) if message.error() is None]
            # The position also passes transaction markers, which consumers never receive.
            for place in consumer.position([place for place in places if place.partition in waiting]):
                if place.offset >= bounds[place.partition][1]:
                    waiting.discard(place.partition)
            if time.monotonic() > deadline:
                raise TimeoutError(f"partitions {sorted(waiting)} of {topic} were not read to their end")
        return [record for record in records if record.offset < bounds[record.partition][1]]
    finally:
        consumer.close()


class StreamingReader:
    """Reads all outputs in a thread from now on, as a read_committed consumer that never restarts."""

    def __init__(self, bootstrap: str, prefix: str, on_record: Callable[[TopicRecord], None]) -> None:
        self.records: dict[str, list[TopicRecord]] = {topic: [] for topic in OUTPUTS}
        self._prefix = prefix
        self._on_record = on_record
        self._ended = threading.Event()
        self._consumer = create_consumer(bootstrap, committed=True)
        self._consumer.assign(
            [place for topic in OUTPUTS for place in list_partitions(self._consumer, full_topic_name(prefix, topic))]
        )
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        while not self._ended.is_set():
            # An error concerns an unavailable broker: the client reconnects by itself.
            with contextlib.suppress(KafkaException):
                for message in self._consumer.consume(500, 0.05):
                    if message.error() is None:
                        record = to_record(message, self._prefix)
                        self.records[record.topic].append(record)
                        self._on_record(record)

    def close(self) -> None:
        self._ended.set()
        self._thread.join()
        self._consumer.close()
