"""Before the relay emits anything: does it know how far it has come, and do log and topics agree?"""

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
    """The relay cannot go on without losing or doubling something; the message says what to do."""


async def fill_missing_outputs(
    progress: RelayProgress, history: FeedHistory, ends: Mapping[str, Sequence[End]]
) -> RelayProgress:
    """Progress of all outputs, where the record was written before there were some of them.

    A topic that it does not name goes on after what it holds; where retention has removed that, after what had been
    emitted along with the events.
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
    """Where nothing has been relayed yet: what was in the log before the topics were made had been emitted to others.

    Those are the topics of that name that were lost, or those of another prefix. ``made_at``: when the progress was
    first written; clocks may differ by CLOCKS_DIFFER_MAX.
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
    """Nothing if the relay may go on.

    Raises:
        NeedsOperator: the topics hold more than the log, or other than the relay has put there.
    """
    for output in OUTPUT_TOPICS:
        for shard, sequence in enumerate(progress.sequences[output]):
            head = heads[FEED_BY_TOPIC[output]][shard]
            if sequence > head:
                raise OperatorRequired(
                    f"shard {shard} of {output}: the topic is at {sequence}, the log ends at {head}: it was restored to"
                    " an earlier time. Restore a later backup, or give the topics a new prefix and fill them from the"
                    " log"
                )
    mismatches = find_mismatches(progress, ends)
    if mismatches:
        outputs = " ".join(mismatch.output for mismatch in mismatches)
        description = "; ".join(map(str, mismatches))
        raise OperatorRequired(
            f"{description}. Go on after what the topics hold, and emit again what they lost, with:"
            f" moderated-grading admin rewind topics {outputs}"
        )
