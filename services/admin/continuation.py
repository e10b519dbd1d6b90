"""Where the relay continues after ``admin rewind``, by shard: from its progress, the ends of the topics and the log.

Nothing here reads Kafka or PostgreSQL. ``previous`` is the stored progress; that of shards which it does not list is
lost. ``ends`` and ``highest`` describe one output's topic: its last records, and the highest sequence number in each
shard (0: none).
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from services.eventlog.record_ids import ARCHIVED
from services.kafka.relay_progress import RelayProgress
from services.publishing.common_history import CommonHistory
from services.publishing.topic_ends import End


def continue_after_topic(
    output: str, previous: RelayProgress, ends: Sequence[End], highest: Sequence[int]
) -> tuple[int, ...]:
    """Return the sequence number after which the relay continues: the highest one on the topic.

    Where the topic ends with a replay below it, that pass goes on: a relay expects the topic to end where its progress
    does. A shard that retention emptied keeps its progress: nothing was lost, and its history would be sent once more.
    """
    return tuple(
        previous.sequences[output][shard]
        if shard in previous.shards and _is_emptied(end, number)
        else end.sequence or number
        for shard, (end, number) in enumerate(zip(ends, highest, strict=True))
    )


def find_replay_ends(
    output: str, previous: RelayProgress, ends: Sequence[End], highest: Sequence[int], heads: Sequence[int]
) -> tuple[int, ...]:
    """Return the last sequence number that had been published before: up to it records are replays.

    The progress and the topic's records show it. Without progress, where no records are left, because retention
    emptied the shard or the topic was recreated, all rows of the log (up to ``heads``) count as published: it is
    unknown which were, and as new ones they would be taken twice. A shard that never had a record on a topic with
    others has published nothing.
    """
    is_recreated = all(end == End() for end in ends)
    replay_ends = []
    for shard, (end, number, head) in enumerate(zip(ends, highest, heads, strict=True)):
        if shard in previous.shards:
            # The topic may hold more than the progress tells: after a loss of the progress's last records.
            published = max(previous.sequences[output][shard], previous.replay_end(output, shard), min(number, head))
        else:
            published = head if is_recreated or _is_emptied(end, number) else number
        replay_ends.append(published)
    return tuple(replay_ends)


def continue_after_common_history(
    output: str,
    previous: RelayProgress,
    histories: Mapping[int, CommonHistory],
    ends: Sequence[End],
    log_ids: Sequence[str | None],
    end_ids: Sequence[str | None],
    heads: Sequence[int],
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return after which sequence number each shard continues, and the last one that had been published before.

    ``histories``: what topic and log share, by shard. ``log_ids`` and ``end_ids``: the log's ids at the previous
    progress, and at the ends of its replays. A shard that has lost records will be emptied: what the log still has of
    it is published again.
    """
    last_common = [histories[shard].last for shard in range(len(heads))]
    unknown_ends = find_replay_ends(output, replace(previous, shards=()), ends, last_common, heads)
    continuations = []
    for shard, head in enumerate(heads):
        found = histories[shard]
        is_known = shard in previous.shards
        published, replay_end = (
            (previous.sequences[output][shard], previous.replay_end(output, shard))
            if is_known
            else (found.last, unknown_ends[shard])
        )
        log_agrees = not is_known or (
            published <= head and log_ids[shard] in (previous.last_id(output, shard), ARCHIVED)
        )
        if is_known and not found.lost and not _has_replay_end(output, previous, shard, end_ids[shard]):
            # What the handler decided instead of the rows that the log lost is new, though a replay was to reach there.
            replay_end = 0
        is_truncated = not ends[shard].never_truncated
        if found.lost and is_truncated and not found.first and all(lost.sequence is None for lost in found.lost):
            # Lost dead letters have no numbers, and so do not show which ones retention removed before them.
            published, replay_end = 0, max(published, replay_end) if is_known else head
        elif found.lost:
            published, replay_end = (found.first - 1 if found.first else found.last), found.last
        elif found.first:
            # What the topic lost at its end was published, if the log still has it.
            replay_end = max(replay_end, found.last, published if log_agrees else 0)
            published = ends[shard].sequence or found.last
        elif is_known and (ends[shard] == End() or not log_agrees):
            # The topic was recreated; or retention removed all records, so the shared history is unknown.
            published, replay_end = 0, max(published, replay_end)
        continuations.append((published, min(replay_end, head)))
    return tuple(published for published, _ in continuations), tuple(end for _, end in continuations)


def keep_replay_end_ids(
    previous: RelayProgress, replays: Mapping[str, Sequence[int]]
) -> dict[str, tuple[str | None, ...]]:
    """Return the ids at the ends of those replays that end as before; None for the others."""
    return {
        output: tuple(
            previous.replay_end_id(output, shard) if end == previous.replay_end(output, shard) else None
            for shard, end in enumerate(ends)
        )
        for output, ends in replays.items()
    }


def _has_replay_end(output: str, previous: RelayProgress, shard: int, log_id: str | None) -> bool:
    """Return whether the log still has the row at the end of a replay; True if its id is not known."""
    return previous.replay_end_id(output, shard) in (None, log_id) or log_id == ARCHIVED


def count_replays(progress: RelayProgress, output: str) -> int:
    """Return how many records of an output will be sent as replays."""
    sequences = progress.sequences[output]
    return sum(max(progress.replay_end(output, shard) - sequences[shard], 0) for shard in progress.shards)


def _is_emptied(end: End, highest: int) -> bool:
    """Return whether a shard had records, of which retention left none."""
    return highest == 0 and not end.never_truncated
