"""The demo's client: a producer of commands and a consumer of every output topic."""

import asyncio
import json
import sys
import time
from collections import Counter
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from rich.console import Console

from deploy.season.sample_data import Course, Json, encode_command
from services.kafka.client_options import client_options

DEADLINE_SECONDS = 60


class DemoClient:
    """Sends commands, reads the output topics with read_committed, and counts what it reads."""

    def __init__(self, bootstrap: str, prefix: str, console: Console) -> None:
        self.prefix = prefix
        self.console = console
        self.producer = AIOKafkaProducer(**client_options(bootstrap), enable_idempotence=True)
        names = [
            f"{prefix}.{name}" for name in ("commands", "verdicts", "events", "live-events", "caliper", "dead-letters")
        ]
        self.consumer = AIOKafkaConsumer(
            *names,
            **client_options(bootstrap),
            isolation_level="read_committed",
            auto_offset_reset="latest",
            fetch_max_wait_ms=20,
        )
        self.sent_at: dict[str, float] = {}
        self.sent_counts: Counter[str] = Counter()
        self.keys: set[bytes] = set()
        self.command_count = 0
        self.verdicts: dict[str, list[Json]] = {}
        self.verdict_seconds: list[float] = []
        self.live_events: list[Json] = []
        self.live_event_seconds: list[float] = []
        self.caliper_count = 0
        self.event_counts: Counter[str] = Counter()
        self.dead_letters: list[Any] = []

    async def send(self, value: bytes, key: int, command_id: str | None) -> None:
        """Send a record. ``command_id``: None for an unreadable record."""
        if command_id is not None:
            self.sent_at.setdefault(command_id, time.time())
            self.sent_counts[command_id] += 1
        self.keys.add(str(key).encode())
        await self.producer.send(f"{self.prefix}.commands", value, key=str(key).encode())

    async def read(self) -> None:
        """Read the topics until cancelled."""
        while True:
            for partition, records in (await self.consumer.getmany(timeout_ms=50)).items():
                for record in records:
                    self._handle_record(partition.topic.removeprefix(f"{self.prefix}."), record)

    def _handle_record(self, name: str, record: Any) -> None:
        headers = dict(record.headers)
        now = time.time()
        if record.key not in self.keys:
            return
        if name == "commands":
            self.command_count += 1
        elif name == "dead-letters":
            self.dead_letters.append(record)
        elif headers["ce_causationid"].decode() not in self.sent_at:
            return
        elif name == "verdicts":
            verdict = json.loads(record.value)
            verdicts = self.verdicts.setdefault(verdict["command_id"], [])
            verdicts.append(verdict)
            if not verdict["duplicate"]:
                self.verdict_seconds.append(now - self.sent_at[verdict["command_id"]])
        elif name == "live-events":
            event = json.loads(record.value)
            self.live_events.append(event)
            print_grade(self.console, event["body"])
            self.live_event_seconds.append(now - self.sent_at[headers["ce_causationid"].decode()])
        elif name == "caliper":
            self.caliper_count += 1
        else:
            self.event_counts[headers["ce_type"].decode().split(".")[1]] += 1

    def verdict_count(self) -> int:
        """Return the number of verdicts read."""
        return sum(map(len, self.verdicts.values()))

    async def wait_for_verdicts(self) -> None:
        """Wait until every record sent has its verdict. SystemExit after the deadline."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while self.verdict_count() < self.sent_counts.total():
            if time.monotonic() > deadline:
                sys.exit(
                    f"deploy/demo: {self.sent_counts.total() - self.verdict_count()} verdicts are missing after"
                    f" {DEADLINE_SECONDS} s; see deploy/stack logs handler and deploy/stack logs relay"
                )
            await asyncio.sleep(0.01)

    async def wait_for_dead_letter(self) -> str:
        """Wait for the dead letter of the unreadable record, and return its reason."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not self.dead_letters:
            if time.monotonic() > deadline:
                sys.exit(f"deploy/demo: no dead letter after {DEADLINE_SECONDS} s; see deploy/stack logs relay")
            await asyncio.sleep(0.01)
        return str(dict(self.dead_letters[0].headers)["dead_letter_reason"].decode())

    async def send_and_wait(self, course: Course, command: Json) -> Json:
        """Send one command and return its verdict."""
        await self.send(encode_command(command), course.course_id, command["command_id"])
        await self.wait_for_verdicts()
        return self.verdicts[command["command_id"]][-1]


def print_grade(console: Console, body: Json) -> None:
    """Print a grade_change in one line."""
    points = f"{body['score']:g} of {body['points_possible']:g}"
    muted = "muted" if body["muted"] else "posted"
    console.print(
        f"    [cyan]→[/] {body['assignment_name']:<24} {body['student_sis_id']:<7} [bold]{body['grade']:<10}[/] "
        f"{points:<11} [dim]{muted}[/]"
    )
