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

    def wait_for(self, verdicts: int) -> None:
        """Return when so many verdicts are published. Raises TimeoutError."""
        deadline = time.monotonic() + SECONDS_MAX
        while (relayed := self.poll()) is None or relayed.verdicts < verdicts:
            if time.monotonic() > deadline:
                raise TimeoutError(_describe_timeout(verdicts))


def measure_relay(
    installation: BenchInstallation, pid: int, before: Relayed, expected_verdicts: int
) -> dict[str, float]:
    """Measure from the first transaction after ``before`` until so many verdicts more are published.

    Returns the rates of commands and of records, and processor time per command and per record.

    Raises:
        TimeoutError: the verdicts were not published in time.
        RuntimeError: all were published by the first transaction.
    """
    first: tuple[float, float, Relayed] | None = None
    deadline = time.monotonic() + SECONDS_MAX
    with RelayProbe(installation) as probe:
        while time.monotonic() < deadline:
            relayed = probe.poll()
            if relayed is None or relayed.verdicts <= before.verdicts:
                continue
            now, processor_time = time.monotonic(), processor_seconds(pid)
            is_complete = relayed.verdicts >= before.verdicts + expected_verdicts
            if first is None:
                if is_complete:
                    raise RuntimeError("one transaction published everything: measure with more commands")
                first = now, processor_time, relayed
            elif is_complete:
                seconds, processor_us = now - first[0], (processor_time - first[1]) * 1e6
                commands, records = relayed.verdicts - first[2].verdicts, relayed.records - first[2].records
                return {
                    "relay": commands / seconds,
                    "records": records / seconds,
                    "relay_us": processor_us / commands,
                    "record_us": processor_us / records,
                }
    raise TimeoutError(_describe_timeout(expected_verdicts))


def _describe_timeout(verdicts: int) -> str:
    return f"the relay published fewer than {verdicts} verdicts in {SECONDS_MAX} s; see .state/bench.log"
