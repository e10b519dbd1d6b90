"""The servers of a real installation, on loopback: three Kafka brokers, and a PostgreSQL primary with a standby."""

import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from deploy.local.kafka import KafkaServer, client_settings, format_address, new_cluster_id
from deploy.local.paths import free_port, wait_until_ready
from deploy.local.postgres import USER, PostgresServer

BROKERS = 3
START_SECONDS = 120
STANDBY_SECONDS = 60
HEAP = "256m"
CLUSTER_SETTINGS = {
    "default.replication.factor": "3",
    "min.insync.replicas": "2",
    "offsets.topic.replication.factor": "3",
    "transaction.state.log.replication.factor": "3",
    "transaction.state.log.min.isr": "2",
    # A dead broker is noticed after 2.5 s instead of 9 s.
    "broker.session.timeout.ms": "2500",
    "broker.heartbeat.interval.ms": "500",
    # A dead controller is noticed after 1 s instead of 2 s; only then does a broker's session begin to run out.
    "controller.quorum.fetch.timeout.ms": "1000",
    "controller.quorum.election.timeout.ms": "500",
    # A restarted broker leads its partitions again without waiting five minutes for the next check.
    "leader.imbalance.check.interval.seconds": "30",
}


class KafkaCluster:
    """Three brokers, which are also controllers: replication factor 3, min.insync.replicas 2."""

    def __init__(self, folder: Path, heap: str = HEAP, niceness: int = 0) -> None:
        self.folder = folder
        ports, controller_ports, cluster_id = self._read_or_choose()
        voters = ",".join(f"{n}@127.0.0.1:{port}" for n, port in enumerate(controller_ports, 1))
        self.brokers = [
            KafkaServer(
                folder / str(number),
                heap,
                {
                    **CLUSTER_SETTINGS,
                    "node.id": str(number),
                    "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}",
                    "controller.quorum.voters": voters,
                },
                port,
                cluster_id,
                niceness=niceness,
            )
            for number, (port, controller_port) in enumerate(zip(ports, controller_ports, strict=True), 1)
        ]
        self.address = ",".join(map(format_address, ports))

    def _read_or_choose(self) -> tuple[list[int], list[int], str]:
        file = self.folder / "cluster.json"
        if not file.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            ports = [free_port() for _ in range(2 * BROKERS)]
            file.write_text(json.dumps([ports[:BROKERS], ports[BROKERS:], new_cluster_id()]))
        ports, controller_ports, cluster_id = json.loads(file.read_text())
        return ports, controller_ports, cluster_id

    def start(self) -> None:
        """Start the brokers that do not run, and wait until all are registered. Raises RuntimeError."""
        for broker in self.brokers:
            process = broker.launch()
            if process is not None:
                # From here on its pid file identifies it; see KafkaServer.start.
                process.returncode = 0
        if not wait_until_ready(lambda: self.count_brokers() == BROKERS, lambda: True, START_SECONDS):
            raise RuntimeError(f"the Kafka cluster did not start within {START_SECONDS} s; see {self.folder}")

    def count_brokers(self) -> int:
        """Return the number of registered brokers; 0 if none answers."""
        with contextlib.suppress(KafkaException):
            return len(AdminClient(client_settings(self.address)).list_topics(timeout=2).brokers)
        return 0

    def is_in_sync(self) -> bool:
        """Return whether all brokers are registered, and each partition has all of its replicas in sync."""
        with contextlib.suppress(KafkaException):
            metadata = AdminClient(client_settings(self.address)).list_topics(timeout=2)
            partitions = [p for topic in metadata.topics.values() for p in topic.partitions.values()]
            return len(metadata.brokers) == BROKERS and all(set(p.isrs) == set(p.replicas) for p in partitions)
        return False

    def kill(self) -> None:
        """Send SIGKILL to all brokers."""
        for broker in self.brokers:
            broker.kill()

    def remove(self) -> None:
        """Delete the data of stopped brokers."""
        for broker in self.brokers:
            broker.remove()
        (self.folder / "cluster.json").unlink(missing_ok=True)


class PostgresPair:
    """A primary and a standby that has each commit before it is acknowledged; either may become the primary."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.primary = PostgresServer(folder / "a")
        self.standby = PostgresServer(folder / "b")
        self._slots = 0

    @property
    def address(self) -> str:
        """URL of the database ``postgres`` on whichever server is the primary."""
        return self.database_url("postgres")

    def database_url(self, name: str) -> str:
        """Return the URL of a database on whichever server is the primary."""
        hosts = ",".join(f"127.0.0.1:{port}" for port in sorted((self.primary.port, self.standby.port)))
        # Both have the same password: a standby is a copy.
        parameters = f"passfile={self.primary.password_file}&target_session_attrs=read-write"
        return f"postgresql://{USER}@{hosts}/{name}?{parameters}"

    def start(self) -> None:
        """Start both, creating them the first time."""
        self.primary.start()
        self.rebuild_standby()

    def rebuild_standby(self) -> None:
        """Recreate the standby from the primary, and let commits wait for it again."""
        self.standby.kill()
        self._slots += 1
        slot = f"standby_{self._slots}_{int(time.time())}"
        self.standby.create_standby_of(self.primary, slot)
        self.standby.start()
        if not wait_until_ready(self._is_streaming, lambda: True, STANDBY_SECONDS):
            raise RuntimeError(f"the standby does not stream; see {self.standby.folder / 'server.log'}")
        self.set_synchronous(True)

    def set_synchronous(self, synchronous: bool) -> None:
        """Let commits wait for the standby, or not."""
        with self._connect_to_primary() as connection:
            # ALTER SYSTEM takes no parameters, and must not wait for a standby itself.
            connection.execute(f"alter system set synchronous_standby_names = '{'*' if synchronous else ''}'")
            connection.execute("select pg_reload_conf()")

    def fail_over(self) -> float:
        """Kill the primary and promote the standby; return the seconds that the promotion took."""
        self.primary.kill()
        started_at = time.monotonic()
        self.standby.promote()
        self.primary, self.standby = self.standby, self.primary
        return time.monotonic() - started_at

    def kill(self) -> None:
        """End both at once."""
        self.standby.kill()
        self.primary.kill()

    def remove(self) -> None:
        """Delete the data of both."""
        self.primary.remove()
        self.standby.remove()

    def _is_streaming(self) -> bool:
        with self._connect_to_primary() as connection:
            return (
                connection.execute("select from pg_stat_replication where state = 'streaming'").fetchone() is not None
            )

    @contextlib.contextmanager
    def _connect_to_primary(self) -> Iterator[psycopg.Connection]:
        with psycopg.connect(self.primary.address, autocommit=True) as connection:
            yield connection
