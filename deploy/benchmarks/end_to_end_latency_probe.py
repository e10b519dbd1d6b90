"""When records can be read from the topics: a read_committed consumer in a thread of its own."""

import threading
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from confluent_kafka import Consumer, TopicPartition

from deploy.benchmarks.environment import Installation
from deploy.benchmarks.processes import until
from services.kafka.partitioning import SHARDS
from services.kafka.topics import topic


class Arrivals:
    """Reads topics from where they end now, while the block runs.

    ``seen``: by topic (without prefix) and id of the causing command the time of each record, by time.monotonic().
    """

    def __init__(self, installation: Installation, names: Sequence[str]) -> None:
        self.prefix = installation.prefix
        self.seen: dict[str, dict[str, list[float]]] = {name: {} for name in names}
        self._consumer = Consumer(
            {
                "bootstrap.servers": installation.bootstrap,
                "group.id": f"{self.prefix}.arrivals",
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "fetch.wait.max.ms": 100,
                "fetch.error.backoff.ms": 5,
            }
        )
        places = [TopicPartition(topic(self.prefix, name), shard) for name in names for shard in range(SHARDS)]
        for place in places:
            place.offset = self._consumer.get_watermark_offsets(place, timeout=30)[1]
        self._consumer.assign(places)
        self._ending = threading.Event()
        self._reading = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> Self:
        self._reading.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending.set()
        self._reading.join()
        self._consumer.close()

    def _read(self) -> None:
        while not self._ending.is_set():
            message = self._consumer.poll(0.1)
            if message is None or message.error():
                continue
            now = time.monotonic()
            name = str(message.topic()).removeprefix(f"{self.prefix}.")
            caused_by = dict(message.headers() or ())["ce_causationid"].decode()  # type: ignore
            self.seen[name].setdefault(caused_by, []).append(now)

    async def of(self, name: str, commands: Sequence[str], count: int = 1) -> list[float]:
        """When the last of ``count`` records of each command came, once all have. TimeoutError when they do not."""
        times = self.seen[name]
        await until(
            lambda: all(len(times.get(command, ())) >= count for command in commands), f"{count} a command on {name}"
        )
        return [times[command][count - 1] for command in commands]
