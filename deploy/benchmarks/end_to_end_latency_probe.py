"""Record when records become readable on the topics, with a read_committed consumer in its own thread."""

import threading
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from confluent_kafka import Consumer, TopicPartition

from deploy.benchmarks.environment import BenchInstallation
from deploy.benchmarks.processes import wait_until
from deploy.local.kafka import client_settings
from services.kafka.partitioning import ALL_SHARDS
from services.kafka.topics import full_topic_name


class ArrivalProbe:
    """Reads topics from their current ends on, while the block runs.

    ``arrival_times``: the time.monotonic() of each record, by topic (without prefix) and id of the causing command.
    """

    def __init__(self, installation: BenchInstallation, names: Sequence[str]) -> None:
        self.prefix = installation.prefix
        self.arrival_times: dict[str, dict[str, list[float]]] = {name: {} for name in names}
        self._consumer = Consumer(
            {
                **client_settings(installation.bootstrap),
                "group.id": f"{self.prefix}.arrivals",
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "fetch.wait.max.ms": 100,
                "fetch.error.backoff.ms": 5,
            }
        )
        partitions = [
            TopicPartition(full_topic_name(self.prefix, name), shard) for name in names for shard in ALL_SHARDS
        ]
        for partition in partitions:
            partition.offset = self._consumer.get_watermark_offsets(partition, timeout=30)[1]
        self._consumer.assign(partitions)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._thread.join()
        self._consumer.close()

    def _read(self) -> None:
        while not self._stopping.is_set():
            message = self._consumer.poll(0.1)
            if message is None or message.error():
                continue
            now = time.monotonic()
            name = str(message.topic()).removeprefix(f"{self.prefix}.")
            causation_id = dict(message.headers() or ())["ce_causationid"].decode()  # type: ignore
            self.arrival_times[name].setdefault(causation_id, []).append(now)

    async def wait_for(self, name: str, commands: Sequence[str], count: int = 1) -> list[float]:
        """Wait for ``count`` records of each command; return the arrival of each last one. Raises TimeoutError."""
        times = self.arrival_times[name]
        await wait_until(
            lambda: all(len(times.get(command, ())) >= count for command in commands), f"{count} per command on {name}"
        )
        return [times[command][count - 1] for command in commands]
