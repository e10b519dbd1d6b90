"""How far the relay has come, as its own topic keeps it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from schemas.topics import OUTPUT_TOPICS
from services.kafka.partitioning import SHARD_COUNT

PROGRESS_KEY = b"relay"


@dataclass(frozen=True, slots=True)
class RelayProgress:
    """``sequences``: by topic, the last number of each shard that is on it (0: none).

    ``replays``: by topic that is filled again, the number of each shard up to which it had been filled before: so far
    its records are emitted with ``replay: true``. Topics that are not named were never rewound, or have caught up.
    """

    sequences: Mapping[str, tuple[int, ...]]
    replays: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    @classmethod
    def initial(cls, shard_count: int = SHARD_COUNT) -> "RelayProgress":
        """Nothing relayed yet."""
        return cls(dict.fromkeys(OUTPUT_TOPICS, (0,) * shard_count))

    def encode(self) -> bytes:
        """JSON, the value of the progress record."""
        return json.dumps({"sequences": self.sequences, "replays": self.replays}).encode()

    @classmethod
    def decode(cls, value: bytes) -> "RelayProgress":
        """The reverse of :meth:`encode`.

        Of a record of the first form the topics of published grades are not named: it counted them with the events.
        """
        fields = json.loads(value)
        if "positions" in fields:
            field_by_topic = {"events": "positions", "verdicts": "verdicts", "dead-letters": "dead_letters"}
            return cls({topic: tuple(fields[name]) for topic, name in field_by_topic.items()})
        return cls(*({topic: tuple(n) for topic, n in fields[name].items()} for name in ("sequences", "replays")))

    def replay_end(self, topic: str, shard: int) -> int:
        """The last number that had been on the topic before it is filled again; 0 if it is not."""
        return self.replays[topic][shard] if topic in self.replays else 0

    def is_replaying(self, topic: str, shard: int) -> bool:
        """Whether what is emitted next had been emitted before."""
        return self.sequences[topic][shard] < self.replay_end(topic, shard)
