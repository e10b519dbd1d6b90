"""Consumer groups of readers on a broker."""

from aiokafka import AIOKafkaConsumer, TopicPartition

from services.console.reader_groups import ReaderGroups, read_groups
from services.kafka.client_options import client_options
from services.kafka.relay_progress import RelayProgress
from services.kafka.topics import create_missing_topics
from services.kafka.transactions import close_producer, create_transactional_producer
from tests.fixtures.process_runner import DEADLINE_SECONDS
from tests.fixtures.system import RUN_PREFIX

PREFIX = f"{RUN_PREFIX}-readers"
TOPIC, GROUP = f"{PREFIX}.events", f"{PREFIX}-gradebook"


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


async def test_group_that_reads_a_topic_is_shown_with_lag_state_and_members(bootstrap: str) -> None:
    await publish(bootstrap, 5)
    consumer = AIOKafkaConsumer(
        TOPIC, **client_options(bootstrap), group_id=GROUP, enable_auto_commit=False, auto_offset_reset="earliest"
    )
    reports = []
    try:
        await consumer.start()
        await consumer.getone()
        reports.append(await read_groups(bootstrap, [TOPIC], seconds_max=DEADLINE_SECONDS))
        for offset in (3, 5):
            await consumer.commit({TopicPartition(TOPIC, 0): offset})
            reports.append(await read_groups(bootstrap, [TOPIC], seconds_max=DEADLINE_SECONDS))
    finally:
        await consumer.stop()
    reports.append(await read_groups(bootstrap, [TOPIC], seconds_max=DEADLINE_SECONDS))
    rows = [next(row for row in report.lags if row.group == GROUP) for report in reports]
    assert [(row.topic, row.lag, row.state, row.members) for row in rows] == [
        (TOPIC, None, "Stable", 1),
        (TOPIC, 2, "Stable", 1),
        (TOPIC, 0, "Stable", 1),
        (TOPIC, 0, "Empty", 0),
    ]


async def test_groups_that_are_not_examined_are_counted(bootstrap: str) -> None:
    report = await read_groups(bootstrap, [TOPIC], groups_max=0, seconds_max=DEADLINE_SECONDS)
    assert report.lags == ()
    assert all("of which the first 0 by name were examined" in problem for problem in report.problems)


async def test_broker_that_does_not_answer_is_a_problem_and_no_error() -> None:
    report = await ReaderGroups("127.0.0.1:1", [TOPIC]).read()
    assert report.lags == ()
    assert report.problems[0].startswith("Kafka does not answer: ")
