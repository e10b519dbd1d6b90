"""Topics created by ``moderated-grading admin create-topics`` can be used at once; unsafe ones are refused."""

import asyncio
import logging
from dataclasses import replace

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from schemas.topics import LANES_MAX, TOPICS
from services.kafka import topics
from services.kafka.client_options import client_options
from services.kafka.progress_topic import read_lanes, read_progress
from services.kafka.relay_progress import RelayProgress, list_lane_shards, progress_key
from tests.fixtures.process_runner import wait_until
from tests.fixtures.system import RUN_NUMBERS, RUN_PREFIX


async def create_topics_without_progress(bootstrap: str, prefix: str) -> None:
    admin = AIOKafkaAdminClient(**client_options(bootstrap))
    await admin.start()
    await admin.create_topics(
        [NewTopic(topics.full_topic_name(prefix, name), topic.partition_count(), 1) for name, topic in TOPICS.items()]
    )
    await admin.close()


async def send(bootstrap: str, full_name: str, value: bytes, partition: int, key: bytes | None = None) -> None:
    producer = AIOKafkaProducer(**client_options(bootstrap))
    await producer.start()
    await producer.send_and_wait(full_name, value, key=key, partition=partition)
    await producer.stop()


async def test_new_topics_accept_records_immediately(bootstrap: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "aiokafka")
    topic_names = await topics.create_missing_topics(
        bootstrap, f"{RUN_PREFIX}-made", RelayProgress.initial("an installation")
    )
    # Ignore aiokafka's messages while the creation waits for the brokers.
    caplog.clear()
    producer = AIOKafkaProducer(**client_options(bootstrap))
    await producer.start()
    try:
        partitions = [
            (name, number) for name in topic_names for number in range(TOPICS[name.rsplit(".", 1)[1]].partition_count())
        ]
        sent = [await producer.send(name, b"{}", b"key", partition=number) for name, number in partitions]
        await asyncio.gather(*sent)
    finally:
        await producer.stop()
    assert len(partitions) == 6 * 12 + 4
    assert caplog.messages == []


async def test_one_replica_is_accepted_only_if_the_quorum_is_one_broker(
    bootstrap: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefix = f"{RUN_PREFIX}-replicated"
    progress = RelayProgress.initial("an installation")
    monkeypatch.setenv("TOPIC_REPLICATION_FACTOR", "3")
    with pytest.raises(topics.TopicConfigError, match="could not be created"):
        await topics.create_missing_topics(bootstrap, prefix, progress)

    monkeypatch.delenv("TOPIC_REPLICATION_FACTOR")
    assert len(await topics.create_missing_topics(bootstrap, prefix, progress)) == len(TOPICS)
    await topics.verify_topics(bootstrap, prefix)
    monkeypatch.setenv("TOPIC_REPLICATION_FACTOR", "3")
    with pytest.raises(topics.TopicConfigError, match="has partitions with 1 replicas, not 3"):
        await topics.verify_topics(bootstrap, prefix)


async def test_topics_of_another_log_are_refused(bootstrap: str) -> None:
    prefix = f"{RUN_PREFIX}-owned"
    await topics.create_missing_topics(bootstrap, prefix, RelayProgress.initial("the original"))

    await topics.verify_topics(bootstrap, prefix, installation_id="the original")
    with pytest.raises(topics.TopicConfigError, match="belong to another log"):
        await topics.verify_topics(bootstrap, prefix, installation_id="the copy")


async def test_a_topic_whose_settings_lose_records_is_refused(bootstrap: str) -> None:
    prefix = f"{RUN_PREFIX}-settings"
    await topics.create_missing_topics(bootstrap, prefix, RelayProgress.initial("an installation"))
    admin = AIOKafkaAdminClient(**client_options(bootstrap))
    await admin.start()
    name = topics.full_topic_name(prefix, "live-events")
    await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, {"cleanup.policy": "compact"})])
    await admin.close()

    async def is_refused() -> bool:
        try:
            await topics.verify_topics(bootstrap, prefix)
        except topics.TopicConfigError as error:
            return f"{name} has cleanup.policy=compact: set it to delete" in str(error)
        return False

    # A broker applies a new setting a moment after it was accepted.
    await wait_until(is_refused, "the topic with the setting is refused")


async def test_topics_that_another_tool_created_get_the_initial_progress_once(bootstrap: str) -> None:
    prefix = f"{RUN_PREFIX}-others"
    progress = RelayProgress.initial("an installation")
    progress_topic = topics.full_topic_name(prefix, "progress")
    await create_topics_without_progress(bootstrap, prefix)

    for _ in range(2):
        assert await topics.create_missing_topics(bootstrap, prefix, progress) == []
        assert await read_progress(bootstrap, progress_topic) == progress
    consumer = AIOKafkaConsumer(**client_options(bootstrap))
    await consumer.start()
    ends = await consumer.end_offsets([TopicPartition(progress_topic, lane) for lane in range(LANES_MAX)])
    await consumer.stop()
    assert set(ends.values()) == {1}


@pytest.mark.parametrize(
    ("used_topic", "stored_installation", "published", "is_completed"),
    [
        (None, "an installation", 0, True),
        (None, "another", 0, False),
        (None, "an installation", 3, False),
        ("commands", "an installation", 0, False),
        ("dead-letters", "an installation", 0, False),
    ],
    ids=[
        "unused topics",
        "topics of another log",
        "records were published on topics of the same names",
        "commands were sent",
        "records were published",
    ],
)
async def test_repeated_creation_completes_progress_that_was_stored_in_part(
    bootstrap: str, used_topic: str | None, stored_installation: str, published: int, is_completed: bool
) -> None:
    prefix = f"{RUN_PREFIX}-partly-{next(RUN_NUMBERS)}"
    await create_topics_without_progress(bootstrap, prefix)
    progress, progress_topic = RelayProgress.initial("an installation"), topics.full_topic_name(prefix, "progress")
    initial = RelayProgress.initial(stored_installation, replays={"events": (7,) * 12})
    sequences = {**initial.sequences, "events": (published,) * 12}
    stored = replace(initial, sequences=sequences).restrict(list_lane_shards(0))
    await send(bootstrap, progress_topic, stored.encode(), 0, progress_key(0))
    if used_topic is not None:
        await send(bootstrap, topics.full_topic_name(prefix, used_topic), b"{}", 5)

    await topics.create_missing_topics(bootstrap, prefix, progress)

    lanes = await read_lanes(bootstrap, progress_topic, range(LANES_MAX))
    assert lanes[0] == stored, "what is stored stays"
    completed = {lane: progress.restrict(list_lane_shards(lane)) for lane in range(1, LANES_MAX)}
    assert {lane: found for lane, found in lanes.items() if lane} == (completed if is_completed else {})


async def test_topics_that_are_not_listed_yet_keep_their_progress(
    bootstrap: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefix = f"{RUN_PREFIX}-unlisted"
    progress_topic = topics.full_topic_name(prefix, "progress")
    await topics.create_missing_topics(bootstrap, prefix, RelayProgress.initial("an installation"))
    await send(bootstrap, topics.full_topic_name(prefix, "verdicts"), b"published", 0)

    async def list_nothing(_admin: AIOKafkaAdminClient) -> list[str]:
        return []

    monkeypatch.setattr(AIOKafkaAdminClient, "list_topics", list_nothing)

    assert await topics.create_missing_topics(bootstrap, prefix, RelayProgress.initial("another")) == []
    assert await read_progress(bootstrap, progress_topic) == RelayProgress.initial("an installation")


async def test_lost_progress_stays_lost_while_topics_hold_records(bootstrap: str) -> None:
    prefix = f"{RUN_PREFIX}-lost"
    progress_topic = topics.full_topic_name(prefix, "progress")
    await topics.create_missing_topics(bootstrap, prefix, RelayProgress.initial("an installation"))
    await send(bootstrap, topics.full_topic_name(prefix, "verdicts"), b"{}", 7)
    admin = AIOKafkaAdminClient(**client_options(bootstrap))
    await admin.start()
    await admin.delete_topics([progress_topic])
    await admin.close()
    while await topics.create_missing_topics(bootstrap, prefix, RelayProgress.initial("an installation")) == []:
        await asyncio.sleep(0.05)

    assert await read_progress(bootstrap, progress_topic) is None
