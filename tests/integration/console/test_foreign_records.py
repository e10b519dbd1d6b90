"""Records on an output topic that the relay did not write are reported within a minute."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from services.console import foreign_records
from services.console.foreign_records import ForeignRecordWatch
from services.console.pipeline_status import ForeignRecords
from services.console.status_monitor import StatusMonitor
from services.console.web import metrics
from services.eventlog.postgres import OPERATOR, create_pool
from services.kafka.client_options import client_options
from services.kafka.topics import full_topic_name
from services.runtime.health import Health
from tests.fixtures.fault_helpers import rewind_relay, wait_until_published
from tests.fixtures.process_runner import wait_until
from tests.fixtures.system import System, seed_course

REPORTED_SECONDS_MAX = 60


@pytest.fixture
async def published(system: System) -> System:
    """A system whose relay has published course 1001."""
    for process in (system.create_process("handler", HANDLER_INSTANCE="foreign"), system.create_process("relay")):
        process.start()
    for process in system.processes:
        await process.wait_until_ready()
    await seed_course(system)
    await wait_until_published(system, 3)
    return system


@pytest.fixture
async def consumer(published: System) -> AsyncIterator[AIOKafkaConsumer]:
    """Return a consumer as the watch uses it."""
    consumer = AIOKafkaConsumer(**client_options(published.bootstrap), enable_auto_commit=False)
    await consumer.start()
    yield consumer
    await consumer.stop()


async def forge(system: System, transactional_id: str | None = None) -> int:
    """Send the last verdict again, headers and all, as another producer; return the copy's offset."""
    forged = system.client.records["verdicts"][-1]
    producer = AIOKafkaProducer(**client_options(system.bootstrap), transactional_id=transactional_id)
    async with producer, producer.transaction() if transactional_id else contextlib.nullcontext():
        placed = await producer.send_and_wait(
            full_topic_name(system.prefix, "verdicts"),
            forged.value,
            key=forged.key,
            headers=list(forged.headers),
            partition=4,
        )
    return int(placed.offset)


async def test_record_without_a_transaction_is_in_status_and_metric(published: System) -> None:
    pool = await create_pool(published.database_url, "test", OPERATOR, 4, 10)
    monitor = StatusMonitor(pool, published.bootstrap, published.prefix, Health())
    task = asyncio.create_task(monitor.run())
    await wait_until(lambda: monitor.status.outputs, "the monitor has read the topics")
    assert not monitor.status.foreign_records

    offset = await forge(published)

    await wait_until(lambda: monitor.status.foreign_records, "it is reported", REPORTED_SECONDS_MAX)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await pool.close()
    assert monitor.status.foreign_records == (ForeignRecords("verdicts", 1, 4, offset),)
    assert monitor.status.level == "critical"
    assert "topic verdicts has 1 record that the relay did not write" in " ".join(monitor.status.delays())
    assert dict(metrics.foreign_records(monitor.status))[("verdicts",)] == 1


async def test_transaction_of_another_producer_is_found_despite_forged_headers(
    published: System, consumer: AIOKafkaConsumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(foreign_records, "CONFIRMATION_SECONDS", 0.0)
    watch = ForeignRecordWatch(published.bootstrap, published.prefix)
    await watch.poll(consumer)
    assert watch.found() == ()

    offset = await forge(published, "another-relay")
    await watch.poll(consumer)

    assert watch.found() == (ForeignRecords("verdicts", 1, 4, offset),)


async def test_records_of_relays_are_never_reported(
    published: System, consumer: AIOKafkaConsumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(foreign_records, "CONFIRMATION_SECONDS", 0.0)
    watch = ForeignRecordWatch(published.bootstrap, published.prefix)
    await watch.poll(consumer)

    published.processes[1].kill()
    relay = published.create_process("relay")
    relay.start()
    await relay.wait_until_ready()
    await seed_course(published)
    await wait_until_published(published, 6)
    await watch.poll(consumer)
    assert watch.found() == ()

    relay.stop()
    await rewind_relay(published, "start")
    relay.start()
    await relay.wait_until_ready()
    await watch.poll(consumer)
    late_watch = ForeignRecordWatch(published.bootstrap, published.prefix)
    await late_watch.poll(consumer)
    assert watch.found() == late_watch.found() == ()


async def test_record_is_reported_for_an_hour_even_by_a_console_started_later(
    published: System, consumer: AIOKafkaConsumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await forge(published)
    watch = ForeignRecordWatch(published.bootstrap, published.prefix)
    await watch.poll(consumer)
    assert [found.topic for found in watch.found()] == ["verdicts"]

    monkeypatch.setattr(foreign_records, "REPORTED_SECONDS", 0)
    await watch.poll(consumer)
    assert watch.found() == ()
