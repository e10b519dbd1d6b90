"""Full disks: of a broker, and of PostgreSQL. Both need a small file system, which only root may mount."""

import shutil
from pathlib import Path

import psycopg

from deploy.local.paths import database_folder
from deploy.local.postgres import PostgresServer, database_url
from tests.system.faults.cells import cell
from tests.system.faults.cells.brokers import start_brokers
from tests.system.faults.fault_run import FaultRun, Skipped
from tests.system.faults.installation import Installation, wait_until
from tests.system.faults.servers import LIMITED_DISK, mount_tmpfs, resize_tmpfs, unmount

LEFT_BYTES = 1 << 20
TABLESPACE_SIZE, ENLARGED_SIZE = "24m", "400m"
FULL_SECONDS_MAX = 90
NOT_MOUNTED = "no file system of limited size may be mounted here (it needs root)"


@cell()
def fill_broker_disk(run: FaultRun) -> None:
    """The disk of a broker is full: it ends, the other two go on; with room again it comes back."""
    folder, broker = run.servers.limited_disk, run.servers.kafka.brokers[-1]
    if folder is None:
        raise Skipped(NOT_MOUNTED)
    run.injected("disk of a broker full")
    resize_tmpfs(folder, str(shutil.disk_usage(folder).used + LEFT_BYTES))
    try:
        wait_until(lambda: broker.pid() is None, "the broker notices that its disk is full", FULL_SECONDS_MAX)
    finally:
        resize_tmpfs(folder, LIMITED_DISK)
    run.recovered(start_brokers(run, len(run.servers.kafka.brokers) - 1))


@cell(shared=False)
def fill_postgres_disk(run: FaultRun) -> None:
    """The disk under PostgreSQL's tables is full: nothing is decided or lost; with room again all goes on by itself."""
    server = PostgresServer(database_folder(f"{run.servers.folder.name}-full"))
    server.start()
    disk = mount_tmpfs(server.folder / "small", TABLESPACE_SIZE)
    try:
        if disk is None:
            raise Skipped(NOT_MOUNTED)
        (disk / "tables").mkdir()
        shutil.chown(disk / "tables", server.folder.owner())
        with psycopg.connect(server.address, autocommit=True) as connection:
            connection.execute(f"create tablespace small location '{disk / 'tables'}'".encode())
            connection.execute("create database filled tablespace small")
        url = database_url(server.address, "filled")
        with run.opened("full", url) as installation:
            installation.start(handlers=1, relays=1, gateways=0)
            _fill(run, installation, disk)
    finally:
        server.kill()
        if disk is not None:
            unmount(disk)
        server.remove()


def _fill(run: FaultRun, installation: Installation, tables: Path) -> None:
    run.injected("disk of PostgreSQL full")
    (handler,) = installation.of("handler")
    (tables / "ballast").write_bytes(bytes(max(shutil.disk_usage(tables).free - LEFT_BYTES, 0)))
    with run.loaded(installation, 100) as load:
        wait_until(lambda: "DiskFull" in handler.get_readiness()[1], "the handler says so", FULL_SECONDS_MAX)
        installation.keep_snapshot("while the disk is full")
        resize_tmpfs(tables, ENLARGED_SIZE)
        load.probe()
    installation.keep_snapshot("after the fault")
    run.judge(installation, load)
