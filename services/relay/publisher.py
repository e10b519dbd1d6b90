"""The Kafka side of the relay: one transactional producer, and its progress."""

from collections.abc import Sequence
from datetime import datetime

from aiokafka.structs import RecordMetadata

from services.kafka.records import OutgoingRecord
from services.kafka.relay_progress import PROGRESS_KEY, RelayProgress
from services.kafka.timeouts import kafka_timeout
from services.kafka.topics import full_topic_name
from services.kafka.transactions import close_producer, create_transactional_producer, send_transaction
from services.publishing.topic_ends import read_progress
from services.relay.startup_checks import OperatorRequired
from services.runtime.failpoints import failpoints

# An open transaction of a previous relay times out before that.
START_SECONDS_MAX = 45


class Publisher:
    """One transactional producer. After any error close it and create another Publisher, never reuse it."""

    def __init__(self, bootstrap: str, prefix: str) -> None:
        self._bootstrap = bootstrap
        self._prefix = prefix
        self._producer = failpoints.arm(create_transactional_producer(bootstrap, f"{prefix}.relay"), "relay.producer")

    async def start(self) -> tuple[RelayProgress, datetime] | None:
        """Fence the previous relay, abort its open transaction, and read its progress and when that was written.

        None if the progress topic holds no record.
        """
        async with kafka_timeout(START_SECONDS_MAX, "starting the transactional producer"):
            await self._producer.start()
        async with failpoints.around("relay.read_progress"):
            return await read_progress(self._bootstrap, full_topic_name(self._prefix, "progress"))

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
                if (
                    metadata.offset == 0
                    and previous_sequences
                    and previous_sequences[shard]
                    and not previous_progress.is_replaying(output, shard)
                ):
                    raise OperatorRequired(f"{metadata.topic} was recreated while the relay ran; nothing was committed")

        progress_record = (full_topic_name(self._prefix, "progress"), PROGRESS_KEY, progress.encode())
        await send_transaction(
            self._producer,
            records,
            lambda name: full_topic_name(self._prefix, name),
            progress_record,
            check_not_recreated,
        )


def lock_name(prefix: str) -> str:
    """Return the name of the PostgreSQL lock that the active relay holds."""
    return f"relay {prefix}"
