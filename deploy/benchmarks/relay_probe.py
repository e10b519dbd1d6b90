"""Follows a relay by the progress that it commits, in the form that every version of it has written."""

import json
import time
from collections.abc import Mapping
from types import TracebackType
from typing import NamedTuple, Self

from confluent_kafka import Consumer, TopicPartition

from deploy.benchmarks.environment import BenchInstallation
from deploy.benchmarks.processes import processor_seconds
from deploy.local.kafka import client_settings
from services.kafka.topics import full_topic_name

SECONDS_MAX = 120


class Relayed(NamedTuple):
    """Verdicts and records of all topics that a relay has published since its topics were created."""

    verdicts: int
    records: int


class RelayProbe:
    """Reads the progress topic from its beginning, while the block runs."""

    def __init__(self, installation: BenchInstallation) -> None:
        self._consumer = Consumer(
            client_settings(installation.bootstrap) | {"group.id": "bench", "enable.auto.commit": False}
        )
        self._topic = full_topic_name(installation.prefix, "progress")
        self._sequences: dict[int, Mapping[str, list[int]]] = {}
        self._partition_count = 0

    def __enter__(self) -> Self:
        partitions = self._consumer.list_topics(self._topic, timeout=30).topics[self._topic].partitions
        self._partition_count = len(partitions)
        self._consumer.assign([TopicPartition(self._topic, partition, 0) for partition in partitions])
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._consumer.close()

    def poll(self) -> Relayed | None:
        """Wait briefly for a change; return what is published, None without a change or before all is known."""
        message = self._consumer.poll(0.1)
        if message is None or message.error():
            return None
        self._sequences[message.partition() or 0] = json.loads(message.value() or b"")["sequences"]
        if len(self._sequences) < self._partition_count:
            return None
        lanes = self._sequences.values()
        return Relayed(
            sum(sum(lane.get("verdicts", ())) for lane in lanes),
            sum(sum(map(sum, lane.values())) for lane in lanes),
        )

    def wait_for(self, verdicts: int) -> Relayed:
        """Wait until so many verdicts are published, and return what is. Raises TimeoutError."""
        deadline = time.monotonic() + SECONDS_MAX
        while (relayed := self.poll()) is None or relayed.verdicts < verdicts:
            if time.monotonic() > deadline:
                raise TimeoutError(f"fewer than {verdicts} verdicts relayed in {SECONDS_MAX} s; see .state/bench.log")
        return relayed


def measure_relay(
    installation: BenchInstallation, pid: int, before: Relayed, expected_verdicts: int
) -> dict[str, float]:
    """Measure from now, when the relay begins, until so many verdicts more than ``before`` are published.

    Transactions of several lanes run concurrently: to measure from the end of the first one would count what the others
    had done by then. Returns the rates of commands and of records, and processor time per command and per record.
    Raises TimeoutError.
    """
    started_at, seconds_before = time.monotonic(), processor_seconds(pid)
    with RelayProbe(installation) as probe:
        relayed = probe.wait_for(before.verdicts + expected_verdicts)
    seconds, processor_us = time.monotonic() - started_at, (processor_seconds(pid) - seconds_before) * 1e6
    commands, records = relayed.verdicts - before.verdicts, relayed.records - before.records
    return {
        "relay": commands / seconds,
        "records": records / seconds,
        "relay_us": processor_us / commands,
        "record_us": processor_us / records,
    }
