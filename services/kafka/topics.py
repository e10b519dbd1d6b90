"""The service's topics: names, settings, creation and the check at start.

``python -m services.kafka.topics`` creates what is missing (KAFKA_BOOTSTRAP, TOPIC_PREFIX).
"""

import asyncio
from collections.abc import Mapping
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from services.config import KafkaSettings
from services.kafka.partitioning import SHARDS
from services.kafka.relay_progress import KEY, Progress

MIB = 1 << 20
ALREADY_EXISTS = 36
FOURTEEN_DAYS = str(14 * 24 * 3600 * 1000)

_OUTPUT = {"max.message.bytes": str(4 * MIB), "retention.ms": FOURTEEN_DAYS, "cleanup.policy": "delete"}

SETTINGS: Mapping[str, Mapping[str, str]] = {
    # uncompressed: the broker then refuses compression bombs. LogAppendTime: no producer sets the time of a record.
    "commands": {
        "compression.type": "uncompressed",
        "message.timestamp.type": "LogAppendTime",
        "max.message.bytes": str(MIB),
        "retention.ms": FOURTEEN_DAYS,
        "cleanup.policy": "delete",
    },
    "verdicts": _OUTPUT,
    "live-events": _OUTPUT,
    "caliper": _OUTPUT,
    "events": {**_OUTPUT, "retention.ms": "-1"},
    "dead-letters": _OUTPUT,
    # Small segments: only those that are full are compacted, and each transaction writes a record.
    "progress": {"cleanup.policy": "compact", "segment.bytes": str(16 * MIB)},
}


class WrongTopics(Exception):
    """Topics are missing or have other settings than the contract's; the message names each and the remedy."""


def topic(prefix: str, name: str) -> str:
    """Full name of a topic, e.g. ``moderation.commands``."""
    return f"{prefix}.{name}"


def partitions(name: str, shards: int = SHARDS) -> int:
    """How many partitions a topic has: one a shard; the relay's progress is one record in one partition."""
    return 1 if name == "progress" else shards


async def create(bootstrap: str, prefix: str, shards: int = SHARDS) -> list[str]:
    """Create the topics that are missing and return their names; write progress 0 where all of them are new.

    A progress topic that was lost while the others hold records stays empty: the relay then stops and names the
    remedies, rather than emit everything again.
    """
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    try:
        await admin.start()
        existing = set(await admin.list_topics())
        missing = [name for name in SETTINGS if topic(prefix, name) not in existing]
        wanted = [(topic(prefix, name), partitions(name, shards), SETTINGS[name]) for name in missing]
        await _make(bootstrap, admin, wanted)
    finally:
        await admin.close()
    if len(missing) == len(SETTINGS):
        await write_progress(bootstrap, prefix, Progress.start(shards))
    return [topic(prefix, name) for name in missing]


async def provide_output(bootstrap: str, full_name: str, shards: int = SHARDS) -> bool:
    """Create a topic of any name that is to hold what an output does, or check that it can; True if it was created.

    Raises:
        WrongTopics: it cannot be created, or exists and cannot hold that; with every finding.
    """
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    try:
        await admin.start()
        if full_name not in await admin.list_topics():
            await _make(bootstrap, admin, [(full_name, shards, _OUTPUT)])
            return True
        count = len((await admin.describe_topics([full_name]))[0]["partitions"])
        found = await _settings_of(admin, full_name)
    finally:
        await admin.close()
    findings = []
    if count < shards:
        findings.append(f"it has {count} partitions, fewer than {shards}")
    if found.get("cleanup.policy") != "delete":
        findings.append(f"cleanup.policy={found.get('cleanup.policy')} would remove records: it must be delete")
    if int(found.get("max.message.bytes", 0)) < 4 * MIB:
        findings.append(f"max.message.bytes={found.get('max.message.bytes')} is less than {4 * MIB}")
    if findings:
        raise WrongTopics(f"topic {full_name}: " + "; ".join(findings))
    return False


async def partition_count(bootstrap: str, full_name: str) -> int:
    """How many partitions a topic has; 0 if there is none of that name."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    try:
        await admin.start()
        if full_name not in await admin.list_topics():
            return 0
        return len((await admin.describe_topics([full_name]))[0]["partitions"])
    finally:
        await admin.close()


async def _make(bootstrap: str, admin: AIOKafkaAdminClient, wanted: list[tuple[str, int, Mapping[str, str]]]) -> None:
    """Create topics (full name, partitions, settings) and return when they can be used."""
    if not wanted:
        return
    brokers = len((await admin.describe_cluster())["brokers"])
    replicas = 3 if brokers >= 3 else 1
    common = {"unclean.leader.election.enable": "false", **({"min.insync.replicas": "2"} if replicas == 3 else {})}
    new = [NewTopic(name, count, replicas, topic_configs={**settings, **common}) for name, count, settings in wanted]
    response: Any = await admin.create_topics(new)
    failures = [f"{e[0]}: {e[2] or e[1]}" for e in response.topic_errors if e[1] not in (0, ALREADY_EXISTS)]
    if failures:
        raise WrongTopics("topics could not be created: " + "; ".join(failures))
    await _leaders(bootstrap, [TopicPartition(name, n) for name, count, _ in wanted for n in range(count)])


async def _leaders(bootstrap: str, places: list[TopicPartition]) -> None:
    """Return when the leader of every partition serves it; its name is known a little earlier than that."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, retry_backoff_ms=20)
    try:
        await consumer.start()
        await consumer.end_offsets(places)
    finally:
        await consumer.stop()


async def write_progress(bootstrap: str, prefix: str, progress: Progress) -> None:
    """Set the relay's progress; only while no relay is running, and for a new topic."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, enable_idempotence=True)
    try:
        await producer.start()
        await producer.send_and_wait(topic(prefix, "progress"), progress.encode(), key=KEY, partition=0)
    finally:
        await producer.stop()


async def check(bootstrap: str, prefix: str, shards: int = SHARDS) -> None:
    """Refuse to run on topics that are missing, have too few partitions or unsafe settings.

    Raises:
        WrongTopics: with every finding and its remedy.
    """
    findings = []
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap)
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    try:
        await consumer.start()
        await admin.start()
        existing = await consumer.topics()
        for name in SETTINGS:
            full = topic(prefix, name)
            if full not in existing:
                findings.append(f"topic {full} does not exist: run python -m services.kafka.topics")
                continue
            count = len((await admin.describe_topics([full]))[0]["partitions"])
            # More partitions of commands are no loss: order then holds within a partition, the log's shards stay.
            if count < partitions(name, shards) or (name == "progress" and count != 1):
                findings.append(f"topic {full} has {count} partitions, not {partitions(name, shards)}: make it again")
        commands = topic(prefix, "commands")
        if commands in existing:
            found = await _settings_of(admin, commands)
            for setting in ("compression.type", "message.timestamp.type", "cleanup.policy"):
                wanted = SETTINGS["commands"][setting]
                if found.get(setting) != wanted:
                    findings.append(f"topic {commands} has {setting}={found.get(setting)}: set it to {wanted}")
    finally:
        await admin.close()
        await consumer.stop()
    if findings:
        raise WrongTopics("; ".join(findings))


async def _settings_of(admin: AIOKafkaAdminClient, full_name: str) -> dict[str, str]:
    responses: Any = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, full_name)])
    return {entry[0]: entry[1] for response in responses for resource in response.resources for entry in resource[4]}


async def main() -> None:
    """Create what is missing and say what was created."""
    settings = KafkaSettings()
    for name in await create(settings.kafka_bootstrap, settings.topic_prefix):
        print(f"created {name}")


if __name__ == "__main__":
    asyncio.run(main())
