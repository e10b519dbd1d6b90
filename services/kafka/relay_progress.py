"""The relay's progress: the value of the records on its own topic."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from schemas.topics import OUTPUT_TOPICS
from services.kafka.partitioning import SHARD_COUNT

PROGRESS_KEY = b"relay"


@dataclass(frozen=True, slots=True)
class RelayProgress:
    """The last published sequence number of each shard, by topic (0: none), in ``sequences``.

    ``replays`` names the topics that are being filled again, with the sequence number of each shard up to which they
    had been filled before: up to there records carry ``replay: true``.
    """

    sequences: Mapping[str, tuple[int, ...]]
    replays: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    @classmethod
    def initial(cls, shard_count: int = SHARD_COUNT) -> "RelayProgress":
        """Return the progress of a relay that has published nothing."""
        return cls(dict.fromkeys(OUTPUT_TOPICS, (0,) * shard_count))

    def encode(self) -> bytes:
        """Encode as JSON, the value of the progress record."""
        return json.dumps({"sequences": self.sequences, "replays": self.replays}).encode()

    @classmethod
    def decode(cls, value: bytes) -> "RelayProgress":
        """Decode a progress record.

        A record of the first format names no topics of published grades: it counted these with the events.
        """
        fields = json.loads(value)
        if "positions" in fields:
            field_by_topic = {"events": "positions", "verdicts": "verdicts", "dead-letters": "dead_letters"}
            return cls({topic: tuple(fields[name]) for topic, name in field_by_topic.items()})
        return cls(*({topic: tuple(n) for topic, n in fields[name].items()} for name in ("sequences", "replays")))

    def replay_end(self, topic: str, shard: int) -> int:
        """Return the last sequence number that had been published before a replay of the topic; 0 without a replay."""
        return self.replays[topic][shard] if topic in self.replays else 0

    def is_replaying(self, topic: str, shard: int) -> bool:
        """Return whether the next record of the shard had been published before."""
        return self.sequences[topic][shard] < self.replay_end(topic, shard)
