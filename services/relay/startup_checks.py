"""Before the relay emits anything: does it know how far it has come, and do log and topics agree?"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from services.eventlog.feed_history import History
from services.eventlog.feeds import Series
from services.kafka.partitioning import SHARDS
from services.kafka.relay_progress import OUTPUTS, SERIES, Progress
from services.publishing.topic_ends import End, differences

SHARD_LIST = list(range(SHARDS))
CLOCKS_DIFFER_MAX = timedelta(minutes=1)


class NeedsOperator(Exception):
    """The relay cannot go on without losing or doubling something; the message says what to do."""


async def completed(progress: Progress, history: History, ends: Mapping[str, Sequence[End]]) -> Progress:
    """Progress of all outputs, where the record was written before there were some of them.

    A topic that it does not name goes on after what it holds; where retention has removed that, after what had been
    emitted along with the events.
    """
    sequences = dict(progress.sequences)
    missing = [output for output in OUTPUTS if output not in sequences]
    if missing:
        published = await history.published_at(SHARD_LIST, sequences["events"])
        for output in missing:
            known = zip(ends[output], published, strict=True)
            sequences[output] = tuple((0 if end.new else at) if end.number is None else end.number for end, at in known)
    return replace(progress, sequences=sequences)


async def on_new_topics(progress: Progress, made_at: datetime, history: History) -> Progress:
    """Where nothing has been relayed yet: what was in the log before the topics were made had been emitted to others.

    Those are the topics of that name that were lost, or those of another prefix. ``made_at``: when the progress was
    first written; clocks may differ by CLOCKS_DIFFER_MAX.
    """
    if progress.replays or any(map(any, progress.sequences.values())):
        return progress
    numbers = await history.numbers_before(SHARD_LIST, made_at - CLOCKS_DIFFER_MAX)
    return replace(progress, replays={o: tuple(numbers[SERIES[o]]) for o in OUTPUTS if any(numbers[SERIES[o]])})


def check(progress: Progress, heads: Mapping[Series, Sequence[int]], ends: Mapping[str, Sequence[End]]) -> None:
    """Nothing if the relay may go on.

    Raises:
        NeedsOperator: the topics hold more than the log, or other than the relay has put there.
    """
    for output in OUTPUTS:
        for shard, number in enumerate(progress.sequences[output]):
            head = heads[SERIES[output]][shard]
            if number > head:
                raise NeedsOperator(
                    f"shard {shard} of {output}: the topic is at {number}, the log ends at {head}: it was restored to"
                    " an earlier time. Restore a later backup, or give the topics a new prefix and fill them from the"
                    " log"
                )
    found = differences(progress, ends)
    if found:
        outputs = " ".join(difference.output for difference in found)
        words = "; ".join(map(str, found))
        raise NeedsOperator(
            f"{words}. Go on after what the topics hold, and emit again what they lost, with:"
            f" python -m services.admin.rewind topics {outputs}"
        )
