"""A log and its topics as a handler and a relay left them, and copies of the topics with faults planted in them."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import asyncpg
from aiokafka import AIOKafkaProducer, TopicPartition

from services.eventlog.feed_history import EVERYTHING, FeedHistory, LogFilter
from services.kafka.partitioning import SHARD_COUNT
from services.kafka.topic_reader import open_reader, read_until
from services.kafka.topics import ensure_replay_target, full_topic_name
from services.publishing.cloudevents import PublishingFormat
from services.publishing.log_comparison import LogComparison
from services.publishing.record_mapper import RecordMapper
from services.publishing.verifier import VerificationReport, verify
from tests.conftest import LMS_URL, System

FORM = PublishingFormat("urn:moderated-grading", lms_url=f"{LMS_URL}/")
_NUMBERS = itertools.count(1)


@dataclass(frozen=True)
class RecordCopy:
    """A record to put on a topic; partition: its shard."""

    shard: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]

    def header(self, name: str) -> bytes | None:
        return dict(self.headers)[name]

    def with_headers(self, **changed: str | None) -> "RecordCopy":
        """With other headers; None takes one away."""
        kept = [(name, value) for name, value in self.headers if changed.get(name, "") is not None]
        texts = {name: text.encode() for name, text in changed.items() if text is not None}
        new = [(name, value) for name, value in texts.items() if name not in dict(kept)]
        return replace(self, headers=(*((name, texts.get(name, value)) for name, value in kept), *new))

    @property
    def number(self) -> int:
        return int(self.header("ce_sequence") or b"0")

    def as_replayed(self) -> "RecordCopy":
        return self.with_headers(replay="true")


@dataclass
class RecordedTopics:
    """``system``: its processes have ended. ``records``: of each output, by shard, as they were relayed."""

    system: System
    records: dict[str, dict[int, list[RecordCopy]]]

    async def read_topic(self, output: str, full_name: str | None = None) -> dict[int, list[RecordCopy]]:
        """What a topic holds now. Of a transaction that is ended the brokers tell each partition a little later."""
        name = full_name or full_topic_name(self.system.prefix, output)
        partitions = [TopicPartition(name, n) for n in range(SHARD_COUNT)]
        found: dict[int, list[RecordCopy]] = {shard: [] for shard in range(SHARD_COUNT)}
        async with open_reader(self.system.bootstrap, partitions) as consumer:
            ends = await self.system.client.uncommitted_consumer.end_offsets(partitions)
            async for place, records in read_until(consumer, ends):
                for record in records:
                    headers = tuple((header, value) for header, value in record.headers)
                    found[place.partition].append(RecordCopy(place.partition, record.key, record.value, headers))
        return found

    async def create_topic(self, records: Mapping[int, Sequence[RecordCopy]]) -> str:
        """A new topic that holds these records; its name."""
        name = f"{self.system.prefix}-planted-{next(_NUMBERS)}"
        await ensure_replay_target(self.system.bootstrap, name)
        producer = AIOKafkaProducer(bootstrap_servers=self.system.bootstrap, max_request_size=5 << 20, linger_ms=5)
        await producer.start()
        for record in itertools.chain(*records.values()):
            headers = list(record.headers)
            await producer.send(name, record.value, record.key, partition=record.shard, headers=headers)
        await producer.stop()
        return name

    async def verify_topic(
        self, full_name: str, output: str, beside_log: bool, selection: LogFilter = EVERYTHING
    ) -> VerificationReport:
        """What the checker says of a topic."""
        connection = await asyncpg.connect(self.system.database_url)
        try:
            history = FeedHistory(connection)
            log = LogComparison(output, history, RecordMapper(history, FORM)) if beside_log else None
            return await verify(self.system.bootstrap, full_name, output, log, selection, catch_up_seconds=0)
        finally:
            await connection.close()

    def largest_shard(self, output: str) -> int:
        """The shard with the most records."""
        return max(self.records[output], key=lambda shard: len(self.records[output][shard]))
