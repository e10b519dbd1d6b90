"""One Apache Kafka broker in KRaft mode, on free ports, from the jars that deploy/setup fetched."""

import base64
import shutil
import subprocess
import uuid
from pathlib import Path

from deploy.tools.places import STATE, answers, free_port

JARS = STATE / "kafka" / "jars"
START_SECONDS = 60
PROPERTIES = """
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
log.dirs={folder}/data
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
transaction.max.timeout.ms=60000
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
log.cleaner.dedupe.buffer.size=16777216
message.max.bytes=5242880
replica.fetch.max.bytes=5242880
"""


class KafkaServer:
    """A broker whose data, ports and id stay the same over restarts. Raises RuntimeError when it does not start."""

    def __init__(self, folder: Path, heap: str = "512m") -> None:
        self.folder = folder
        self.heap = heap
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def port(self) -> int:
        """The client port, drawn when the broker is first formatted."""
        return int((self.folder / "port").read_text())

    @property
    def bootstrap(self) -> str:
        """host:port."""
        return f"127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Process id of the running broker."""
        if self.process is None:
            raise RuntimeError("the broker is not running")
        return self.process.pid

    def start(self) -> None:
        """Start, formatting the storage the first time, and return when the port answers."""
        if not (self.folder / "port").exists():
            self._format()
        with (self.folder / "broker.log").open("ab") as log:
            self.process = subprocess.Popen(
                self._java("kafka.Kafka"), stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
            )
        process = self.process
        if not answers(self.port, lambda: process.poll() is None, START_SECONDS):
            self.kill()
            raise RuntimeError(f"Kafka did not start: see {self.folder / 'broker.log'}")

    def stop(self) -> None:
        """End in good order."""
        if self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process = None

    def kill(self) -> None:
        """SIGKILL."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def _format(self) -> None:
        shutil.rmtree(self.folder / "data", ignore_errors=True)
        self.folder.mkdir(parents=True, exist_ok=True)
        port, controller = free_port(), free_port()
        properties = PROPERTIES.format(port=port, controller=controller, folder=self.folder)
        (self.folder / "server.properties").write_text(properties)
        # Written with =, because an id may begin with a hyphen.
        cluster = "--cluster-id=" + base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        command = self._java("kafka.tools.StorageTool", "format", cluster, "-c")
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"Kafka's storage could not be formatted: {done.stderr[-500:]}")
        (self.folder / "port").write_text(str(port))

    def _java(self, main: str, *arguments: str) -> list[str]:
        logging = Path(__file__).parents[1] / "kafka" / "log4j2.yaml"
        return [
            "java",
            f"-Xmx{self.heap}",
            f"-Xms{self.heap}",
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            f"-Dlog4j2.configurationFile={logging}",
            "-cp",
            f"{JARS}/*",
            main,
            *arguments,
            str(self.folder / "server.properties"),
        ]
