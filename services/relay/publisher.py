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

# A transaction that somebody left open ends by itself before that.
START_SECONDS_MAX = 45


class Publisher:
    """One life of the producer. After any error it is closed and never used on: a new one asks the broker anew."""

    def __init__(self, bootstrap: str, prefix: str) -> None:
        self._bootstrap = bootstrap
        self._prefix = prefix
        self._producer = create_transactional_producer(bootstrap, f"{prefix}.relay")

    async def start(self) -> tuple[RelayProgress, datetime] | None:
        """Fence whoever was there, end what they left open, and read how far they came, and when they last said so.

        None if nothing says it.
        """
        async with kafka_timeout(START_SECONDS_MAX, "starting the transactional producer"):
            await self._producer.start()
        return await read_progress(self._bootstrap, full_topic_name(self._prefix, "progress"))

    async def close(self) -> None:
        """Close; an open transaction is aborted by whoever starts next, or by the broker."""
        await close_producer(self._producer)

    async def publish(
        self, records: Sequence[OutgoingRecord], previous_progress: RelayProgress, progress: RelayProgress
    ) -> None:
        """Messages and the progress they make, all or nothing for read_committed readers.

        Raises:
            NeedsOperator: a topic begins here that was filled ``before``: it was made again while the relay ran.
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
                    raise OperatorRequired(f"{metadata.topic} was made again while the relay ran")

        progress_record = (full_topic_name(self._prefix, "progress"), PROGRESS_KEY, progress.encode())
        await send_transaction(
            self._producer,
            records,
            lambda name: full_topic_name(self._prefix, name),
            progress_record,
            check_not_recreated,
        )


def lock_name(prefix: str) -> str:
    """Of the lock in PostgreSQL that whoever writes the service's outputs holds."""
    return f"relay {prefix}"
