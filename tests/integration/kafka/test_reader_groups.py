"""Consumer groups of readers on a broker."""

import asyncio
import time

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from fastapi import HTTPException

from services.console.reader_groups import READ_SECONDS_MAX, ReaderGroups, read_groups
from services.console.web.topic_pages import respond_with_groups
from services.kafka.client_options import client_options
from services.kafka.producer_closing import close_producer
from services.kafka.relay_progress import RelayProgress
from services.kafka.topics import create_missing_topics
from services.kafka.transactions import create_transactional_producer
from tests.fixtures.process_runner import DEADLINE_SECONDS
from tests.fixtures.system import RUN_PREFIX

PREFIX = f"{RUN_PREFIX}-readers"
# A broker that is kept between runs may have the groups of earlier ones.
GROUPS_MAX = 10_000
TOPIC, GROUP, OTHER_GROUP = f"{PREFIX}.events", f"{PREFIX}-gradebook", f"{PREFIX}-warehouse"


async def publish(bootstrap: str, count: int) -> None:
    """Publish records in one transaction, as the relay does."""
    await create_missing_topics(bootstrap, PREFIX, RelayProgress.initial("an installation"))
    producer = create_transactional_producer(bootstrap, f"{PREFIX}.relay")
    try:
        await producer.start()
        async with producer.transaction():
            for _ in range(count):
                await producer.send(TOPIC, b"{}", partition=0)
    finally:
        await close_producer(producer)


async def commit_offset(bootstrap: str, offset: int) -> None:
    """Commit an offset of a group without members."""
    async with AIOKafkaConsumer(
        **client_options(bootstrap), group_id=OTHER_GROUP, enable_auto_commit=False
    ) as consumer:
        consumer.assign([TopicPartition(TOPIC, 0)])
        await consumer.commit({TopicPartition(TOPIC, 0): offset})


async def test_group_that_reads_a_topic_is_shown_with_lag_state_and_members(bootstrap: str) -> None:
    await publish(bootstrap, 5)
    consumer = AIOKafkaConsumer(
        TOPIC, **client_options(bootstrap), group_id=GROUP, enable_auto_commit=False, auto_offset_reset="earliest"
    )
    reports = []
    try:
        await consumer.start()
        await consumer.getone()
        reports.append(await read_groups(bootstrap, [TOPIC], groups_max=GROUPS_MAX, seconds_max=DEADLINE_SECONDS))
        for offset in (3, 5):
            await consumer.commit({TopicPartition(TOPIC, 0): offset})
            reports.append(await read_groups(bootstrap, [TOPIC], groups_max=GROUPS_MAX, seconds_max=DEADLINE_SECONDS))
    finally:
        await consumer.stop()
    reports.append(await read_groups(bootstrap, [TOPIC], groups_max=GROUPS_MAX, seconds_max=DEADLINE_SECONDS))
    rows = [next(row for row in report.lags if row.group == GROUP) for report in reports]
    assert [(row.topic, row.lag, row.state, row.members) for row in rows] == [
        (TOPIC, None, "Stable", 1),
        (TOPIC, 2, "Stable", 1),
        (TOPIC, 0, "Stable", 1),
        (TOPIC, 0, "Empty", 0),
    ]


async def test_groups_that_are_not_examined_are_counted(bootstrap: str) -> None:
    await publish(bootstrap, 1)
    await commit_offset(bootstrap, 0)
    report = await read_groups(bootstrap, [TOPIC], groups_max=0, seconds_max=DEADLINE_SECONDS)
    assert report.lags == ()
    (problem,) = report.problems
    assert "of which the first 0 by name were examined" in problem


async def test_group_with_an_offset_beyond_the_end_is_not_up_to_date(bootstrap: str) -> None:
    await publish(bootstrap, 1)
    await commit_offset(bootstrap, 1_000_000)
    report = await read_groups(bootstrap, [TOPIC], groups_max=GROUPS_MAX, seconds_max=DEADLINE_SECONDS)
    assert [(row.lag, row.beyond_end) for row in report.lags if row.group == OTHER_GROUP] == [(None, 1)]


async def test_broker_that_does_not_answer_is_a_problem_on_the_page_and_refuses_the_file() -> None:
    report = await ReaderGroups("127.0.0.1:1", [TOPIC]).read(READ_SECONDS_MAX)
    assert report.lags == ()
    assert report.problems[0].startswith("Kafka does not answer: ")
    with pytest.raises(HTTPException) as refused:
        respond_with_groups(report)
    assert (refused.value.status_code, refused.value.detail) == (503, f"{report.problems[0]}.")


async def test_page_does_not_wait_for_a_broker_that_is_silent() -> None:
    async def stay_silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(stay_silent, "127.0.0.1", 0)
    async with server:
        groups = ReaderGroups(f"127.0.0.1:{server.sockets[0].getsockname()[1]}", [TOPIC])
        started = time.monotonic()
        report = await groups.read(0.05)
        elapsed = time.monotonic() - started
    assert elapsed < READ_SECONDS_MAX / 2
    assert report.problems == ("Kafka has not answered yet: reload this page in a few seconds",)
    with pytest.raises(HTTPException):
        respond_with_groups(report)
