"""The log goes back: an older copy of the database takes its place, or a standby that lacks commits is promoted."""

import time

import psycopg

from deploy.local.cluster import PostgresPair
from deploy.local.paths import database_folder
from deploy.local.postgres import create_database, database_name
from tests.system.faults import log_reader
from tests.system.faults.cells import cell
from tests.system.faults.cells.topics import run_command
from tests.system.faults.fault_run import FaultRun
from tests.system.faults.installation import Installation, wait_until

LOST = 100
STOPPED_SECONDS = 20


def assert_relay_stops(run: FaultRun, installation: Installation) -> None:
    """The relay must stop, say why, and publish nothing while the log lacks what the topics have."""
    (relay,) = installation.of("relay")
    assert installation.reader is not None
    try:
        wait_until(lambda: relay.get_readiness()[0] == 503, "the relay stops", 60)
    except TimeoutError:
        run.fail("the relay is ready over a log that lacks what it published")
        return
    published = {topic: len(records) for topic, records in installation.reader.records.items()}
    time.sleep(STOPPED_SECONDS)
    if relay.get_readiness()[0] != 503:
        run.fail(f"the relay went on by itself over another log, {STOPPED_SECONDS} s after it had stopped")
    if {topic: len(records) for topic, records in installation.reader.records.items()} != published:
        run.fail("the relay published from another log")


@cell(shared=False)
def restore_older_copy(run: FaultRun) -> None:
    """A copy of the database from some seconds ago takes its place, under load; the later one comes back."""
    primary = run.servers.postgres.primary.address
    with run.new_installation("restored") as installation:
        installation.start(handlers=1, relays=1, gateways=0)
        with run.loaded(installation) as load:
            time.sleep(4)
        load.stop()
        wait_until(installation.is_settled, "all is decided and published")
        name = database_name(installation.database_url)
        for process in installation.processes:
            installation.kill(process)
        create_database(primary, f"{name}_old", template=name)
        for process in installation.processes:
            process.start()
        with run.loaded(installation) as load:
            time.sleep(4)
        load.stop()
        wait_until(installation.is_settled, "all is decided and published")
        installation.keep_snapshot("before the fault")
        run.injected("older copy of the database")
        _swap(primary, name, f"{name}_old")
        assert_relay_stops(run, installation)
        _swap(primary, name, f"{name}_old")
        load.probe()
        installation.keep_snapshot("after the fault")
        run.judge(installation, load)


def _swap(url: str, name: str, other: str) -> None:
    """Let two databases change their names, whoever is connected."""
    with psycopg.connect(url, autocommit=True) as connection:
        for old, new in ((name, f"{name}_away"), (other, name), (f"{name}_away", other)):
            connection.execute(f"alter database {old} allow_connections false".encode())
            connection.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", (old,))
            wait_until(lambda old=old, new=new: _rename(connection, old, new), f"{old} is renamed")  # type: ignore[misc]
            connection.execute(f"alter database {new} allow_connections true".encode())


def _rename(connection: psycopg.Connection, old: str, new: str) -> bool:
    connection.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", (old,))
    connection.execute(f"alter database {old} rename to {new}".encode())
    return True


@cell(shared=False)
def lose_commits(run: FaultRun) -> None:
    """A standby without the last 100 commits is promoted: the relay stops, and its remedy ends in verify clean."""
    pair = PostgresPair(database_folder(f"{run.servers.folder.name}-lost"))
    pair.folder.mkdir(parents=True, exist_ok=True)
    try:
        pair.start()
        create_database(pair.primary.address, "lost")
        url = pair.database_url("lost")
        with run.opened("lost", url) as installation:
            installation.start(handlers=1, relays=1, gateways=0)
            with run.loaded(installation) as load:
                load.probe()
            load.stop()
            wait_until(installation.is_settled, "all is decided and published")
            # What was committed while the standby had to confirm it is not lost with later commits.
            installation.keep_snapshot("before the commits that will be lost")
            pair.set_synchronous(False)
            pair.standby.kill()
            before = log_reader.count_rows(url)["verdicts"]
            with run.loaded(installation) as load:
                wait_until(lambda: log_reader.count_rows(url)["verdicts"] >= before + LOST, "commits that will be lost")
            load.stop()
            wait_until(installation.is_settled, "they are published")
            run.injected("failover that loses commits")
            pair.primary.kill()
            pair.standby.start()
            pair.standby.promote()
            assert_relay_stops(run, installation)
            (relay,) = installation.of("relay")
            installation.kill(relay)
            run_command(installation, "admin", "rewind", "log")
            installation.start_reader()
            relay.start()
            load.probe()
            wait_until(installation.is_settled, "what was lost is decided and published again")
            installation.keep_snapshot("after the fault")
            # Topics keep what was published of the lost commits; "verify" knows which part of them that is.
            run.judge(installation, load, log_alone=True)
            run_command(installation, "verify")
    finally:
        pair.kill()
        pair.remove()
