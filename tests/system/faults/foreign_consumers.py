"""Other clients than ours that read a topic, as our consumers' are: librdkafka and Kafka's own in Java."""

import contextlib
import re
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

from confluent_kafka import Consumer, TopicPartition

from deploy.local.kafka import JARS
from services.kafka.partitioning import ALL_SHARDS

LINE = re.compile(rb"^Partition:(\d+)\t.*\bce_id:([0-9a-f-]+),.*\bce_sequence:(\d+)")
RecordKey = tuple[int, int, str]
"""Partition, ce_sequence and ce_id of a record."""


class ForeignConsumer(Protocol):
    """Whoever reads; ``seen``: the records, in the order they came."""

    @property
    def records_read(self) -> list[RecordKey]: ...


class LibrdkafkaConsumer:
    """confluent-kafka, read_committed, in a thread of its own."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        self.records_read: list[RecordKey] = []
        self._ended = threading.Event()
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": "reads-alone",
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
            }
        )
        self._consumer.assign([TopicPartition(topic, number, 0) for number in ALL_SHARDS])
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        while not self._ended.is_set():
            for message in self._consumer.consume(500, 0.05):
                assert message.error() is None, message.error()
                headers: Any = dict(message.headers() or ())
                partition = message.partition()
                assert partition is not None
                self.records_read.append((partition, int(headers["ce_sequence"]), headers["ce_id"].decode()))

    def close(self) -> None:
        """Stop reading."""
        self._ended.set()
        self._thread.join()
        self._consumer.close()


class JavaConsumer:
    """Kafka's own console consumer, read_committed; what it prints is in ``printed``."""

    def __init__(self, bootstrap: str, topic: str, printed: Path) -> None:
        self._printed = printed
        show = [f"print.{what}={'true' if what in ('partition', 'headers') else 'false'}" for what in PRINTABLE]
        command = ["java", "-Xmx64m", "-XX:TieredStopAtLevel=1", "-cp", f"{JARS}/*"]
        command += ["org.apache.kafka.tools.consumer.ConsoleConsumer", "--bootstrap-server", bootstrap]
        command += ["--topic", topic, "--from-beginning", "--isolation-level", "read_committed"]
        command += [part for what in show for part in ("--property", what)]
        with printed.open("wb") as output, printed.with_suffix(".errors").open("wb") as errors:
            self._process = subprocess.Popen(command, stdout=output, stderr=errors)

    @property
    def records_read(self) -> list[RecordKey]:
        """What it has printed so far; of a line that is not whole yet nothing."""
        whole = self._printed.read_bytes().rpartition(b"\n")[0]
        found = (LINE.match(line) for line in whole.splitlines())
        return [(int(line[1]), int(line[3]), line[2].decode()) for line in found if line]

    def close(self) -> None:
        """Stop reading."""
        self._process.kill()
        self._process.wait()


PRINTABLE = ("partition", "headers", "key", "value", "timestamp")


@contextlib.contextmanager
def start_consumers(bootstrap: str, topic: str, folder: Path) -> Iterator[dict[str, ForeignConsumer]]:
    """Readers of a topic from now on, by name; Java's only where its jars are (deploy/setup)."""
    with contextlib.ExitStack() as stack:
        readers: dict[str, ForeignConsumer] = {
            "librdkafka": stack.enter_context(contextlib.closing(LibrdkafkaConsumer(bootstrap, topic)))
        }
        if JARS.exists():
            printed = folder / "console-consumer.log"
            readers["java"] = stack.enter_context(contextlib.closing(JavaConsumer(bootstrap, topic, printed)))
        yield readers
