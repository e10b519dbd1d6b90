"""Runs one Apache Kafka broker in KRaft mode, on free ports, from the jars that deploy/setup fetched."""

import base64
import contextlib
import shutil
import signal
import subprocess
import uuid
from collections.abc import Collection, Mapping
from pathlib import Path
from types import MappingProxyType

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from deploy.local.certificates import HOST_NAME
from deploy.local.kafka_security import KafkaSecurity
from deploy.local.paths import STATE, free_port, remove_folder, running_pid, terminate, wait_until_ready
from services.kafka.client_options import librdkafka_options

JARS = STATE / "kafka" / "jars"
START_SECONDS = 60
DELETE_SECONDS = 240
BROKER_SETTINGS = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "PLAINTEXT",
    "auto.create.topics.enable": "false",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "4",
    "transaction.max.timeout.ms": "60000",
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",
    "log.cleaner.dedupe.buffer.size": "16777216",
    "message.max.bytes": "5242880",
    "replica.fetch.max.bytes": "5242880",
}


def build_settings(host: str, port: int, controller_port: int, data_folder: str) -> dict[str, str]:
    """Return the settings of a broker that listens on ``host``; clients reach it at 127.0.0.1 and the same port."""
    return {
        **BROKER_SETTINGS,
        "listeners": f"PLAINTEXT://{host}:{port},CONTROLLER://127.0.0.1:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://{format_address(port)}",
        "controller.quorum.voters": f"1@127.0.0.1:{controller_port}",
        "log.dirs": data_folder,
    }


def new_cluster_id() -> str:
    """Return a random id, in the form that Kafka's storage tool accepts."""
    return base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")


def format_address(port: int) -> str:
    """Format as host:port."""
    return f"127.0.0.1:{port}"


def client_settings(bootstrap: str) -> dict[str, str | int | float | bool]:
    """Return settings of a confluent_kafka client that raises errors and logs nothing to the terminal."""
    return {**librdkafka_options(bootstrap), "log_level": 0}


def is_ready(bootstrap: str) -> bool:
    """Return whether a broker answers requests there."""
    return answers(AdminClient(client_settings(bootstrap)))


def answers(client: AdminClient) -> bool:
    """Return whether a broker answers this client's requests."""
    with contextlib.suppress(KafkaException):
        return bool(client.list_topics(timeout=0.5).brokers)
    return False


def delete_topics(bootstrap: str, prefix: str) -> None:
    """Delete every topic whose name begins with ``prefix``; a busy broker may still list deleted ones."""
    admin = AdminClient(client_settings(bootstrap))
    names = [name for name in admin.list_topics(timeout=START_SECONDS).topics if name.startswith(prefix)]
    deletions = admin.delete_topics(names, request_timeout=DELETE_SECONDS) if names else {}
    for deleted in deletions.values():
        try:
            deleted.result(DELETE_SECONDS)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise


class KafkaServer:
    """A broker whose data, ports and id survive restarts. Raises RuntimeError when it does not start.

    ``settings`` override the usual ones. A broker of a cluster also has a given port and the cluster's id.
    ``security``: clients must sign in as one of ``users``, with the permissions of the access control lists.
    ``works_long``: Java's second compiler optimizes the code, which takes some seconds of processor time at first and
    halves that of each request later: less in all if the broker uses more than about 45 seconds. ``niceness``: lowers
    the broker's priority for the processor, see nice(1).
    """

    def __init__(
        self,
        folder: Path,
        heap: str = "512m",
        settings: Mapping[str, str] = MappingProxyType({}),
        port: int | None = None,
        cluster_id: str | None = None,
        security: KafkaSecurity | None = None,
        users: Collection[str] = (),
        works_long: bool = False,
        niceness: int = 0,
    ) -> None:
        self.folder = folder
        self.heap = heap
        self.security = security
        self.users = users
        self._settings = settings
        self._chosen_port = port
        self._cluster_id = cluster_id
        self._works_long = works_long
        self._niceness = niceness

    @property
    def address(self) -> str:
        """host:port. The port is chosen when the storage is formatted."""
        port = int((self.folder / "port").read_text())
        return format_address(port) if self.security is None else f"{HOST_NAME}:{port}"

    def start(self) -> None:
        """Start it unless it runs, formatting the storage the first time, and wait until it answers."""
        process = self.launch()
        if process is None:
            return
        if not wait_until_ready(self._is_ready, lambda: process.poll() is None, START_SECONDS):
            self.kill()
            raise RuntimeError(f"Kafka did not start; see {self.folder / 'broker.log'}")
        if self.security is not None:
            self.security.create_users(self._internal_address(), self.users)
        # Another process may end the broker, by its pid file; without this, Popen warns of a running child.
        process.returncode = 0

    def launch(self) -> "subprocess.Popen[bytes] | None":
        """Start it unless it runs, without waiting: a broker of a cluster answers only together with others."""
        if self.pid() is not None:
            return None
        if not (self.folder / "port").exists():
            self._format_storage()
        with (self.folder / "broker.log").open("ab") as log:
            # nice becomes the broker, with the same process id.
            process = subprocess.Popen(
                ["nice", "-n", str(self._niceness), *self._java_command("kafka.Kafka", works_long=self._works_long)],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        (self.folder / "pid").write_text(str(process.pid))
        return process

    def stop(self) -> None:
        """Stop it gracefully, if it runs."""
        self._terminate(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL."""
        self._terminate(signal.SIGKILL)

    def remove(self) -> None:
        """Delete the data of a stopped broker."""
        remove_folder(self.folder)

    def pid(self) -> int | None:
        """Return the broker's process id; None if it does not run."""
        return running_pid(self.folder / "pid", str(self.folder / "server.properties"))

    def _is_ready(self) -> bool:
        if self.security is None:
            return is_ready(self.address)
        return answers(self.security.internal_client(self._internal_address()))

    def _internal_address(self) -> str:
        return f"{HOST_NAME}:{(self.folder / 'internal-port').read_text()}"

    def _terminate(self, signal_number: int) -> None:
        if (pid := self.pid()) is not None:
            terminate(pid, signal_number)

    def _format_storage(self) -> None:
        shutil.rmtree(self.folder / "data", ignore_errors=True)
        self.folder.mkdir(parents=True, exist_ok=True)
        port, controller_port, internal_port = self._chosen_port or free_port(), free_port(), free_port()
        settings = {**build_settings("127.0.0.1", port, controller_port, str(self.folder / "data")), **self._settings}
        if self.security is not None:
            settings |= self.security.broker_settings(port, controller_port, internal_port, self.folder)
            (self.folder / "internal-port").write_text(str(internal_port))
        (self.folder / "server.properties").write_text("".join(f"{k}={value}\n" for k, value in settings.items()))
        # Use =, because an id may start with a hyphen.
        cluster = f"--cluster-id={self._cluster_id or new_cluster_id()}"
        command = self._java_command("kafka.tools.StorageTool", "format", cluster, "-c")
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.returncode:
            raise RuntimeError(f"Kafka's storage could not be formatted: {result.stderr[-500:]}")
        (self.folder / "port").write_text(str(port))

    def _java_command(self, main_class: str, *arguments: str, works_long: bool = False) -> list[str]:
        logging = Path(__file__).parents[1] / "kafka" / "log4j2.yaml"
        return [
            "java",
            f"-Xmx{self.heap}",
            f"-Xms{self.heap}",
            "-XX:+UseSerialGC",
            *([] if works_long else ["-XX:TieredStopAtLevel=1"]),
            f"-Dlog4j2.configurationFile={logging}",
            "-cp",
            f"{JARS}/*",
            main_class,
            *arguments,
            str(self.folder / "server.properties"),
        ]
