"""The service's topics: names, settings, creation, and the check at startup."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from schemas.topics import MIB, OUTPUT_CONFIG, TOPICS, count_lanes
from services.kafka.client_options import client_options
from services.kafka.partitioning import SHARD_COUNT
from services.kafka.progress_topic import complete_progress, read_lanes
from services.kafka.relay_progress import RelayProgress
from services.kafka.topic_settings import (
    TopicDescription,
    build_topic_config,
    choose_replication,
    find_partition_problems,
    find_topic_problems,
)

TOPIC_ALREADY_EXISTS = 36
AUTHORIZATION_FAILED = 29
METADATA_SECONDS = 1.0


class TopicConfigError(Exception):
    """Topics are missing or have unsafe settings; the message lists each finding with its remedy."""


def full_topic_name(prefix: str, name: str) -> str:
    """Return the full name of a topic, e.g. ``moderation.commands``."""
    return f"{prefix}.{name}"


async def create_missing_topics(bootstrap: str, prefix: str, initial_progress: RelayProgress) -> list[str]:
    """Create the missing topics and return their full names. Write the initial progress of lanes that have none.

    Another tool may have created the topics, or an earlier call that did not end. Once another topic has held a record,
    or a lane has published, the progress stays as it is: the relay then stops and names the remedies instead of
    publishing everything again.
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
        # Not all that seemed to be missing: a topic that was created a moment ago may not be listed yet.
        created = await _create_topics(bootstrap, admin, new_topics)
    finally:
        await admin.close()
    if await _never_held_records(bootstrap, prefix):
        await complete_progress(bootstrap, full_topic_name(prefix, "progress"), initial_progress)
    return created


async def _never_held_records(bootstrap: str, prefix: str) -> bool:
    """Return whether no topic but that of the progress ever held a record."""
    full_names = [full_topic_name(prefix, name) for name in TOPICS if name != "progress"]
    consumer = AIOKafkaConsumer(*full_names, **client_options(bootstrap))
    try:
        await consumer.start()
        ends = await consumer.end_offsets(list(consumer.assignment()))
        return bool(ends) and not any(ends.values())
    finally:
        await consumer.stop()


async def ensure_replay_target(bootstrap: str, full_name: str, shard_count: int = SHARD_COUNT) -> bool:
    """Create a topic for the records of an output, or check an existing one. Return whether it was created.

    Raises:
        TopicConfigError: it cannot be created, or exists with settings that would lose records.
    """
    admin = AIOKafkaAdminClient(**client_options(bootstrap))
    try:
        await admin.start()
        if full_name not in await admin.list_topics():
            if await _create_topics(bootstrap, admin, [(full_name, shard_count, OUTPUT_CONFIG)]):
                return True
            # It was created a moment ago, and not every broker knows it yet.
            await asyncio.sleep(METADATA_SECONDS)
        count = len((await admin.describe_topics([full_name]))[0]["partitions"])
        config = (await _read_topic_configs(admin, [full_name]))[full_name]
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
    """Return the number of partitions of a topic; 0 if it does not exist."""
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
) -> list[str]:
    """Create topics (full name, partitions, settings), wait until they can be used, and return their full names.

    Topics that exist are left as they are, and not waited for: they may have fewer partitions.
    """
    if not topics:
        return []
    replication = await choose_replication(admin)
    new_topics = [
        NewTopic(name, count, replication.replicas, topic_configs=build_topic_config(settings, replication))
        for name, count, settings in topics
    ]
    response: Any = await admin.create_topics(new_topics)
    failures = [f"{e[0]}: {e[2] or e[1]}" for e in response.topic_errors if e[1] not in (0, TOPIC_ALREADY_EXISTS)]
    if failures:
        raise TopicConfigError("topics could not be created: " + "; ".join(failures))
    existing = {error[0] for error in response.topic_errors if error[1] == TOPIC_ALREADY_EXISTS}
    created = [(name, count) for name, count, _ in topics if name not in existing]
    if created:
        await _wait_for_leaders(bootstrap, [TopicPartition(name, n) for name, count in created for n in range(count)])
    return [name for name, _ in created]


async def _wait_for_leaders(bootstrap: str, topic_partitions: list[TopicPartition]) -> None:
    """Wait until the leader of every partition serves it; metadata names the leader earlier."""
    consumer = AIOKafkaConsumer(**client_options(bootstrap), retry_backoff_ms=20)
    try:
        await consumer.start()
        await consumer.end_offsets(topic_partitions)
    finally:
        await consumer.stop()


async def verify_topics(
    bootstrap: str, prefix: str, shard_count: int = SHARD_COUNT, installation_id: str | None = None
) -> None:
    """Check that all topics exist, have enough partitions and safe settings, and belong to this log (None: any log).

    Raises:
        TopicConfigError: a check failed; the message lists every finding with its remedy.
    """
    problems = await _find_problems(bootstrap, prefix, shard_count)
    if problems:
        # Not every broker knows topics that were just created, nor does a broker that has just started.
        await asyncio.sleep(METADATA_SECONDS)
        problems = await _find_problems(bootstrap, prefix, shard_count)
    if problems:
        raise TopicConfigError("; ".join(problems))
    if installation_id is not None:
        await verify_ownership(bootstrap, prefix, installation_id, shard_count)


async def _find_problems(bootstrap: str, prefix: str, shard_count: int) -> list[str]:
    admin = AIOKafkaAdminClient(**client_options(bootstrap))
    try:
        await admin.start()
        full_names = {name: full_topic_name(prefix, name) for name in TOPICS}
        descriptions = await _describe_topics(admin, full_names)
        replication = await choose_replication(admin, descriptions)
    finally:
        await admin.close()
    problems = []
    for name, full_name in full_names.items():
        if name not in descriptions:
            problems.append(f"topic {full_name} does not exist: run moderated-grading admin create-topics")
            continue
        count, expected_count = descriptions[name].partitions, TOPICS[name].partition_count(shard_count)
        problems += find_partition_problems(name, full_name, count, expected_count)
        problems += find_topic_problems(full_name, TOPICS[name], descriptions[name], replication)
    return problems


async def _describe_topics(admin: AIOKafkaAdminClient, full_names: Mapping[str, str]) -> dict[str, TopicDescription]:
    """Describe the topics that exist, by name without prefix.

    Raises:
        TopicConfigError: this login is not allowed to read a topic's settings.
    """
    # All topics in one request: a request that names a missing topic may create it.
    partitions = {topic["topic"]: topic["partitions"] for topic in await admin.describe_topics()}
    existing = {name: full_name for name, full_name in full_names.items() if partitions.get(full_name)}
    configs = await _read_topic_configs(admin, list(existing.values()))
    return {
        name: TopicDescription(
            len(partitions[full_name]),
            min(len(partition["replicas"]) for partition in partitions[full_name]),
            configs[full_name],
        )
        for name, full_name in existing.items()
    }


async def verify_ownership(bootstrap: str, prefix: str, installation_id: str, shard_count: int) -> None:
    """Check the installation in the progress records; skip lanes without a record.

    Raises:
        TopicConfigError: the topics belong to another log.
    """
    stored = await read_lanes(bootstrap, full_topic_name(prefix, "progress"), range(count_lanes(shard_count)))
    for progress in stored.values():
        if progress.installation != installation_id:
            raise TopicConfigError(describe_other_installation(prefix, progress.installation, installation_id))


def describe_other_installation(prefix: str, found: str, expected: str) -> str:
    """Return the error message for topics that belong to another log, with the remedy."""
    return (
        f"the topics of prefix {prefix} belong to another log (installation {found}, and this database is installation"
        f" {expected}); nothing was published or decided. Set DATABASE_URL to the log that they belong to; or, for this"
        " log, set a TOPIC_PREFIX of its own and run: moderated-grading admin create-topics"
    )


async def _read_topic_configs(admin: AIOKafkaAdminClient, full_names: Sequence[str]) -> dict[str, dict[str, str]]:
    if not full_names:
        return {}
    responses: Any = await admin.describe_configs(
        [ConfigResource(ConfigResourceType.TOPIC, full_name) for full_name in full_names]
    )
    configs = {}
    for error_code, _, _, full_name, entries, *_ in (found for answer in responses for found in answer.resources):
        if error_code == AUTHORIZATION_FAILED:
            raise TopicConfigError(f"the settings of {full_name} are unknown: grant DescribeConfigs to this login")
        configs[full_name] = {entry[0]: entry[1] for entry in entries}
    return configs
