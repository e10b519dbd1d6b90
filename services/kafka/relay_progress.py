"""The relay's progress: the values of the records on its own topic.

The relay's work is divided into *lanes*, fixed sets of shards, so that several relays can share it. Each lane has a
partition of the progress topic, written only by the producer with the lane's transactional id: an open transaction of
another lane cannot hide a lane's last record from its next reader.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from schemas.topics import OUTPUT_TOPICS, count_lanes
from services.kafka.partitioning import SHARD_COUNT


def list_lane_shards(lane: int, shard_count: int = SHARD_COUNT) -> tuple[int, ...]:
    """Return the shards of a lane."""
    return tuple(range(lane, shard_count, count_lanes(shard_count)))


def progress_key(lane: int) -> bytes:
    """Return the key of a lane's progress records."""
    return f"lane-{lane}".encode()


@dataclass(frozen=True, slots=True)
class RelayProgress:
    """The progress of one or several lanes; ``shards`` lists their shards.

    ``sequences``: the last published sequence number of each shard, by topic (0: none). ``last_ids``: the id of that
    record, None if nothing was published or the id is not known. ``replays`` names the topics that are being
    replayed, with the last sequence number of each shard that had been published before: up to it, records carry
    ``replay: true``. ``replay_end_ids``: the ids of the log's rows at these ends, None if not known. All four are
    indexed by shard; shards of other lanes have 0 or None.

    ``installation`` is the id of the log that the topics belong to.
    """

    sequences: Mapping[str, tuple[int, ...]]
    replays: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    last_ids: Mapping[str, tuple[str | None, ...]] = field(default_factory=dict)
    shards: tuple[int, ...] = tuple(range(SHARD_COUNT))
    installation: str = ""
    replay_end_ids: Mapping[str, tuple[str | None, ...]] = field(default_factory=dict)

    @classmethod
    def initial(
        cls, installation: str, shard_count: int = SHARD_COUNT, replays: Mapping[str, tuple[int, ...]] | None = None
    ) -> "RelayProgress":
        """Return the progress of a relay that has published nothing to its topics, for all shards."""
        sequences = dict.fromkeys(OUTPUT_TOPICS, (0,) * shard_count)
        return cls(sequences, replays or {}, shards=tuple(range(shard_count)), installation=installation)

    @classmethod
    def merge(cls, lanes: Iterable["RelayProgress"]) -> "RelayProgress":
        """Merge the progress of several lanes of one relay. Raises ValueError if there are none."""
        first, *others = lanes
        merged = first
        for other in others:
            merged = replace(
                merged,
                sequences=_add_numbers(merged.sequences, other.sequences),
                replays=_add_numbers(merged.replays, other.replays),
                last_ids=_join_ids(merged.last_ids, other.last_ids),
                replay_end_ids=_join_ids(merged.replay_end_ids, other.replay_end_ids),
                shards=tuple(sorted({*merged.shards, *other.shards})),
            )
        return merged

    def restrict(self, shards: Sequence[int]) -> "RelayProgress":
        """Return the progress of these shards only."""
        kept = set(shards)

        def restrict_numbers(numbers: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
            restricted = {
                topic: tuple(number if shard in kept else 0 for shard, number in enumerate(by_shard))
                for topic, by_shard in numbers.items()
            }
            return {
                topic: by_shard for topic, by_shard in restricted.items() if numbers is self.sequences or any(by_shard)
            }

        def restrict_ids(ids: Mapping[str, tuple[str | None, ...]]) -> dict[str, tuple[str | None, ...]]:
            return {
                topic: tuple(record_id if shard in kept else None for shard, record_id in enumerate(by_shard))
                for topic, by_shard in ids.items()
            }

        return replace(
            self,
            sequences=restrict_numbers(self.sequences),
            replays=restrict_numbers(self.replays),
            last_ids=restrict_ids(self.last_ids),
            replay_end_ids=restrict_ids(self.replay_end_ids),
            shards=tuple(shards),
        )

    @property
    def has_published(self) -> bool:
        """Whether anything was published since the topics were new, or since the relay began again."""
        return any(any(by_shard) for by_shard in self.sequences.values())

    def encode(self) -> bytes:
        """Encode as JSON, the value of the progress record."""
        fields = {
            "installation": self.installation,
            "shards": self.shards,
            "sequences": self.sequences,
            "replays": self.replays,
            "last_ids": self.last_ids,
            "replay_end_ids": self.replay_end_ids,
        }
        return json.dumps(fields).encode()

    @classmethod
    def decode(cls, value: bytes) -> "RelayProgress":
        """Decode a progress record; earlier relays, which may run during an upgrade, write no ``replay_end_ids``."""
        fields = {"replay_end_ids": {}, **json.loads(value)}
        sequences, replays, last_ids, replay_end_ids = (
            {topic: tuple(by_shard) for topic, by_shard in fields[name].items()}
            for name in ("sequences", "replays", "last_ids", "replay_end_ids")
        )
        return cls(sequences, replays, last_ids, tuple(fields["shards"]), fields["installation"], replay_end_ids)

    def replay_end(self, topic: str, shard: int) -> int:
        """Return the last sequence number that had been published before a replay of the topic; 0 without a replay."""
        return self.replays[topic][shard] if topic in self.replays else 0

    def is_replaying(self, topic: str, shard: int) -> bool:
        """Return whether the next record of the shard was already published before the replay."""
        return self.sequences[topic][shard] < self.replay_end(topic, shard)

    def last_id(self, topic: str, shard: int) -> str | None:
        """Return the id of the last published record of a shard; None if it is not known."""
        return self.last_ids[topic][shard] if topic in self.last_ids else None

    def replay_end_id(self, topic: str, shard: int) -> str | None:
        """Return the id of the log's row at the end of a replay; None if it is not known."""
        return self.replay_end_ids[topic][shard] if topic in self.replay_end_ids else None


def _add_numbers(
    left: Mapping[str, tuple[int, ...]], right: Mapping[str, tuple[int, ...]]
) -> dict[str, tuple[int, ...]]:
    return {
        topic: tuple(map(sum, zip(left[topic], right[topic], strict=True)))
        if topic in left and topic in right
        else (left.get(topic) or right[topic])
        for topic in {**left, **right}
    }


def _join_ids(
    left: Mapping[str, tuple[str | None, ...]], right: Mapping[str, tuple[str | None, ...]]
) -> dict[str, tuple[str | None, ...]]:
    return {
        topic: tuple(first or second for first, second in zip(left[topic], right[topic], strict=True))
        if topic in left and topic in right
        else (left.get(topic) or right[topic])
        for topic in {**left, **right}
    }
