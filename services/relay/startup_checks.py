"""Checks before the relay publishes: is its progress complete, and do log and topics agree with it?"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from schemas.topics import OUTPUT_TOPICS
from services.eventlog.feed_history import FeedHistory
from services.eventlog.feeds import FEED_BY_TOPIC, Feed
from services.kafka.partitioning import ALL_SHARDS
from services.kafka.relay_progress import RelayProgress
from services.publishing.topic_ends import End, find_mismatches

CLOCK_SKEW_MAX = timedelta(minutes=1)


class OperatorRequired(Exception):
    """Continuing could lose or duplicate records; the message says why and what to do."""


async def fill_missing_outputs(
    progress: RelayProgress, history: FeedHistory, ends: Mapping[str, Sequence[End]]
) -> RelayProgress:
    """Add outputs that are newer than the stored progress.

    Such an output continues after the topic's last record; if retention removed all, after the grade changes that were
    published together with the events.
    """
    sequences = dict(progress.sequences)
    missing = [output for output in OUTPUT_TOPICS if output not in sequences]
    if missing:
        live_numbers = await history.live_numbers_at(ALL_SHARDS, sequences["events"])
        for output in missing:
            ends_and_live_numbers = zip(ends[output], live_numbers, strict=True)
            sequences[output] = tuple(
                (0 if end.never_truncated else live_number) if end.sequence is None else end.sequence
                for end, live_number in ends_and_live_numbers
            )
    return replace(progress, sequences=sequences)


async def mark_replays_for_new_topics(
    progress: RelayProgress, created_at: datetime, history: FeedHistory
) -> RelayProgress:
    """If nothing was relayed yet, mark rows of the log that are older than the topics as replays.

    They had been published to topics that were lost, or that have another prefix. ``created_at`` is when the initial
    progress was written; clocks may differ by CLOCK_SKEW_MAX.
    """
    if progress.replays or any(map(any, progress.sequences.values())):
        return progress
    sequences = await history.sequences_before(ALL_SHARDS, created_at - CLOCK_SKEW_MAX)
    return replace(
        progress,
        replays={
            output: tuple(sequences[FEED_BY_TOPIC[output]])
            for output in OUTPUT_TOPICS
            if any(sequences[FEED_BY_TOPIC[output]])
        },
    )


def verify_consistent(
    progress: RelayProgress, heads: Mapping[Feed, Sequence[int]], ends: Mapping[str, Sequence[End]]
) -> None:
    """Check that log and topics agree with the progress.

    Raises:
        OperatorRequired: the topics are ahead of the log, or do not end where the progress does.
    """
    for output in OUTPUT_TOPICS:
        for shard, sequence in enumerate(progress.sequences[output]):
            head = heads[FEED_BY_TOPIC[output]][shard]
            if sequence > head:
                raise OperatorRequired(
                    f"shard {shard} of {output}: the topic is at {sequence}, the log ends at {head}: it was restored to"
                    " an earlier time; nothing was published. Restore a later backup of the log, or set a new"
                    " TOPIC_PREFIX, whose topics are then filled from the log"
                )
    mismatches = find_mismatches(progress, ends)
    if mismatches:
        outputs = " ".join(mismatch.output for mismatch in mismatches)
        description = "; ".join(map(str, mismatches))
        raise OperatorRequired(
            f"{description}; nothing was published. To continue after what the topics hold and publish lost records"
            f" again, stop all relays and run: moderated-grading admin rewind topics {outputs}"
        )
