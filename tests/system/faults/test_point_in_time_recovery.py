"""The procedure of deploy/docs/backup.md: base backup and archived WAL, restored to a time."""

import asyncio
import os
import secrets
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import psycopg
import pytest

from deploy.local.paths import database_folder
from deploy.local.postgres import PostgresServer, create_database
from deploy.local.postgres_programs import find_binaries
from services.eventlog.migrate import migrate
from tests.fixtures.fault_helpers import course_commands, send_all, start_handler, wait_until_processed
from tests.fixtures.process_runner import wait_until
from tests.fixtures.system import RUN_PREFIX, System, create_system

VERDICTS = 'select command_id, partition, "offset", body from verdict order by 1'
ARCHIVED = "select last_archived_wal >= $1 from pg_stat_archiver"


@pytest.fixture
def archiving_postgres() -> Iterator[PostgresServer]:
    """Start a separate server, which archives its WAL next to its data."""
    server = PostgresServer(database_folder(f"{RUN_PREFIX}-archiving"))
    server.start()
    archive = server.folder / "archive"
    with (server.folder / "data" / "postgresql.conf").open("a") as file:
        file.write(f"archive_mode = on\narchive_command = 'mkdir -p {archive} && cp %p {archive}/%f'\n")
    server.stop()
    server.start()
    yield server
    server.kill()
    server.remove()


@pytest.fixture
async def system(archiving_postgres: PostgresServer, bootstrap: str, tmp_path: Path) -> AsyncIterator[System]:
    url = create_database(archiving_postgres.address, "log")
    migrate(url)
    async for new_system in create_system(bootstrap, url, tmp_path):
        yield new_system


def back_up(server: PostgresServer, folder: Path) -> None:
    """Take a base backup as a login that may do nothing else."""
    password = secrets.token_urlsafe(24)
    with psycopg.connect(server.address) as connection:
        connection.execute(f"create role moderation_backup login replication password '{password}'".encode())
    parts = urlsplit(server.address)
    address = f"postgresql://moderation_backup@{parts.hostname}:{parts.port}"
    command = [
        str(find_binaries() / "pg_basebackup"),
        "-D",
        str(folder),
        "-d",
        address,
        "-c",
        "fast",
        "-X",
        "none",
    ]
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, "PGPASSWORD": password})


def restore(server: PostgresServer, backup: Path, at: str | None = None, timeline: int | None = None) -> None:
    """Replace a stopped server's data with a backup that recovers to a time, or to the end; start the server."""
    data = server.folder / "data"
    owner = data.stat()
    shutil.rmtree(data)
    shutil.copytree(backup, data)
    data.chmod(0o700)
    (data / "recovery.signal").touch()
    with (data / "postgresql.auto.conf").open("a") as file:
        file.write(f"restore_command = 'cp {server.folder}/archive/%f %p'\n")
        if at is not None:
            file.write(f"recovery_target_time = '{at}'\nrecovery_target_action = 'promote'\n")
        if timeline is not None:
            file.write(f"recovery_target_timeline = '{timeline}'\n")
    for path in (data, *data.rglob("*")):
        os.chown(path, owner.st_uid, owner.st_gid)
    server.start()


async def archive_to_the_end(observer: "asyncpg.Connection[asyncpg.Record]") -> None:
    """Wait until everything committed so far is archived."""
    last_wal = await observer.fetchval("select pg_walfile_name(pg_switch_wal())")
    await wait_until(lambda: observer.fetchval(ARCHIVED, last_wal), "the WAL is archived")


async def wait_until_recovered(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as restored:
        while restored.execute("select pg_is_in_recovery()").fetchone() != (False,):
            await asyncio.sleep(0.1)


async def test_handler_reprocesses_records_lost_by_a_point_in_time_recovery(
    system: System, archiving_postgres: PostgresServer, tmp_path: Path
) -> None:
    server, backup = archiving_postgres, tmp_path / "backup"
    handler = await start_handler(system)
    await send_all(system, course_commands(40))
    await wait_until_processed(system, 40)
    await asyncio.to_thread(back_up, server, backup)
    await send_all(system, course_commands(40))
    await wait_until_processed(system, 80)
    observer = await asyncpg.connect(system.database_url)
    kept = await observer.fetch(VERDICTS)
    restored_to = await observer.fetchval("select clock_timestamp()::text")
    await send_all(system, course_commands(40))
    await wait_until_processed(system, 120)
    handler.kill()
    lost = await observer.fetch(VERDICTS)
    await archive_to_the_end(observer)
    await observer.close()
    server.kill()

    await asyncio.to_thread(restore, server, backup, restored_to)
    await wait_until_recovered(system.database_url)
    with psycopg.connect(system.database_url) as restored:
        assert restored.execute("select count(*) from decided_command").fetchone() == (80,)
    handler = await start_handler(system)
    await wait_until_processed(system, 120)

    observer = await asyncpg.connect(system.database_url)
    verdicts = await observer.fetch(VERDICTS)
    handler.kill()
    await archive_to_the_end(observer)
    await observer.close()
    server.kill()
    assert len({row["command_id"] for row in verdicts}) == len(verdicts) == 120
    assert [row for row in verdicts if row["command_id"] in {row["command_id"] for row in kept}] == kept

    for timeline, found in ((None, verdicts), (1, lost)):
        await asyncio.to_thread(restore, server, backup, timeline=timeline)
        await wait_until_recovered(system.database_url)
        observer = await asyncpg.connect(system.database_url)
        assert await observer.fetch(VERDICTS) == found
        await observer.close()
        server.kill()
