"""How fast a publication comes out: over the last seconds, so that one that stops is seen to stop."""

from dataclasses import dataclass
from datetime import UTC, datetime

from services.console.pipeline_status import PublicationStatus
from services.console.publication_rate import WINDOW_SECONDS, PublicationRates
from services.eventlog.pipeline_queries import PublicationProgress

SINCE = datetime(2026, 1, 31, tzinfo=UTC)


@dataclass
class Played:
    """A publication of 1,000 grades at a clock of ours."""

    seconds: float = 0.0

    def __post_init__(self) -> None:
        self.pace = PublicationRates(lambda: self.seconds)

    def seen(self, at: float, out: int, command: str = "one") -> PublicationStatus:
        self.seconds = at
        (found,) = self.pace.update([PublicationProgress(1, 2, 3, command, 1_000 - out, 1_000, SINCE)])
        return found


def test_at_first_sight_nothing_is_said_of_its_pace() -> None:
    first = Played().seen(0, 400)
    assert (first.published, first.total, first.per_second, first.seconds_left) == (400, 1_000, None, None)


def test_its_rate_is_that_of_the_last_seconds_and_the_rest_takes_as_long_as_that_says() -> None:
    played = Played()
    for second in range(100):
        played.seen(second, 2 * second)
    for second in range(100, 111):
        found = played.seen(second, 200 + 50 * (second - 100))
    assert (found.published, found.per_second, found.seconds_left) == (700, 50, 6)


def test_one_that_stands_still_has_no_rate_and_says_for_how_long() -> None:
    played = Played()
    played.seen(0, 0)
    assert played.seen(2, 100).per_second == 50
    assert played.seen(2 + WINDOW_SECONDS / 2, 100).per_second is not None
    still = played.seen(2 + WINDOW_SECONDS, 100)
    assert (still.per_second, still.seconds_left, still.still_seconds) == (None, None, WINDOW_SECONDS)


def test_one_that_is_done_is_forgotten() -> None:
    played = Played()
    played.seen(0, 0)
    played.seen(1, 500, command="another")
    assert played.seen(2, 500).per_second is None
