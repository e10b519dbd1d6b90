"""Figures of the last hours and days."""

from datetime import timedelta

import pytest

from services.console.verdict_history import BUCKET_COUNT, BUCKET_SECONDS, PERIODS, VerdictHistory
from tests.unit.console.test_pipeline_status import AT, verdict_summary

HOUR, DAY = 3_600, 86_400


def history_of(*verdicts: tuple[float, str | None]) -> VerdictHistory:
    history = VerdictHistory()
    for number, (seconds_ago, reason) in enumerate(verdicts, 1):
        history.add(verdict_summary(number, seconds_ago, reason))
    return history


def test_periods_count_what_was_recorded_in_them_in_any_order() -> None:
    history = history_of((1, None), (6 * DAY, "unauthorized"), (5 * HOUR, None), (8 * DAY, None), (7 * HOUR, None))
    hours, days = (history.figures(PERIODS[name], AT) for name in ("6h", "7d"))
    assert (hours.decided, hours.rejected) == (2, 0)
    assert (days.decided, days.rejected) == (4, 1)


def test_last_bar_is_that_of_the_present_bucket() -> None:
    history = history_of((1, None), (BUCKET_SECONDS + 1, None), (BUCKET_SECONDS + 2, None))
    # AT begins a bucket, which is still empty.
    for now in (AT, AT + timedelta(seconds=BUCKET_SECONDS - 1)):
        assert history.figures(PERIODS["6h"], now).decided_by_bar[-3:] == (2, 1, 0)
        assert history.figures(PERIODS["7d"], now).decided_by_bar[-3:] == (0, 0, 3)


@pytest.mark.parametrize("name", ["6h", "7d"])
def test_bars_cover_the_whole_period(name: str) -> None:
    period = next(period for period in PERIODS.values() if period.name == name)
    assert period.bars * period.bar_buckets * BUCKET_SECONDS == {"6h": 6 * HOUR, "7d": 7 * DAY}[name]
    assert period.bars <= 100


def test_latencies_are_accurate_to_five_percent() -> None:
    history = VerdictHistory()
    for number in range(1, 101):
        history.add(verdict_summary(number, number, took=number / 100))
    figures = history.figures(PERIODS["6h"], AT)
    assert figures.p50 == pytest.approx(0.51, rel=0.05)
    assert figures.p99 == pytest.approx(1.0, rel=0.05)
    assert VerdictHistory().figures(PERIODS["6h"], AT).p99 is None


def test_memory_does_not_grow_with_the_age_of_the_log() -> None:
    history = VerdictHistory()
    for number in range(5 * BUCKET_COUNT):
        history.add(verdict_summary(number, (5 * BUCKET_COUNT - number) * BUCKET_SECONDS))
    assert len(history._buckets) <= 2 * BUCKET_COUNT
    # The bucket of AT is empty.
    assert history.figures(PERIODS["7d"], AT).decided == BUCKET_COUNT - 1
