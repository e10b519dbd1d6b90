"""Changes outside of a transaction, such as the build of an index: watched while other transactions block them.

Appends pass meanwhile, but a build waits for every transaction that is older than it, and it starts from the beginning
when it is tried again. So it waits on, names what it waits for, and is cancelled when that takes too long.
"""

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

import psycopg

from services.eventlog.table_changes import WAIT_SECONDS, TablesInUse

LOGGER = logging.getLogger(__name__)
POLL_SECONDS = 0.5
WARNING_SECONDS = 30
RECONNECT_SECONDS = 5
BLOCKERS = """
select string_agg(format('process %%s of PostgreSQL, %%s%%s', b.pid,
           coalesce(nullif(a.application_name, ''), a.backend_type, 'of another database or user'),
           ', ' || extract(epoch from clock_timestamp() - a.xact_start)::integer || ' s old'),
       '; ' order by a.xact_start)
from unnest(pg_blocking_pids(%s)) b (pid) left join pg_stat_activity a on a.pid = b.pid
"""
CANCEL = "select pg_cancel_backend(%s)"


class _Watch(threading.Thread):
    """``given_up_for``: the transactions for which the change was cancelled; None if it was not."""

    def __init__(self, find_process: Callable[[], int | None], name: str, url: str, wait_seconds: float) -> None:
        super().__init__(name="watch of a change", daemon=True)
        self.given_up_for: str | None = None
        self.ended = threading.Event()
        self._find_process, self._name, self._url, self._wait_seconds = find_process, name, url, wait_seconds

    def run(self) -> None:
        while not self.ended.is_set() and self.given_up_for is None:
            try:
                with psycopg.connect(self._url, autocommit=True) as connection:
                    self._watch(connection)
            except psycopg.Error as error:
                LOGGER.warning(
                    "lost the connection that monitors %s, reconnecting: %s", self._name, type(error).__name__
                )
                self.ended.wait(RECONNECT_SECONDS)

    def _watch(self, connection: "psycopg.Connection[tuple[Any, ...]]") -> None:
        blocked_since: float | None = None
        warned_at = -float(WARNING_SECONDS)
        while not self.ended.wait(POLL_SECONDS):
            process, now = self._find_process(), time.monotonic()
            row = None if process is None else connection.execute(BLOCKERS, (process,)).fetchone()
            if row is None or row[0] is None:
                # The build is running: only the time that it is blocked is limited.
                blocked_since = None
                continue
            blocked_since = now if blocked_since is None else blocked_since
            if now - blocked_since >= self._wait_seconds:
                self.given_up_for = row[0]
                connection.execute(CANCEL, (process,))
                return
            if now - warned_at >= WARNING_SECONDS:
                LOGGER.warning("%s waits for other transactions: %s", self._name, row[0])
                warned_at = now


def watch_change(
    change: Callable[[], object],
    find_process: Callable[[], int | None],
    name: str,
    url: str,
    wait_seconds: float = WAIT_SECONDS,
) -> None:
    """Make a change outside of a transaction; it is cancelled once others have blocked it for ``wait_seconds``.

    ``find_process``: returns the process of PostgreSQL that makes the change, None before it has one.

    Raises:
        TablesInUse: it was cancelled, or ended because of a deadlock; the next attempt repeats it.
    """
    watch = _Watch(find_process, name, url, wait_seconds)
    watch.start()
    try:
        change()
    except (psycopg.errors.QueryCanceled, psycopg.errors.DeadlockDetected) as error:
        if watch.given_up_for is None and isinstance(error, psycopg.errors.QueryCanceled):
            raise
        cause = f"Before that end, or wait for: {watch.given_up_for}" if watch.given_up_for else "It met a deadlock"
        raise TablesInUse(
            f"{name} was given up: other transactions blocked it (limit: {wait_seconds:g} s). What was done before it"
            f" stays, what it left is replaced when you run this again. {cause}"
        ) from None
    finally:
        watch.ended.set()
        watch.join()
