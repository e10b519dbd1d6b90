"""How fast a publication comes out: over the last seconds, so that one that stops is seen to stop."""

from dataclasses import dataclass
from datetime import UTC, datetime

from services.console.pipeline_status import PublicationStatus
from services.console.publication_rate import WINDOW_SECONDS, PublicationRates
from services.eventlog.pipeline_queries import PublicationProgress

SINCE = datetime(2026, 1, 31, tzinfo=UTC)


@dataclass
class SimulatedPublication:
    """A publication of 1,000 grades at a clock of ours."""

    seconds: float = 0.0

    def __post_init__(self) -> None:
        self.pace = PublicationRates(lambda: self.seconds)

    def sample(self, at: float, out: int, command: str = "one") -> PublicationStatus:
        self.seconds = at
        (found,) = self.pace.update([PublicationProgress(1, 2, 3, command, 1_000 - out, 1_000, SINCE)])
        return found


def test_first_sample_has_no_rate() -> None:
    first = SimulatedPublication().sample(0, 400)
    assert (first.published, first.total, first.per_second, first.seconds_left) == (400, 1_000, None, None)


def test_rate_and_remaining_time_use_the_recent_window() -> None:
    played = SimulatedPublication()
    for second in range(100):
        played.sample(second, 2 * second)
    for second in range(100, 111):
        found = played.sample(second, 200 + 50 * (second - 100))
    assert (found.published, found.per_second, found.seconds_left) == (700, 50, 6)


def test_stalled_publication_has_no_rate_and_reports_its_duration() -> None:
    played = SimulatedPublication()
    played.sample(0, 0)
    assert played.sample(2, 100).per_second == 50
    assert played.sample(2 + WINDOW_SECONDS / 2, 100).per_second is not None
    still = played.sample(2 + WINDOW_SECONDS, 100)
    assert (still.per_second, still.seconds_left, still.still_seconds) == (None, None, WINDOW_SECONDS)


def test_finished_publication_is_dropped() -> None:
    played = SimulatedPublication()
    played.sample(0, 0)
    played.sample(1, 500, command="another")
    assert played.sample(2, 500).per_second is None
