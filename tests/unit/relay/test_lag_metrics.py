"""The relay's lag counts what the topics lack, not archived verdicts; the months ahead are told by active relays."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from services.eventlog.feeds import HEADS
from services.eventlog.relay_lag import NEXT_RECORDED_AT
from services.eventlog.verdict_months import MONTHS_AHEAD
from services.kafka.relay_progress import RelayProgress
from services.relay.metrics import RelayTelemetry
from services.telemetry.metrics.relay import RelayMetrics

AT = datetime(2026, 1, 31, 3, 0, tzinfo=UTC)
PROGRESS = RelayProgress.initial("an installation")


class LogWithArchivedVerdicts:
    """A connection to a log with five rows of each feed in each shard; all verdicts are archived."""

    async def fetch(self, query: str, shards: list[int], *_: object) -> list[tuple[object, ...]]:
        if query == HEADS:
            return [(shard, 5, 5, 5, 5) for shard in shards]
        waits_since = None if query == NEXT_RECORDED_AT["verdicts"] else AT - timedelta(seconds=3)
        return [(waits_since, AT) for _ in shards]

    async def fetchval(self, query: str) -> int:
        assert query == MONTHS_AHEAD
        return 11


async def test_archived_verdicts_up_to_the_head_are_no_lag() -> None:
    log: Any = LogWithArchivedVerdicts()
    telemetry = RelayTelemetry(metrics := RelayMetrics())
    telemetry.start([0])
    telemetry.mark_active(0, PROGRESS)

    await telemetry.poll_lag(log)

    def read(name: str, topic: str) -> float | None:
        return metrics.registry.get_sample_value(f"moderation_{name}", {"shard": "7", "topic": topic})

    names = ("log_position", "relay_lag_records", "relay_lag_seconds")
    assert [read(name, "verdicts") for name in names] == [5, 0, 0]
    assert [read(name, "events") for name in names] == [5, 5, 3]


async def test_only_an_active_relay_tells_the_months_ahead() -> None:
    log: Any = LogWithArchivedVerdicts()
    telemetry = RelayTelemetry(metrics := RelayMetrics())
    telemetry.start([0])
    told = []
    changes: list[Callable[[], None]] = [
        lambda: None,
        lambda: telemetry.mark_active(0, PROGRESS),
        lambda: telemetry.mark_standby(0),
    ]
    for change in changes:
        change()
        await telemetry.poll_lag(log)
        told.append(metrics.registry.get_sample_value("moderation_verdict_months_ahead"))

    assert told == [None, 11, None]
