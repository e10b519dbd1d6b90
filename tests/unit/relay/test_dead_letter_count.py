"""Open dead letters are counted apart: a slow count makes their number old, and neither server nor relay look down."""

import asyncio
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest

from services.config.kafka import KafkaSettings
from services.eventlog.dead_letter_count import BACKOFF_FACTOR, COUNT_SECONDS_MAX, DeadLetterCounter
from services.eventlog.feeds import HEADS
from services.kafka.relay_progress import RelayProgress
from services.relay.metrics import RelayTelemetry
from services.runtime import server_monitor
from services.runtime.background_tasks import StartTask, run_in_background
from services.runtime.health import Health
from services.runtime.server_monitor import ServerMonitor
from services.telemetry.metrics.relay import RelayMetrics

AT = datetime(2026, 1, 31, 3, 0, tzinfo=UTC)


class SlowlyCountedLog:
    """A connection to an empty log that answers everything at once, but never ends a count of dead letters."""

    def __init__(self) -> None:
        self.clock_reads = 0
        self.is_counting = asyncio.Event()

    async def connect(self) -> Any:
        return self

    async def fetchval(self, _: str) -> datetime:
        self.clock_reads += 1
        return datetime.now(UTC)

    async def fetch(self, query: str, shards: list[int], *_: object) -> list[tuple[object, ...]]:
        return [(shard, 0, 0, 0, 0) if query == HEADS else (None, AT) for shard in shards]

    async def fetchrow(self, *_: object, **__: object) -> None:
        self.is_counting.set()
        await asyncio.Event().wait()

    def is_closed(self) -> bool:
        return False

    def terminate(self) -> None:
        """Nothing is open."""


async def kafka_answers() -> None:
    """Answer at once."""


async def test_slow_count_of_dead_letters_leaves_postgresql_up_and_the_relay_ready(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server_monitor, "CHECK_INTERVAL_SECONDS", 0.0)
    monkeypatch.setattr(server_monitor, "CHECK_SECONDS_MAX", 0.5)
    health, metrics, log = Health(), RelayMetrics(), SlowlyCountedLog()
    health.problem = None
    telemetry = RelayTelemetry(metrics)
    telemetry.start([0])
    telemetry.mark_active(0, RelayProgress.initial("an installation"))
    settings = KafkaSettings(kafka_bootstrap="localhost:9092")
    monitor = ServerMonitor(settings, log.connect, health, metrics, kafka_answers, telemetry.poll_lag)
    tasks: dict[str, StartTask] = {
        "monitoring servers": monitor.run,
        "counting dead letters": partial(telemetry.count_dead_letters, log.connect),
    }
    async with run_in_background(health, tasks), asyncio.timeout(20):
        await log.is_counting.wait()
        later = log.clock_reads + 3
        reasons: set[str | None] = set()
        while log.clock_reads < later:
            reasons.add(health.not_ready_reason())
            await asyncio.sleep(0)
        assert metrics.registry.get_sample_value("moderation_server_up", {"server": "postgresql"}) == 1
        assert reasons == {None}
        assert metrics.registry.get_sample_value("moderation_dead_letters_open") is None


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


class CountedLog:
    """A connection on which each count of dead letters takes ``seconds``, or as long as the caller waits."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.seconds = 0.5
        self.counts = 0

    async def fetchrow(self, _: str, timeout: float) -> tuple[int, datetime]:
        self.counts += 1
        self.clock.now += min(self.seconds, timeout)
        if self.seconds > timeout:
            raise TimeoutError
        return self.counts, AT


async def test_next_count_waits_longer_the_slower_a_count_is_also_after_one_that_failed() -> None:
    clock = Clock()
    log: Any = CountedLog(clock)
    counter = DeadLetterCounter(clock)
    await counter.count_when_due(log)
    assert counter.last_count == (1, AT)

    log.seconds = 2 * COUNT_SECONDS_MAX
    clock.now += BACKOFF_FACTOR * 0.5 - 0.1
    await counter.count_when_due(log)
    assert log.counts == 1
    clock.now += 0.2
    with pytest.raises(TimeoutError):
        await counter.count_when_due(log)

    clock.now += BACKOFF_FACTOR * COUNT_SECONDS_MAX - 0.1
    await counter.count_when_due(log)
    assert (log.counts, counter.last_count) == (2, (1, AT))
    log.seconds, clock.now = 0.5, clock.now + 0.2
    await counter.count_when_due(log)
    assert counter.last_count == (3, AT)
