"""``admin rewind``: set the relay's progress back, so that it fills topics again.

``topics`` continues after the highest sequence number that each topic holds: for lost progress, and to refill topics
that were recreated or lost records at their end. ``start`` publishes everything again from the start of the log.
Records that had been published before carry the header ``replay: true``. No relay may run meanwhile.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated

import typer
from aiokafka import TopicPartition

from schemas.topics import OUTPUT_TOPICS
from services.config import ReplaySettings
from services.eventlog.feed_history import FeedHistory
from services.eventlog.feeds import FEED_BY_TOPIC
from services.eventlog.postgres import READER, close_quickly, connect
from services.kafka.partitioning import ALL_SHARDS
from services.kafka.relay_progress import RelayProgress
from services.kafka.topic_reader import read_to_end
from services.kafka.topics import full_topic_name
from services.publishing.record_headers import parse_headers
from services.publishing.topic_ends import End, full_topic_names, read_topic_ends
from services.relay.publisher import Publisher, lock_name
from services.relay.startup_checks import OperatorRequired, fill_missing_outputs
from services.runtime.command_line import ActionRefused, run_command


class RewindTo(StrEnum):
    """Where the relay continues."""

    TOPICS = "topics"
    START = "start"


def rewind_command(
    rewind_to: Annotated[
        RewindTo,
        typer.Argument(
            metavar="topics|start", help="Continue after what the topics hold, or publish the whole log again."
        ),
    ],
    outputs: Annotated[
        list[str] | None, typer.Argument(metavar="[OUTPUT]…", help=f"{', '.join(OUTPUT_TOPICS)}; all if none.")
    ] = None,
) -> None:
    """Set the relay's progress back, with all relays stopped: it publishes lost records again with replay: true."""
    rewound_outputs = outputs or list(OUTPUT_TOPICS)
    unknown = [output for output in rewound_outputs if output not in OUTPUT_TOPICS]
    if unknown:
        raise typer.BadParameter(f"unknown output {', '.join(unknown)}: choose from {', '.join(OUTPUT_TOPICS)}")

    async def work() -> RelayProgress:
        try:
            return await rewind(ReplaySettings(), rewind_to, rewound_outputs)
        except OperatorRequired as error:
            raise ActionRefused(str(error)) from None

    progress = run_command(work)
    for output in rewound_outputs:
        done_count = sum(progress.sequences[output])
        replay_count = sum(progress.replays.get(output, progress.sequences[output])) - done_count
        typer.echo(f"{output}: the relay continues after {done_count} records and replays {replay_count}")


async def rewind(settings: ReplaySettings, rewind_to: RewindTo, outputs: Sequence[str]) -> RelayProgress:
    """Store and return the relay's new progress; outputs that are not named keep theirs.

    Raises:
        OperatorRequired: a relay is running, or the progress of the other outputs is lost; nothing was changed.
        KafkaError, OSError, asyncpg.PostgresError, TimeoutError: Kafka or PostgreSQL does not answer.
    """
    bootstrap, prefix = settings.kafka_bootstrap, settings.topic_prefix
    connection = await connect(settings.url(), "rewind", READER)
    publisher = Publisher(bootstrap, prefix)
    try:
        history = FeedHistory(connection)
        if not await history.try_lock(lock_name(prefix)):
            raise OperatorRequired(
                "a relay is running; nothing was changed. Stop all relays, those on standby too, and run this again"
            )
        # Starting the producer fences a relay that is paused inside a transaction: it cannot undo the new progress.
        stored = await publisher.start()
        if stored is None and set(outputs) != set(OUTPUT_TOPICS):
            raise OperatorRequired(
                "the relay's progress is lost; nothing was changed. Rewind all outputs: run this without their names"
            )
        ends = await read_topic_ends(bootstrap, history, full_topic_names(prefix, OUTPUT_TOPICS))
        previous = None if stored is None else await fill_missing_outputs(stored[0], history, ends)
        heads = await history.heads(ALL_SHARDS)
        sequences = {} if previous is None else dict(previous.sequences)
        replays = {} if previous is None else dict(previous.replays)
        for output in outputs:
            topic_sequences = await _read_highest_sequences(bootstrap, full_topic_name(prefix, output), ends[output])
            sequences[output] = topic_sequences if rewind_to is RewindTo.TOPICS else (0,) * len(ALL_SHARDS)
            replays[output] = _compute_replay_end(output, previous, topic_sequences, heads[FEED_BY_TOPIC[output]])
        progress = RelayProgress(
            sequences, {output: replay_ends for output, replay_ends in replays.items() if any(replay_ends)}
        )
        await publisher.publish([], progress, progress)
        return progress
    finally:
        await publisher.close()
        await close_quickly(connection)


async def _read_highest_sequences(bootstrap: str, full_name: str, ends: Sequence[End]) -> tuple[int, ...]:
    """Return the highest sequence number in each partition (0: none).

    It is that of the last record, unless that one is a replay: then the whole partition is read.
    """
    highest = [end.sequence or 0 for end in ends]
    replayed_partitions = [TopicPartition(full_name, shard) for shard, end in enumerate(ends) if end.is_replay]
    if replayed_partitions:
        async for record in read_to_end(bootstrap, replayed_partitions):
            highest[record.partition] = max(highest[record.partition], parse_headers(record.headers).sequence or 0)
    return tuple(highest)


def _compute_replay_end(
    output: str, previous: RelayProgress | None, topic_sequences: Sequence[int], heads: Sequence[int]
) -> tuple[int, ...]:
    """Return, by shard, the last sequence number that had been published before: up to it records are replays.

    Without previous progress the topic's own records show it. An empty topic then was lost too, and all of the log
    counts as published.
    """
    if previous is None:
        return tuple(topic_sequences if any(topic_sequences) else heads)
    return tuple(max(previous.sequences[output][shard], previous.replay_end(output, shard)) for shard in ALL_SHARDS)
