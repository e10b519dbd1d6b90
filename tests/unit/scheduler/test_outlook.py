"""How the metrics count schedules whose publication is decided between two queries."""

from collections.abc import AsyncIterator, Collection
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from services.config.scheduler import SchedulerSettings
from services.eventlog.schedules import Schedule
from services.scheduler import outlook
from services.scheduler.outlook import Outlook
from services.telemetry.metrics.scheduler import SchedulerMetrics

DUE = Schedule(1, 1, 7001, 7101, "a", datetime(2026, 1, 31, 9, 0, tzinfo=UTC), 11, None, "a", seconds_left=-2.0)


@pytest.fixture
def metrics() -> SchedulerMetrics:
    return SchedulerMetrics()


async def _observe_due(
    decided: dict[str, str | None], metrics: SchedulerMetrics, monkeypatch: pytest.MonkeyPatch
) -> dict[str, float]:
    """Observe DUE, in force at the first query, with the decisions found by the second; return the counts above 0."""

    async def read_schedules(*_: object) -> AsyncIterator[list[Schedule]]:
        yield [DUE]

    async def find_decided(_: object, passed: Collection[Schedule]) -> dict[str, str | None]:
        return {each.command_id: decided[each.command_id] for each in passed if each.command_id in decided}

    monkeypatch.setenv("KAFKA_BOOTSTRAP", "127.0.0.1:1")
    monkeypatch.setenv("DATABASE_URL", "postgresql://u@h/d")
    monkeypatch.setattr(outlook, "read_schedules", read_schedules)
    monkeypatch.setattr(outlook, "find_decided", find_decided)
    await Outlook(SchedulerSettings(), metrics).observe(cast(Any, None))
    values = {
        state: metrics.registry.get_sample_value("moderation_schedules", {"state": state})
        for state in ("waiting", "overdue", "refused")
    }
    return {state: value for state, value in values.items() if value}


@pytest.mark.parametrize(
    ("decided", "expected"), [({"a": "unauthorized"}, {"refused": 1}), ({"a": None}, {}), ({}, {"overdue": 1})]
)
async def test_only_a_refused_publication_counts_as_refused(
    decided: dict[str, str | None],
    expected: dict[str, float],
    metrics: SchedulerMetrics,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert await _observe_due(decided, metrics, monkeypatch) == expected
    overdue_seconds = 2 if "overdue" in expected else 0
    assert metrics.registry.get_sample_value("moderation_schedule_overdue_seconds") == overdue_seconds
