"""A relay hangs if its session is not used any more; clocks that jump and a machine that stood still show nothing."""

from datetime import UTC, datetime, timedelta

from services.relay.silence import AnswerWatch, SilenceWatch

AT = datetime(2026, 1, 1, tzinfo=UTC)
SECONDS_MAX = 3.0


def watch_for(watch: SilenceWatch, start: float, seconds: float, *, used: bool) -> list[int]:
    """Observe session 7 four times a second, and return what was found silent last."""
    silent: list[int] = []
    for turn in range(int(4 * seconds) + 1):
        silent = watch.observe({7: AT + timedelta(seconds=turn * used)}, start + turn / 4)
    return silent


def test_session_that_is_not_used_for_long_enough_is_silent() -> None:
    assert watch_for(SilenceWatch(SECONDS_MAX), 100, 2.75, used=False) == []
    assert watch_for(SilenceWatch(SECONDS_MAX), 100, 3, used=False) == [7]


def test_session_that_is_used_is_not_silent() -> None:
    assert watch_for(SilenceWatch(SECONDS_MAX), 100, 60, used=True) == []


def test_clock_of_postgresql_that_jumps_makes_no_session_silent() -> None:
    watch = SilenceWatch(SECONDS_MAX)
    watch.observe({7: AT}, 100)
    assert watch.observe({7: AT - timedelta(days=1)}, 100.25) == []
    assert watch.observe({7: AT + timedelta(days=1)}, 100.5) == []


def test_process_that_did_not_watch_begins_again() -> None:
    watch = SilenceWatch(SECONDS_MAX)
    watch_for(watch, 100, 2, used=False)
    assert watch.observe({7: AT}, 160) == []
    assert watch_for(watch, 160, 2.75, used=False) == []
    assert watch.observe({7: AT}, 163) == [7]


def test_session_that_has_ended_is_forgotten() -> None:
    watch = SilenceWatch(SECONDS_MAX)
    watch_for(watch, 100, 3, used=False)
    assert watch.observe({}, 103.25) == []


def test_answer_is_overdue_only_while_it_is_awaited() -> None:
    answers = AnswerWatch(SECONDS_MAX, clock=lambda: 100.0)
    assert not answers.is_overdue(200)
    with answers.awaited():
        assert not answers.is_overdue(102.9)
        assert answers.is_overdue(103)
    assert not answers.is_overdue(200)


def test_many_answers_in_time_are_not_one_that_is_overdue() -> None:
    now = 100.0
    answers = AnswerWatch(SECONDS_MAX, clock=lambda: now)
    with answers.awaited():
        for _ in range(10):
            now += SECONDS_MAX / 2
            answers.note_answer()
        assert not answers.is_overdue(now)
        assert answers.is_overdue(now + SECONDS_MAX)
    answers.note_answer()
    assert not answers.is_overdue(now + SECONDS_MAX)
