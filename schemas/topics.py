"""The topics: one table of names, settings and descriptions.

``services.kafka.topics`` creates and checks topics by this table, and the AsyncAPI document shows it. Names have no
prefix.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

DEFAULT_SHARD_COUNT = 12
LANES_MAX = 4
MIB = 1 << 20
FORTNIGHT_MS = 14 * 24 * 3600 * 1000


@dataclass(frozen=True, slots=True)
class Topic:
    """``config``: Kafka's topic settings; ``partitioned_by``: one partition per shard of the log, or per lane."""

    title: str
    description: str
    config: Mapping[str, str]
    partitioned_by: Literal["shard", "lane"] = "shard"

    def partition_count(self, shard_count: int = DEFAULT_SHARD_COUNT) -> int:
        """Return the number of partitions that the topic is created with."""
        return shard_count if self.partitioned_by == "shard" else count_lanes(shard_count)


def count_lanes(shard_count: int = DEFAULT_SHARD_COUNT) -> int:
    """Return the number of lanes: parts of the relay's work, each done by one relay at a time."""
    return min(LANES_MAX, shard_count)


OUTPUT_CONFIG: Mapping[str, str] = {
    "cleanup.policy": "delete",
    "retention.ms": str(FORTNIGHT_MS),
    "max.message.bytes": str(4 * MIB),
}
"""Settings of the topics that the relay fills, and of the target topics of replays."""

TOPICS: Mapping[str, Topic] = {
    "commands": Topic(
        "Commands",
        "Facts from the LMS, and moderation commands. Commands of a course are decided in their order on the topic.",
        {
            "cleanup.policy": "delete",
            "retention.ms": str(FORTNIGHT_MS),
            "max.message.bytes": str(MIB),
            # Protects against compression bombs, and against producers that choose the time of a record.
            "compression.type": "uncompressed",
            "message.timestamp.type": "LogAppendTime",
        },
    ),
    "verdicts": Topic(
        "Verdicts",
        "Exactly one verdict for every command record that has a readable `command_id`.",
        OUTPUT_CONFIG,
    ),
    "live-events": Topic(
        "Live events",
        "Published grades as Canvas Live Events. Validate openly: a later version may send more keys.",
        OUTPUT_CONFIG,
    ),
    "caliper": Topic("Caliper", "The same grades, with the same numbers, as IMS Caliper 1.1 envelopes.", OUTPUT_CONFIG),
    "events": Topic(
        "Domain events",
        "Everything that happened, for integrators and auditors. A replay restores records that retention has removed.",
        # Not kept longer than the others: an erased person must disappear from the topics too.
        OUTPUT_CONFIG,
    ),
    "dead-letters": Topic(
        "Dead letters",
        "Records without a readable command id, byte for byte, with the reason in headers.",
        OUTPUT_CONFIG,
    ),
    "progress": Topic(
        "Progress",
        "The progress of each lane of the relay. Internal; not for consumers.",
        # Each transaction writes a record, and only full segments are compacted: keep them small.
        {"cleanup.policy": "compact", "segment.bytes": str(16 * MIB)},
        partitioned_by="lane",
    ),
}
OUTPUT_TOPICS = tuple(name for name in TOPICS if name not in ("commands", "progress"))
"""The topics that the relay fills."""
