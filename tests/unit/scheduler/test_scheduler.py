"""What the scheduler takes for due, and what it does without a broker."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from aiokafka.errors import KafkaTimeoutError, LeaderNotAvailableError

from services.config.scheduler import SchedulerSettings
from services.eventlog.schedules import Schedule
from services.runtime.errors import KAFKA_ERRORS
from services.scheduler import sender
from services.scheduler.scheduler import split_due
from services.scheduler.sender import SENT_AT_ONCE_MAX, PublicationSender, send_each

NOW = datetime(2026, 1, 31, 9, 0, tzinfo=UTC)
DUE = Schedule(1, 1, 7001, 7101, "a", NOW, 11, None, "b", seconds_left=0.0)


def test_schedule_is_due_at_its_time_by_postgresql() -> None:
    waiting = replace(DUE, schedule_id="c", publish_at=NOW + timedelta(seconds=3), seconds_left=3.0)
    assert split_due([DUE, waiting], NOW.timestamp()) == ([DUE], [])


@pytest.mark.parametrize(("seconds_ahead", "is_held_back"), [(0.5, False), (30, True), (7_200, True)])
def test_what_is_due_only_because_postgresqls_clock_is_ahead_is_held_back(
    seconds_ahead: float, is_held_back: bool
) -> None:
    early = replace(DUE, publish_at=NOW + timedelta(seconds=seconds_ahead), seconds_left=-0.1)
    assert split_due([early], NOW.timestamp()) == (([], [early]) if is_held_back else ([early], []))


def test_schedule_is_due_after_an_outage_whatever_this_machines_clock_says() -> None:
    overdue = replace(DUE, publish_at=NOW - timedelta(days=3), seconds_left=-3 * 86_400.0)
    assert split_due([overdue], NOW.timestamp()) == ([overdue], [])


async def test_sender_that_finds_no_broker_starts_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP", "127.0.0.1:1")
    monkeypatch.setenv("DATABASE_URL", "postgresql://u@h/d")
    publications = PublicationSender(SchedulerSettings(), None, {})
    async with asyncio.timeout(30):
        for _ in range(2):
            with pytest.raises(KAFKA_ERRORS):
                await publications.start()


async def test_publications_of_a_dead_partition_delay_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender, "LAST_SECONDS_MAX", 0.1)
    schedules = [replace(DUE, course=course, command_id=str(course)) for course in range(3 * SENT_AT_ONCE_MAX)]
    dead = {schedule.command_id for schedule in schedules[:SENT_AT_ONCE_MAX]}
    refused = schedules[SENT_AT_ONCE_MAX].command_id
    all_others_sent = asyncio.Event()

    async def send(schedule: Schedule) -> None:
        if schedule.command_id in dead:
            await asyncio.Event().wait()
        if schedule.command_id == refused:
            raise LeaderNotAvailableError
        if schedule.course == len(schedules) - 1:
            all_others_sent.set()

    sending = asyncio.create_task(send_each(send, schedules))
    await asyncio.wait_for(all_others_sent.wait(), 1.5)
    result = await sending
    assert result.sent.keys() == {schedule.command_id for schedule in schedules} - dead - {refused}
    assert isinstance(result.error, LeaderNotAvailableError)


async def test_publications_that_hang_are_not_counted_as_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender, "GROUP_SECONDS_MAX", 0.05)
    monkeypatch.setattr(sender, "LAST_SECONDS_MAX", 0.05)

    async def send(_: Schedule) -> None:
        await asyncio.Event().wait()

    result = await send_each(send, [DUE])
    assert result.sent == {}
    assert isinstance(result.error, KafkaTimeoutError)
