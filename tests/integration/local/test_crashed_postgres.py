"""A local PostgreSQL whose postmaster gets SIGKILL starts again, also while its last sessions are still at work."""

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from deploy.local.paths import database_folder, wait_until_ready
from deploy.local.postgres import PostgresServer
from tests.fixtures.system import RUN_PREFIX

# It computes, and looks for its postmaster only when it ends.
BUSY = "select count(*) from generate_series(1, 20000000)"
BUSY_SECONDS_MAX = 30


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    server = PostgresServer(database_folder(f"{RUN_PREFIX}-killed"))
    server.start()
    yield server
    server.kill()
    server.remove()


def test_killed_postmaster_is_started_again_once_its_sessions_have_ended(server: PostgresServer) -> None:
    with psycopg.connect(server.address, autocommit=True) as connection:
        connection.execute("create table kept as select 7 as n")
    busy = psycopg.connect(server.address, autocommit=True)

    def work() -> None:
        with contextlib.suppress(psycopg.OperationalError):
            busy.execute(BUSY)

    thread = threading.Thread(target=work)
    thread.start()
    _wait_until_busy(server)
    server.crash()
    assert server.pid() is None
    assert Path(f"/proc/{busy.info.backend_pid}").exists(), "the session ended before the server was started again"
    server.start()
    thread.join()
    busy.close()
    with psycopg.connect(server.address) as connection:
        assert connection.execute("select n from kept").fetchone() == (7,)
    log = (server.folder / "server.log").read_text()
    assert "database system was not properly shut down" in log


def _wait_until_busy(server: PostgresServer) -> None:
    query = "select from pg_stat_activity where query = %s and state = 'active'"
    with psycopg.connect(server.address, autocommit=True) as connection:
        assert wait_until_ready(
            lambda: connection.execute(query, (BUSY,)).fetchone() is not None, lambda: True, BUSY_SECONDS_MAX
        )
