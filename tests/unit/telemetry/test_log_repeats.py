"""A message that repeats is logged once in ten seconds, with the number of its repeats."""

import logging

from services.telemetry.log_repeats import REPEAT_SECONDS, FirstStartFilter, RepeatFilter


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def log(repeats: RepeatFilter, message: str, name: str = "aiokafka.conn") -> str | None:
    record = logging.LogRecord(name, logging.ERROR, "", 0, message, (), None)
    return record.getMessage() if repeats.filter(record) else None


def test_repeats_are_counted_and_logged_once_in_ten_seconds() -> None:
    clock = Clock()
    repeats = RepeatFilter("aiokafka", clock)
    assert log(repeats, "no broker") == "no broker"
    clock.now = REPEAT_SECONDS - 1
    assert [log(repeats, "no broker") for _ in range(100)] == [None] * 100
    clock.now = REPEAT_SECONDS
    assert log(repeats, "no broker") == "no broker (100 more times since the last line)"
    assert log(repeats, "no broker") is None


def test_other_messages_and_other_loggers_are_logged() -> None:
    repeats = RepeatFilter("aiokafka", Clock())
    log(repeats, "no broker 1")
    assert log(repeats, "no broker 2") == "no broker 2"
    for _ in range(2):
        assert log(repeats, "decided", "handler") == "decided"


def test_first_start_of_a_healthy_installation_logs_no_error() -> None:
    def level_of(name: str, message: str) -> str:
        record = logging.LogRecord(name, logging.ERROR, "", 0, message, (), None)
        assert FirstStartFilter().filter(record)
        return record.levelname

    coordinator = "aiokafka.consumer.group_coordinator"
    request_failed = "Group Coordinator Request failed: [Error 15] GroupCoordinatorNotAvailableError"
    assert level_of(coordinator, request_failed) == "INFO"
    assert level_of(coordinator, "OffsetCommit failed") == "ERROR"
    assert level_of("aiokafka.conn", request_failed) == "ERROR"
