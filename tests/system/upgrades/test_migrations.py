"""Migrations run while commands flow: none waits long for a lock, and no verdict is lost or doubled."""

import contextlib
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg

from services.eventlog.migrate import migrate
from services.eventlog.table_changes import LOCK_SECONDS
from tests.system.faults.installation import wait_until
from tests.system.faults.load import Load
from tests.system.upgrades.conftest import Start

EXPAND = {
    "0002_columns.sql": (
        "alter table event add column note text;\n"
        "alter table decided_command add column note text;\n"
        "alter table verdict_body add column note text not null default '';\n"
    ),
    "0003_index.sql": (
        "-- transactional: false\n"
        "drop index concurrently if exists decided_command_recorded_at;\n"
        "create index concurrently decided_command_recorded_at on decided_command (recorded_at);\n"
    ),
}
CONTRACT = {
    "0004_index.sql": "-- transactional: false\ndrop index concurrently if exists decided_command_recorded_at;\n",
    "0005_columns.sql": (
        "alter table event drop column note;\n"
        "alter table decided_command drop column note;\n"
        "alter table verdict_body drop column note;\n"
    ),
}
WAITING_MIGRATION = "select count(*) from pg_locks where relation = 'event'::regclass and not granted"
LONGEST_WAIT = """
select coalesce(max(extract(epoch from clock_timestamp() - l.waitstart)), 0)
from pg_locks l join pg_stat_activity a using (pid)
where a.datname = current_database() and a.application_name like 'moderation-%' and l.locktype = 'relation'
"""
SAMPLE_SECONDS = 0.05
TOLERANCE_SECONDS = 2
"""A busy machine ends a wait late."""


class LockWaits:
    """``longest``: the longest that a session of our processes waited for a table (seconds)."""

    def __init__(self, url: str) -> None:
        self.longest = 0.0
        self._url = url
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sample)

    @contextlib.contextmanager
    def sampled(self) -> Iterator[None]:
        self._thread.start()
        try:
            yield
        finally:
            self._ended.set()
            self._thread.join()

    def _sample(self) -> None:
        with psycopg.connect(self._url, autocommit=True) as connection:
            while not self._ended.wait(SAMPLE_SECONDS):
                row = connection.execute(LONGEST_WAIT).fetchone()
                assert row is not None
                self.longest = max(self.longest, float(row[0]))


def migrate_during_a_report(url: str, folder: Path, files: Mapping[str, str], load: Load) -> None:
    """Migrate while another transaction reads the log, which ends once all shards have decided a new command."""
    folder.mkdir()
    for name, statements in files.items():
        (folder / name).write_text(statements)
    with (
        ThreadPoolExecutor(1) as thread,
        psycopg.connect(url) as report,
        psycopg.connect(url, autocommit=True) as observer,
    ):
        report.execute("select count(*) from event")
        running = thread.submit(migrate, url, folder=folder)
        wait_until(lambda: observer.execute(WAITING_MIGRATION).fetchone() != (0,), "the migration waits")
        load.probe()
        assert not running.done()
        report.commit()
        assert running.result() == len(files)


def test_expanding_and_contracting_migrations_under_load_hold_no_append_up(
    start_under_load: Start, tmp_path: Path
) -> None:
    loaded = start_under_load(handler=2, relay=1, gateway=1)
    url = loaded.installation.database_url
    waits = LockWaits(url)
    with waits.sampled():
        for name, files in (("expand", EXPAND), ("contract", CONTRACT)):
            migrate_during_a_report(url, tmp_path / name, files, loaded.load)
            loaded.load.probe()
    assert 0 < waits.longest < LOCK_SECONDS + TOLERANCE_SECONDS
    loaded.assert_faultless()
