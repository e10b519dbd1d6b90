"""The servers of a fault run: three brokers, a primary with a synchronous standby, databases for installations."""

import contextlib
import shutil
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from deploy.local.cluster import KafkaCluster, PostgresPair
from deploy.local.kafka import is_ready
from deploy.local.paths import STATE, database_folder
from deploy.local.postgres import create_database
from deploy.local.postgres import is_ready as is_postgres_ready
from tests.system.faults.installation import wait_until

LIMITED_DISK = "6g"
"""Size of the last broker's disk, where one may be mounted (as root). An hour's load must fit; it takes memory only as
far as it is used. A cell makes it full by making it smaller."""


BROKER_NICENESS = 5
"""In an installation brokers have cores of their own. Here they would multiply the time in which a process starts."""


class Servers:
    """``limited_disk``: the mount point of the last broker's data; None if nothing may be mounted."""

    def __init__(self) -> None:
        name = f"faults-{uuid.uuid4().hex[:6]}"
        self.folder = STATE / name
        self.postgres_folder = database_folder(name)
        self.kafka = KafkaCluster(self.folder / "kafka", niceness=BROKER_NICENESS)
        self.postgres = PostgresPair(self.postgres_folder)
        self.limited_disk: Path | None = None

    def start(self) -> None:
        self.limited_disk = mount_tmpfs(self.kafka.brokers[-1].folder, LIMITED_DISK)
        self.kafka.start()
        self.postgres_folder.mkdir(parents=True, exist_ok=True)
        self.postgres.start()

    def remove(self) -> None:
        """End all servers and delete their data."""
        self.kafka.kill()
        self.postgres.kill()
        if self.limited_disk is not None:
            unmount(self.limited_disk)
        self.kafka.remove()
        self.postgres.remove()

    def copy_logs(self, folder: Path) -> None:
        """Keep the logs of all servers, before their data is deleted. A replaced standby has none left."""
        servers: dict[str, Path] = {f"broker-{broker.folder.name}": broker.folder for broker in self.kafka.brokers}
        servers |= {
            f"postgres-{server.folder.name}": server.folder for server in (self.postgres.primary, self.postgres.standby)
        }
        folder.mkdir()
        for name, source in servers.items():
            for log in source.glob("*.log"):
                shutil.copy(log, folder / f"{name}-{log.name}")

    def create_database(self, name: str) -> str:
        """Create a database; return its URL on whichever server is the primary."""
        create_database(self.postgres.primary.address, name)
        return self.postgres.database_url(name)

    def wait_for_broker(self, number: int) -> float:
        """Wait until a broker answers and all are registered; return the seconds that it took."""
        started_at = time.monotonic()
        wait_until(lambda: is_ready(self.kafka.brokers[number].address), f"broker {number + 1} answers")
        wait_until(lambda: self.kafka.count_brokers() == len(self.kafka.brokers), "all brokers are registered")
        return time.monotonic() - started_at

    def wait_until_in_sync(self) -> None:
        """Wait until each partition has all replicas in sync: only then does Kafka outlive the death of any broker."""
        wait_until(self.kafka.is_in_sync, "all replicas are in sync")

    def start_postgres(self) -> float:
        """Start the primary again; return the seconds until it accepts connections."""
        started_at = time.monotonic()
        self.postgres.primary.start()
        wait_until(lambda: is_postgres_ready(self.postgres.primary.address), "PostgreSQL answers")
        return time.monotonic() - started_at


def mount_tmpfs(folder: Path, size: str) -> Path | None:
    """Mount a file system of limited size; None if that is not allowed."""
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    return folder if subprocess.run(command, capture_output=True, check=False).returncode == 0 else None


def resize_tmpfs(folder: Path, size: str) -> None:
    subprocess.run(["mount", "-o", f"remount,size={size}", str(folder)], check=True)


def unmount(folder: Path) -> None:
    subprocess.run(["umount", "-l", str(folder)], check=False)


@contextlib.contextmanager
def started_servers() -> Iterator[Servers]:
    """Start separate servers for one run; delete their data at the end."""
    servers = Servers()
    try:
        servers.start()
        yield servers
    finally:
        servers.remove()
