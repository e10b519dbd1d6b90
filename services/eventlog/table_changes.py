"""Changes of tables while others use them: a short wait for locks, repeated.

A change of a table waits for every transaction that uses it, and all later ones, appends included, wait behind it. So
a change gives up after ``LOCK_SECONDS``, lets them pass, and tries again.
"""

import logging
import time
from collections.abc import Callable
from typing import TypeVar

import psycopg

LOGGER = logging.getLogger(__name__)
T = TypeVar("T")
LOCK_SECONDS = 2
"""The longest that appends wait behind a change that waits. Far below the sessions' own lock_timeout."""
PAUSE_SECONDS = 2
WAIT_SECONDS = 600
"""How long a change is tried before an administrator has to act."""
OLDEST_TRANSACTION = """
select a.pid, coalesce(nullif(a.application_name, ''), a.backend_type),
       extract(epoch from clock_timestamp() - a.xact_start)::integer
from pg_stat_activity a
where a.datname = current_database() and a.pid <> pg_backend_pid() and a.xact_start is not null
order by a.xact_start limit 1
"""


class TablesInUse(Exception):
    """Other transactions held a table for longer than a change may wait; the change was not made."""


def retry_while_locked(change: Callable[[], T], name: str, url: str, wait_seconds: float = WAIT_SECONDS) -> T:
    """Make a change in a transaction with ``lock_timeout``, again and again until it gets its locks.

    Raises:
        TablesInUse: ``wait_seconds`` have passed.
    """
    deadline = time.monotonic() + wait_seconds
    while True:
        try:
            return change()
        except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
            oldest = describe_oldest_transaction(url)
            if time.monotonic() > deadline:
                raise TablesInUse(
                    f"{name} did not get its locks within {wait_seconds:g} s and was not made; what was done before it"
                    f" stays. The oldest transaction is {oldest}: end it, or wait, then run this again"
                ) from None
        LOGGER.warning("%s waits for other transactions and is tried again; the oldest is %s", name, oldest)
        time.sleep(PAUSE_SECONDS)


def describe_oldest_transaction(url: str) -> str:
    """Name the session, the program and the age of the oldest transaction in the database."""
    with psycopg.connect(url, autocommit=True) as connection:
        row = connection.execute(OLDEST_TRANSACTION).fetchone()
    return "over by now" if row is None else f"{row[2]} s old, process {row[0]} of PostgreSQL, {row[1]}"
