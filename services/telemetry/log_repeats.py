"""Limits repeated log messages to one line in some seconds, which counts the repeats that were dropped.

A Kafka client without its brokers retries ten times a second and logs each attempt several times: a hundred lines a
second and process, which hide everything else.
"""

import logging
import time
from collections.abc import Callable

REPEAT_SECONDS = 10.0
MESSAGES_MAX = 1_000
"""Maximum number of remembered messages; beyond it all are forgotten, and their next repeat is logged."""


class RepeatFilter(logging.Filter):
    """Drops repeats of a message within ``REPEAT_SECONDS``; the next line then states how many there were.

    Filters only loggers whose name starts with ``prefix``; records of others pass.
    """

    def __init__(self, prefix: str, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._prefix = prefix
        self._clock = clock
        self._logged: dict[tuple[str, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the record is to be logged; add the number of dropped repeats to its message."""
        if record.name.partition(".")[0] != self._prefix:
            return True
        message = record.getMessage()
        key, now = (record.name, message), self._clock()
        logged_at, dropped = self._logged.get(key, (None, 0))
        if logged_at is not None and now - logged_at < REPEAT_SECONDS:
            self._logged[key] = logged_at, dropped + 1
            return False
        if len(self._logged) >= MESSAGES_MAX:
            self._logged.clear()
        self._logged[key] = now, 0
        if dropped:
            record.msg, record.args = f"{message} ({dropped} more times since the last line)", ()
        return True


class FirstStartFilter(logging.Filter):
    """Lowers to INFO what aiokafka calls an error while a new broker creates the topic of consumer groups' offsets.

    The client asks again until the topic is there. Otherwise the first line of a healthy installation is an error.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record pass."""
        if (
            record.name == "aiokafka.consumer.group_coordinator"
            and "GroupCoordinatorNotAvailable" in record.getMessage()
        ):
            record.levelno, record.levelname = logging.INFO, "INFO"
        return True
