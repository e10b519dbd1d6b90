"""How far a consumer group is behind on a topic, from its committed offsets and the bounds of the partitions."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from aiokafka import TopicPartition


class PartitionBounds(NamedTuple):
    """Offsets of a partition. ``readable_end``: what follows it is hidden by an open transaction; ``end``: of all."""

    beginning: int
    readable_end: int
    end: int


@dataclass(frozen=True, slots=True)
class GroupLag:
    """How far a group is behind on a topic.

    Attributes:
        topic: Full name.
        lag: Records that it has not committed, an upper bound: it counts the markers between transactions too. None if
            it has committed no offset that the topic has.
        without_offset: Partitions without a committed offset, where others have one.
        lost: It has not read records that retention has removed.
        beyond_end: Partitions with an offset beyond their end: the topic was created again or lost its last records,
            and the group reads nothing until the end has passed its offset, or restarts where its settings say.
        state: Kafka's name, such as Stable or Empty; None if the broker does not say.
        members: Consumers in the group, None if the broker does not say.
    """

    group: str
    topic: str
    lag: int | None
    without_offset: int
    lost: bool
    beyond_end: int
    state: str | None
    members: int | None


def build_lag(
    group: str,
    topic: str,
    bounds: Mapping[TopicPartition, PartitionBounds],
    offsets: Mapping[TopicPartition, int],
    state: str | None,
    members: int | None,
) -> GroupLag:
    """Compare a group's offsets with the bounds of each partition of a topic, which were read after the offsets.

    The last offset before an end is a transaction's marker, because the relay writes only in transactions: a group that
    has read everything may have committed the offset before it.
    """
    committed = {place: offsets[place] for place in bounds if place in offsets}
    known = {place: offset for place, offset in committed.items() if offset <= bounds[place].end}
    lag = sum(
        max(bounds[place].readable_end - max(offset, bounds[place].beginning) - 1, 0) for place, offset in known.items()
    )
    unread = [place for place, (beginning, _, end) in bounds.items() if place not in committed and beginning < end]
    return GroupLag(
        group,
        topic,
        lag if known else None,
        len(unread) if committed else 0,
        any(offset < bounds[place].beginning for place, offset in known.items()),
        len(committed) - len(known),
        state,
        members,
    )
