"""The Kafka side of a lane: its transactional producer, and its progress."""

from collections.abc import Sequence

from aiokafka.structs import RecordMetadata

from services.kafka.producer_closing import close_producer
from services.kafka.progress_topic import read_lanes
from services.kafka.records import OutgoingRecord
from services.kafka.relay_progress import RelayProgress, progress_key
from services.kafka.timeouts import kafka_timeout
from services.kafka.topics import full_topic_name
from services.kafka.transactions import create_transactional_producer, send_transaction
from services.relay.startup_checks import OperatorRequired
from services.runtime.failpoints import failpoints

# An open transaction of a previous relay times out before that.
START_SECONDS_MAX = 45


class Publisher:
    """A lane's transactional producer. After any error close it and create another Publisher, never reuse it."""

    def __init__(self, bootstrap: str, prefix: str, lane: int) -> None:
        self._bootstrap = bootstrap
        self._prefix = prefix
        self._lane = lane
        producer = create_transactional_producer(bootstrap, f"{prefix}.relay.{lane}")
        self._producer = failpoints.arm(producer, "relay.producer")

    async def start(self) -> RelayProgress | None:
        """Fence the lane's previous relay, abort its open transaction, and read the lane's progress.

        None if the lane's partition of the progress topic holds no record.
        """
        async with kafka_timeout(START_SECONDS_MAX, "starting the transactional producer"):
            await self._producer.start()
        async with failpoints.around("relay.read_progress"):
            stored = await read_lanes(self._bootstrap, full_topic_name(self._prefix, "progress"), [self._lane])
        return stored.get(self._lane)

    async def close(self) -> None:
        """Close; an open transaction is aborted by the next relay, or by the broker when it times out."""
        await close_producer(self._producer)

    async def publish(
        self, records: Sequence[OutgoingRecord], previous_progress: RelayProgress, progress: RelayProgress
    ) -> None:
        """Publish records and the new progress in one transaction: read_committed consumers see all or nothing.

        Raises:
            OperatorRequired: a partition with previous records starts at offset 0: its topic was recreated meanwhile.
                Nothing was committed.
        """

        def check_not_recreated(all_metadata: Sequence[RecordMetadata]) -> None:
            for metadata in all_metadata:
                output, shard = metadata.topic.removeprefix(f"{self._prefix}."), metadata.partition
                previous_sequences = previous_progress.sequences.get(output)
                # A partition that retention or a rewind emptied goes on after the offsets of what was removed.
                if metadata.offset == 0 and previous_sequences and previous_sequences[shard]:
                    raise OperatorRequired(f"{metadata.topic} was recreated while the relay ran; nothing was committed")

        await send_transaction(
            self._producer,
            records,
            lambda name: full_topic_name(self._prefix, name),
            (full_topic_name(self._prefix, "progress"), self._lane, progress_key(self._lane), progress.encode()),
            check_not_recreated,
        )
