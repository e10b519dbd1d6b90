"""Consumers with other client libraries: librdkafka and Kafka's own in Java."""

import contextlib
import re
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

from confluent_kafka import Consumer, TopicPartition

from deploy.local.kafka import JARS
from services.kafka.client_options import librdkafka_options
from services.kafka.partitioning import ALL_SHARDS

LINE = re.compile(rb"^Partition:(\d+)\t.*\bce_id:([0-9a-f-]+),.*\bce_sequence:(\d+)")
RecordKey = tuple[int, int, str]
"""Partition, ce_sequence and ce_id of a record."""


class ForeignConsumer(Protocol):
    """A consumer of one topic; ``records_read``: in the order of arrival."""

    @property
    def records_read(self) -> list[RecordKey]: ...


class LibrdkafkaConsumer:
    """confluent-kafka with read_committed, in a thread."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        self.records_read: list[RecordKey] = []
        self._ended = threading.Event()
        self._consumer = Consumer(
            {
                **librdkafka_options(bootstrap),
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
    """Kafka's console consumer with read_committed, which prints to a file."""

    def __init__(self, bootstrap: str, topic: str, printed: Path) -> None:
        self._printed = printed
        properties = [f"print.{part}={'true' if part in ('partition', 'headers') else 'false'}" for part in PRINTABLE]
        command = ["java", "-Xmx64m", "-XX:TieredStopAtLevel=1", "-cp", f"{JARS}/*"]
        command += ["org.apache.kafka.tools.consumer.ConsoleConsumer", "--bootstrap-server", bootstrap]
        command += ["--topic", topic, "--from-beginning", "--isolation-level", "read_committed"]
        command += [argument for setting in properties for argument in ("--property", setting)]
        with printed.open("wb") as output, printed.with_suffix(".errors").open("wb") as errors:
            self._process = subprocess.Popen(command, stdout=output, stderr=errors)

    @property
    def records_read(self) -> list[RecordKey]:
        """The records of the complete lines that it has printed so far."""
        complete_lines = self._printed.read_bytes().rpartition(b"\n")[0].splitlines()
        matches = map(LINE.match, complete_lines)
        return [(int(match[1]), int(match[3]), match[2].decode()) for match in matches if match]

    def close(self) -> None:
        """Stop reading."""
        self._process.kill()
        self._process.wait()


PRINTABLE = ("partition", "headers", "key", "value", "timestamp")


@contextlib.contextmanager
def start_consumers(bootstrap: str, topic: str, folder: Path) -> Iterator[dict[str, ForeignConsumer]]:
    """Start consumers of a topic, by name; Java's only if its jars are installed (deploy/setup)."""
    with contextlib.ExitStack() as stack:
        consumers: dict[str, ForeignConsumer] = {
            "librdkafka": stack.enter_context(contextlib.closing(LibrdkafkaConsumer(bootstrap, topic)))
        }
        if JARS.exists():
            printed = folder / "console-consumer.log"
            consumers["java"] = stack.enter_context(contextlib.closing(JavaConsumer(bootstrap, topic, printed)))
        yield consumers
