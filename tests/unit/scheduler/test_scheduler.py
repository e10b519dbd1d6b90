"""What the scheduler takes for due, and what it does without a broker."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from services.config import SchedulerSettings
from services.eventlog.schedules import Schedule
from services.runtime.errors import KAFKA_ERRORS
from services.scheduler.scheduler import split_due
from services.scheduler.sender import PublicationSender

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
    sender = PublicationSender(SchedulerSettings(), None, {})
    async with asyncio.timeout(30):
        for _ in range(2):
            with pytest.raises(KAFKA_ERRORS):
                await sender.start()
