"""The rate of a publication over the last seconds, which reveals a stalled one."""

from dataclasses import dataclass
from datetime import UTC, datetime

from services.console.pipeline_status import PublicationStatus
from services.console.publication_rate import WINDOW_SECONDS, PublicationRates
from services.eventlog.pipeline_queries import PublicationProgress

SINCE = datetime(2026, 1, 31, tzinfo=UTC)


@dataclass
class SimulatedPublication:
    """A publication of 1,000 grades on a simulated clock."""

    seconds: float = 0.0

    def __post_init__(self) -> None:
        self.rates = PublicationRates(lambda: self.seconds)

    def sample(self, at: float, published: int, command: str = "one") -> PublicationStatus:
        self.seconds = at
        (status,) = self.rates.update([PublicationProgress(1, 2, 3, command, 1_000 - published, 1_000, SINCE)])
        return status


def test_first_sample_has_no_rate() -> None:
    first = SimulatedPublication().sample(0, 400)
    assert (first.published, first.total, first.per_second, first.seconds_left) == (400, 1_000, None, None)


def test_rate_and_remaining_time_use_the_recent_window() -> None:
    publication = SimulatedPublication()
    for second in range(100):
        publication.sample(second, 2 * second)
    for second in range(100, 111):
        status = publication.sample(second, 200 + 50 * (second - 100))
    assert (status.published, status.per_second, status.seconds_left) == (700, 50, 6)


def test_stalled_publication_has_no_rate_and_reports_its_duration() -> None:
    publication = SimulatedPublication()
    publication.sample(0, 0)
    assert publication.sample(2, 100).per_second == 50
    assert publication.sample(2 + WINDOW_SECONDS / 2, 100).per_second is not None
    stalled = publication.sample(2 + WINDOW_SECONDS, 100)
    assert (stalled.per_second, stalled.seconds_left, stalled.stalled_seconds) == (None, None, WINDOW_SECONDS)


def test_finished_publication_is_dropped() -> None:
    publication = SimulatedPublication()
    publication.sample(0, 0)
    publication.sample(1, 500, command="another")
    assert publication.sample(2, 500).per_second is None
