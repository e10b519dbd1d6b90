"""The service's topics: names, settings, creation and the check at start."""

from collections.abc import Mapping
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from schemas.topics import MIB, OUTPUT_CONFIG, TOPICS, count_lanes
from services.kafka.client_options import client_options
from services.kafka.partitioning import SHARD_COUNT
from services.kafka.progress_topic import read_lanes, write_progress
from services.kafka.relay_progress import RelayProgress

TOPIC_ALREADY_EXISTS = 36


class TopicConfigError(Exception):
    """Topics are missing or have unsafe settings; the message names each finding and its remedy."""


def full_topic_name(prefix: str, name: str) -> str:
    """Return the full name of a topic, e.g. ``moderation.commands``."""
    return f"{prefix}.{name}"


async def create_missing_topics(bootstrap: str, prefix: str, initial_progress: RelayProgress) -> list[str]:
    """Create the missing topics and return their full names. If all are new, write the relay's initial progress.

    A lost progress topic stays empty while the others hold records: the relay then stops and names the remedies instead
    of publishing everything again.
    """
    shard_count = len(initial_progress.shards)
    admin = AIOKafkaAdminClient(**client_options(bootstrap))
    try:
        await admin.start()
        existing = set(await admin.list_topics())
        missing = [name for name in TOPICS if full_topic_name(prefix, name) not in existing]
        new_topics = [
            (full_topic_name(prefix, name), TOPICS[name].partition_count(shard_count), TOPICS[name].config)
            for name in missing
        ]
        await _create_topics(bootstrap, admin, new_topics)
    finally:
        await admin.close()
    if len(missing) == len(TOPICS):
        await write_progress(bootstrap, full_topic_name(prefix, "progress"), initial_progress)
    return [full_topic_name(prefix, name) for name in missing]


async def ensure_replay_target(bootstrap: str, full_name: str, shard_count: int = SHARD_COUNT) -> bool:
    """Create a topic for the records of an output, or check an existing one. Returns whether it was created.

    Raises:
        TopicConfigError: it cannot be created, or exists with settings that would lose records.
    """
    admin = AIOKafkaAdminClient(**client_options(bootstrap))
    try:
        await admin.start()
        if full_name not in await admin.list_topics():
            await _create_topics(bootstrap, admin, [(full_name, shard_count, OUTPUT_CONFIG)])
            return True
        count = len((await admin.describe_topics([full_name]))[0]["partitions"])
        config = await _read_topic_config(admin, full_name)
    finally:
        await admin.close()
    findings = []
    if count < shard_count:
        findings.append(f"it has {count} partitions, fewer than {shard_count}")
    if config.get("cleanup.policy") != "delete":
        findings.append(f"cleanup.policy={config.get('cleanup.policy')} would remove records: it must be delete")
    if int(config.get("max.message.bytes", 0)) < 4 * MIB:
        findings.append(f"max.message.bytes={config.get('max.message.bytes')} is less than {4 * MIB}")
    if findings:
        raise TopicConfigError(f"topic {full_name}: " + "; ".join(findings))
    return False


async def read_partition_count(bootstrap: str, full_name: str) -> int:
    """Return how many partitions a topic has; 0 if it does not exist."""
    admin = AIOKafkaAdminClient(**client_options(bootstrap))
    try:
        await admin.start()
        if full_name not in await admin.list_topics():
            return 0
        return len((await admin.describe_topics([full_name]))[0]["partitions"])
    finally:
        await admin.close()


async def _create_topics(
    bootstrap: str, admin: AIOKafkaAdminClient, topics: list[tuple[str, int, Mapping[str, str]]]
) -> None:
    """Create topics (full name, partitions, settings) and wait until they can be used."""
    if not topics:
        return
    brokers = len((await admin.describe_cluster())["brokers"])
    replicas = 3 if brokers >= 3 else 1
    common_configs = {
        "unclean.leader.election.enable": "false",
        **({"min.insync.replicas": "2"} if replicas == 3 else {}),
    }
    new_topics = [
        NewTopic(name, count, replicas, topic_configs={**settings, **common_configs})
        for name, count, settings in topics
    ]
    response: Any = await admin.create_topics(new_topics)
    failures = [f"{e[0]}: {e[2] or e[1]}" for e in response.topic_errors if e[1] not in (0, TOPIC_ALREADY_EXISTS)]
    if failures:
        raise TopicConfigError("topics could not be created: " + "; ".join(failures))
    await _wait_for_leaders(bootstrap, [TopicPartition(name, n) for name, count, _ in topics for n in range(count)])


async def _wait_for_leaders(bootstrap: str, topic_partitions: list[TopicPartition]) -> None:
    """Wait until the leader of every partition serves it, which is later than metadata names the leader."""
    consumer = AIOKafkaConsumer(**client_options(bootstrap), retry_backoff_ms=20)
    try:
        await consumer.start()
        await consumer.end_offsets(topic_partitions)
    finally:
        await consumer.stop()


async def verify_topics(
    bootstrap: str, prefix: str, shard_count: int = SHARD_COUNT, installation_id: str | None = None
) -> None:
    """Check that all topics exist, with enough partitions and safe settings, and belong to this log (None: to any).

    Raises:
        TopicConfigError: with every finding and its remedy.
    """
    findings = []
    consumer = AIOKafkaConsumer(**client_options(bootstrap))
    admin = AIOKafkaAdminClient(**client_options(bootstrap))
    try:
        await consumer.start()
        await admin.start()
        existing = await consumer.topics()
        for name in TOPICS:
            full_name = full_topic_name(prefix, name)
            if full_name not in existing:
                findings.append(f"topic {full_name} does not exist: run moderated-grading admin create-topics")
                continue
            count = len((await admin.describe_topics([full_name]))[0]["partitions"])
            expected_count = TOPICS[name].partition_count(shard_count)
            # More partitions of commands are safe: order holds within a partition, and shards do not change.
            if count < expected_count or (name == "progress" and count != expected_count):
                findings.append(f"topic {full_name} has {count} partitions, not {expected_count}: make it again")
        commands_topic = full_topic_name(prefix, "commands")
        if commands_topic in existing:
            config = await _read_topic_config(admin, commands_topic)
            for setting in ("compression.type", "message.timestamp.type", "cleanup.policy"):
                expected = TOPICS["commands"].config[setting]
                if config.get(setting) != expected:
                    findings.append(f"topic {commands_topic} has {setting}={config.get(setting)}: set it to {expected}")
    finally:
        await admin.close()
        await consumer.stop()
    if findings:
        raise TopicConfigError("; ".join(findings))
    if installation_id is not None:
        await _verify_ownership(bootstrap, prefix, installation_id, shard_count)


async def _verify_ownership(bootstrap: str, prefix: str, installation_id: str, shard_count: int) -> None:
    """Check the progress records; a lane without one is not judged."""
    stored = await read_lanes(bootstrap, full_topic_name(prefix, "progress"), range(count_lanes(shard_count)))
    for progress in stored.values():
        if progress.installation != installation_id:
            raise TopicConfigError(describe_other_installation(prefix, progress.installation, installation_id))


def describe_other_installation(prefix: str, found: str, expected: str) -> str:
    """Say that the topics belong to another log, and what to do."""
    return (
        f"the topics of prefix {prefix} belong to another log (installation {found}, and this database is installation"
        f" {expected}); nothing was published or decided. Set DATABASE_URL to the log that they belong to; or, for this"
        " log, set a TOPIC_PREFIX of its own and run: moderated-grading admin create-topics"
    )


async def _read_topic_config(admin: AIOKafkaAdminClient, full_name: str) -> dict[str, str]:
    responses: Any = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, full_name)])
    return {entry[0]: entry[1] for response in responses for resource in response.resources for entry in resource[4]}
