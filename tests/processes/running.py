"""Real handler and relay processes, and clients that see them from outside."""

import asyncio
import inspect
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from deploy.local.paths import ROOT, free_port
from services.kafka.topics import full_topic_name
from tests.processes.contracts import find_breach, find_command_breach

Json = dict[str, Any]
DEADLINE_SECONDS = 60
"""Only what is wrong takes so long: a slow machine, or one that stands still for a while, does not."""
ANSWER_SECONDS = 10


async def wait_until(condition: Callable[[], Any], description: str, seconds: float = DEADLINE_SECONDS) -> Any:
    """Poll until the claim, which may have to be awaited, is true, and return what it returned."""
    deadline = time.monotonic() + seconds
    while True:
        result = condition()
        if inspect.isawaitable(result):
            result = await result
        if result:
            return result
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {description}")
        await asyncio.sleep(0.01)


class Process:
    """One of our processes: ``name`` is handler, relay, gateway or console."""

    def __init__(self, name: str, environment: dict[str, str], log: Path) -> None:
        self.name = name
        self.module = f"services.{name}"
        self.host = environment.get("HEALTH_HOST", "127.0.0.1")
        self.port = free_port()
        self.environment = {**os.environ, **environment, "HEALTH_PORT": str(self.port)}
        self.log = log
        self.popen: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    def start(self) -> None:
        with self.log.open("ab") as log:
            command = [sys.executable, "-m", self.module]
            self.popen = subprocess.Popen(command, cwd=ROOT, env=self.environment, stdout=log, stderr=log)

    def signal(self, number: int) -> None:
        assert self.popen is not None
        self.popen.send_signal(number)

    def kill(self) -> None:
        if self.popen is not None:
            self.popen.kill()
            self.popen.wait()
            self.popen = None

    def stop(self) -> int:
        assert self.popen is not None
        self.popen.send_signal(signal.SIGTERM)
        code = self.popen.wait(DEADLINE_SECONDS)
        self.popen = None
        return code

    def get_health_page(self, page: str) -> tuple[int, str]:
        """Status of the ready or live page, and what it says; 0 while nobody answers."""
        try:
            with urllib.request.urlopen(f"{self.url}/health/{page}", timeout=ANSWER_SECONDS) as answer:
                return answer.status, json.load(answer)["status"]
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)["status"]
        except OSError:
            return 0, "does not answer"

    def get_readiness(self) -> tuple[int, str]:
        """Status and reason of the ready page."""
        return self.get_health_page("ready")

    def get_metrics(self) -> list[Metric]:
        """What the process tells Prometheus."""
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=DEADLINE_SECONDS) as answer:
            return list(text_string_to_metric_families(answer.read().decode()))

    def get_metric(self, name: str, **labels: str) -> float:
        """The sum of a metric's series with these labels."""
        samples = [sample for family in self.get_metrics() for sample in family.samples if sample.name == name]
        return sum(sample.value for sample in samples if labels.items() <= sample.labels.items())

    async def wait_until_ready(self) -> None:
        await wait_until(lambda: self.get_readiness()[0] == 200, f"{self.name} is ready ({self.log})")


class ExternalClient:
    """A producer of commands and a read_committed reader of everything the relay writes.

    Every record it reads is held against its contract; the tests that wait for records fail at the first breach.
    """

    def __init__(self, bootstrap: str, prefix: str) -> None:
        self.bootstrap = bootstrap
        self.prefix = prefix
        self.records: dict[str, list[ConsumerRecord[Any, Any]]] = {
            name: [] for name in ("verdicts", "events", "live-events", "caliper", "dead-letters")
        }
        self.verdicts: dict[str, list[Json]] = {}
        self.outputs_by_command: dict[tuple[str, str], list[tuple[str, Json]]] = {}
        self.sent_commands: dict[str, Json] = {}
        self.breaches: list[str] = []

    async def start(self) -> None:
        await self.recreate_producer()
        self.consumer = AIOKafkaConsumer(
            *(full_topic_name(self.prefix, name) for name in self.records),
            bootstrap_servers=self.bootstrap,
            isolation_level="read_committed",
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            fetch_max_wait_ms=20,
        )
        await self.consumer.start()
        # Sees where a topic ends, open transactions included.
        self.uncommitted_consumer = AIOKafkaConsumer(bootstrap_servers=self.bootstrap, enable_auto_commit=False)
        await self.uncommitted_consumer.start()
        self.reader_task = asyncio.create_task(self._read())

    async def recreate_producer(self) -> None:
        """A producer that knows the topics as they are now."""
        self.producer = AIOKafkaProducer(
            bootstrap_servers=self.bootstrap, enable_idempotence=True, max_request_size=2 << 20
        )
        await self.producer.start()

    async def close(self) -> None:
        self.reader_task.cancel()
        await asyncio.gather(self.reader_task, return_exceptions=True)
        await self.consumer.stop()
        await self.uncommitted_consumer.stop()
        await self.producer.stop()
        self.assert_no_breaches()

    def assert_no_breaches(self) -> None:
        """Nothing was read that is not as the schemas say."""
        assert not self.breaches, self.breaches[:3]

    async def _read(self) -> None:
        while True:
            for partition, records in (await self.consumer.getmany(timeout_ms=100)).items():
                name = partition.topic.removeprefix(f"{self.prefix}.")
                self.records[name].extend(records)
                self.breaches += filter(None, (find_breach(name, record) for record in records))
                for record in records:
                    if name == "verdicts":
                        self._record_verdict(json.loads(record.value or b""))
                    elif name != "dead-letters":
                        headers = dict(record.headers)
                        kind = headers["ce_type"].decode().split(".")[1]
                        output_key = (name, headers["ce_causationid"].decode())
                        self.outputs_by_command.setdefault(output_key, []).append(
                            (kind, json.loads(record.value or b""))
                        )

    def _record_verdict(self, verdict: Json) -> None:
        """A command that is accepted keeps to its schema."""
        self.verdicts.setdefault(verdict["command_id"], []).append(verdict)
        command = self.sent_commands.pop(verdict["command_id"], None)
        if command is not None and verdict["status"] == "accepted":
            self.breaches += filter(None, [find_command_breach(command)])

    async def send(self, command: Json) -> None:
        self.sent_commands[command["command_id"]] = command
        await self.send_raw(json.dumps(command).encode(), command["course_id"].encode())

    async def send_raw(
        self, value: bytes | None, key: bytes | None = None, headers: Any = (), partition: int | None = None
    ) -> Any:
        return await self.producer.send(
            full_topic_name(self.prefix, "commands"), value, key=key, headers=list(headers), partition=partition
        )

    async def send_and_wait(self, command: Json) -> Json:
        """Send a command and await its verdict."""
        await self.send(command)
        return await self.wait_for_verdict(command["command_id"])

    async def wait_for_verdict(self, command_id: str, number: int = 1) -> Json:
        await wait_until(lambda: len(self.verdicts.get(command_id, ())) >= number, f"verdict {number} of {command_id}")
        self.assert_no_breaches()
        return self.verdicts[command_id][number - 1]

    async def wait_for_outputs(self, name: str, command_id: str, count: int) -> list[tuple[str, Json]]:
        """What a command caused on a topic, once ``count`` records are there."""
        await wait_until(
            lambda: len(self.outputs_by_command.get((name, command_id), ())) >= count,
            f"{count} on {name} of {command_id}",
        )
        self.assert_no_breaches()
        return self.outputs_by_command.get((name, command_id), [])

    async def wait_until_read(self, name: str) -> None:
        """Return once everything that stands on a topic now has been read; an open transaction is waited for.

        A transaction's topics may be served in any order: having read one of them says nothing about the others.
        """
        partitions = [
            partition
            for partition in self.consumer.assignment()
            if partition.topic == full_topic_name(self.prefix, name)
        ]
        assert partitions, f"{name} is not read"
        for partition, end in (await self.uncommitted_consumer.end_offsets(partitions)).items():
            await wait_until(partial(self._has_read, partition, end), f"{name} is read to its end")

    async def _has_read(self, partition: TopicPartition, end: int) -> bool:
        return bool(await self.consumer.position(partition) >= end)
