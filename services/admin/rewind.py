"""Say where the relay goes on: ``python -m services.admin.rewind topics|start [OUTPUT…]``; no relay may run.

``topics`` goes on after the highest number that each topic holds: for progress that was lost, and to fill topics again
that were made again or lost their end. ``start`` emits the topics' records from the log's start once more, whatever
they hold. Without names all outputs are meant. What had been emitted before comes with the header ``replay: true``.
"""

import asyncio
import sys
from collections.abc import Sequence

from aiokafka import TopicPartition

from schemas.topics import OUTPUT_TOPICS
from services.config import ReplaySettings, SettingsError
from services.eventlog.feed_history import FeedHistory
from services.eventlog.feeds import FEED_BY_TOPIC
from services.eventlog.postgres import READER, connect
from services.kafka.partitioning import ALL_SHARDS
from services.kafka.relay_progress import RelayProgress
from services.kafka.topic_reader import read_to_end
from services.kafka.topics import full_topic_name
from services.publishing.record_headers import parse_headers
from services.publishing.topic_ends import End, full_topic_names, read_topic_ends
from services.relay.publisher import Publisher, lock_name
from services.relay.startup_checks import OperatorRequired, fill_missing_outputs
from services.runtime.errors import INFRASTRUCTURE_ERRORS, describe_error

USAGE = f"usage: python -m services.admin.rewind topics|start [{'|'.join(OUTPUT_TOPICS)} …]"


async def rewind(settings: ReplaySettings, mode: str, outputs: Sequence[str]) -> RelayProgress:
    """Set the relay's progress for these outputs, and return it; the others stay where they are.

    ``where``: ``topics`` or ``start``, as above.

    Raises:
        NeedsOperator: a relay is running, or the progress of the other outputs is not known.
        KafkaError, OSError, asyncpg.PostgresError, TimeoutError: Kafka or PostgreSQL does not answer.
    """
    bootstrap, prefix = settings.kafka_bootstrap, settings.topic_prefix
    connection = await connect(settings.url(), "rewind", READER)
    publisher = Publisher(bootstrap, prefix)
    try:
        history = FeedHistory(connection)
        if not await history.try_lock(lock_name(prefix)):
            raise OperatorRequired("a relay is running: stop it first, and those that stand by")
        # Whoever was paused inside a transaction is fenced, and cannot set the progress back afterwards.
        stored_progress = await publisher.start()
        if stored_progress is None and set(outputs) != set(OUTPUT_TOPICS):
            raise OperatorRequired("the relay's progress is lost: rewind all outputs, naming none")
        ends = await read_topic_ends(bootstrap, history, full_topic_names(prefix, OUTPUT_TOPICS))
        previous_progress = (
            None if stored_progress is None else await fill_missing_outputs(stored_progress[0], history, ends)
        )
        sequences, replays = (
            ({}, {})
            if previous_progress is None
            else (dict(previous_progress.sequences), dict(previous_progress.replays))
        )
        heads = await history.heads(ALL_SHARDS)
        for output in outputs:
            topic_sequences = await _read_highest_sequences(bootstrap, full_topic_name(prefix, output), ends[output])
            replays[output] = _compute_replay_end(
                output, previous_progress, topic_sequences, heads[FEED_BY_TOPIC[output]]
            )
            sequences[output] = topic_sequences if mode == "topics" else (0,) * len(ALL_SHARDS)
        progress = RelayProgress(
            sequences, {output_name: replay_end for output_name, replay_end in replays.items() if any(replay_end)}
        )
        await publisher.publish([], progress, progress)
        return progress
    finally:
        await publisher.close()
        await connection.close()


async def _read_highest_sequences(bootstrap: str, full_name: str, ends: Sequence[End]) -> tuple[int, ...]:
    """The highest number that each partition holds (0: none). After a replay that is not that of the last record."""
    highest = [end.sequence or 0 for end in ends]
    replayed_partitions = [TopicPartition(full_name, shard) for shard, end in enumerate(ends) if end.is_replay]
    if replayed_partitions:
        async for record in read_to_end(bootstrap, replayed_partitions):
            highest[record.partition] = max(highest[record.partition], parse_headers(record.headers).sequence or 0)
    return tuple(highest)


def _compute_replay_end(
    output: str, previous_progress: RelayProgress | None, topic_sequences: Sequence[int], heads: Sequence[int]
) -> tuple[int, ...]:
    """Up to where the topic had been filled before.

    Where the progress is lost a topic's own records say it, and an empty topic was lost as well: all that is in the log
    then counts as emitted before.
    """
    if previous_progress is None:
        return tuple(topic_sequences if any(topic_sequences) else heads)
    return tuple(
        max(previous_progress.sequences[output][shard], previous_progress.replay_end(output, shard))
        for shard in ALL_SHARDS
    )


def main(mode: str, outputs: Sequence[str]) -> str:
    """Rewind and say what follows.

    Raises:
        SystemExit: it could not be done; says why.
    """
    try:
        progress = asyncio.run(rewind(ReplaySettings(), mode, outputs or OUTPUT_TOPICS))
    except (OperatorRequired, SettingsError) as error:
        sys.exit(str(error))
    except INFRASTRUCTURE_ERRORS as error:
        sys.exit(describe_error(error))
    lines = []
    for output in outputs or OUTPUT_TOPICS:
        replay_count = sum(progress.replays.get(output, progress.sequences[output])) - sum(progress.sequences[output])
        lines.append(
            f"{output}: the relay goes on after {sum(progress.sequences[output])} records, {replay_count} of those to"
            " come with replay: true"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    if sys.argv[1:2] not in (["topics"], ["start"]) or not set(sys.argv[2:]) <= set(OUTPUT_TOPICS):
        sys.exit(USAGE)
    print(main(sys.argv[1], sys.argv[2:]))
