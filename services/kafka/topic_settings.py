"""The settings that each topic must have, so that no acknowledged record is lost."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from aiokafka.admin import AIOKafkaAdminClient

from schemas.topics import Topic
from services.config.kafka import TopicConfigSettings
from services.kafka.quorum import count_quorum_nodes

DAY_MS = 24 * 3600 * 1000


class Replication(NamedTuple):
    """``replicas`` of each partition, of which ``min_insync`` must have a record before it is acknowledged."""

    replicas: int
    min_insync: int


SINGLE_BROKER = Replication(1, 1)


@dataclass(frozen=True, slots=True)
class TopicDescription:
    """An existing topic; ``replicas`` of the partition with the fewest; ``config``: settings in effect."""

    partitions: int
    replicas: int
    config: Mapping[str, str]


async def choose_replication(
    admin: AIOKafkaAdminClient, existing: Mapping[str, TopicDescription] | None = None
) -> Replication:
    """Return the required replication: one replica only if the cluster's own quorum consists of one node.

    Reads the quorum only if it matters: for new topics (``existing`` is None), and for existing ones whose replication
    fits only a single broker.

    Raises:
        KafkaError: Kafka does not answer.
    """
    replicas = TopicConfigSettings().topic_replication_factor
    may_be_single = replicas is None and (existing is None or is_weakly_replicated(existing))
    if may_be_single and await count_quorum_nodes(admin) == 1:
        return SINGLE_BROKER
    return Replication(replicas or 3, 2)


def build_topic_config(topic_config: Mapping[str, str], replication: Replication) -> dict[str, str]:
    """Return the settings that a topic is created with."""
    config = {
        **topic_config,
        "unclean.leader.election.enable": "false",
        "min.insync.replicas": str(replication.min_insync),
    }
    if "retention.ms" in config:
        config["retention.ms"] = str(_get_retention_ms())
    return config


def find_partition_problems(name: str, full_name: str, count: int, expected_count: int) -> list[str]:
    """Return the number of partitions of a topic if the service cannot work with it, with the remedy.

    More partitions than shards are safe: order holds within a partition, and shards do not change.
    """
    if count == expected_count or (count > expected_count and name != "progress"):
        return []
    remedy = describe_partition_remedy(name, full_name, expected_count)
    return [f"topic {full_name} has {count} partitions, not {expected_count}: {remedy}"]


def describe_partition_remedy(name: str, full_name: str, expected_count: int) -> str:
    """Return how a topic gets its number of partitions.

    Only the progress topic may be deleted: the outputs tell the relay how far it came. Every other topic may hold what
    nothing restores, such as acknowledged commands that no handler has decided.
    """
    if name == "progress":
        return "stop the relays, delete it, and run moderated-grading admin create-topics"
    remedy = f"add partitions with kafka-topics --alter --topic {full_name} --partitions {expected_count}"
    if name != "commands":
        return remedy
    return (
        f"{remedy}; its commands stay. If it was recreated, then stop all handlers, run moderated-grading admin"
        ' accept-recreated-topic "why", and start them: they decide what waits on it'
    )


def find_topic_problems(
    full_name: str, topic: Topic, description: TopicDescription, replication: Replication
) -> list[str]:
    """Return the settings of a topic that could lose records, each with its remedy."""
    problems = []
    if description.replicas < replication.replicas:
        problems.append(
            f"topic {full_name} has partitions with {description.replicas} replicas, not {replication.replicas}: give"
            " each partition as many with kafka-reassign-partitions, or delete the topic while it is empty and run"
            " moderated-grading admin create-topics"
        )
    expected_config = build_topic_config(topic.config, replication)
    for setting, expected in expected_config.items():
        actual = description.config.get(setting)
        if not _is_safe(setting, actual, expected):
            problems.append(
                f"topic {full_name} has {setting}={actual}: set it to {expected} with kafka-configs --alter --topic"
                f" {full_name} --add-config {setting}={expected}"
            )
    size = description.config.get("retention.bytes", "-1")
    if size != "-1":
        problems.append(
            f"topic {full_name} has retention.bytes={size}, which removes records before their time: set it to -1 with"
            f" kafka-configs --alter --topic {full_name} --add-config retention.bytes=-1"
        )
    return problems


def _is_safe(setting: str, actual: str | None, expected: str) -> bool:
    match setting:
        case "segment.bytes":
            return True  # It only costs space.
        case "retention.ms":
            return actual is not None and (actual == "-1" or int(actual) >= int(expected))
        case "max.message.bytes" | "min.insync.replicas":
            return actual is not None and int(actual) >= int(expected)
        case _:
            return actual == expected


def _get_retention_ms() -> int:
    return TopicConfigSettings().topic_retention_days * DAY_MS


def is_weakly_replicated(descriptions: Mapping[str, TopicDescription]) -> bool:
    """Return whether the replication of a topic fits only a cluster of one broker."""
    return any(
        found.replicas < 3 or int(found.config.get("min.insync.replicas", 0)) < 2 for found in descriptions.values()
    )
