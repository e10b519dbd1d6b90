"""The demo's client: a producer of commands and a consumer of every output topic."""

import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from deploy.season.sample_data import Json, encode_command
from services.kafka.client_options import client_options

DEADLINE_SECONDS = 60
TOPICS = ("commands", "verdicts", "events", "live-events", "caliper", "dead-letters")
GRADE_EVENTS = ("grade_published", "grade_revised")


@dataclass
class CommandRecords:
    """The records on the output topics that one command led to."""

    verdicts: list[Json] = field(default_factory=list)
    events: list[Json] = field(default_factory=list)
    grade_changes: list[Json] = field(default_factory=list)

    def is_complete(self) -> bool:
        """Return whether the verdict, its events and their grade_changes have arrived."""
        if not self.verdicts or len(self.events) < self.verdicts[0]["events"]:
            return False
        return len(self.grade_changes) == sum(event["type"] in GRADE_EVENTS for event in self.events)


class DemoClient:
    """Sends commands, reads the output topics with read_committed, and counts what it reads.

    Ids of courses are unique per season, so that a record's key shows whether it belongs to this season.
    """

    def __init__(self, bootstrap: str, prefix: str) -> None:
        self.prefix = prefix
        self.producer = AIOKafkaProducer(**client_options(bootstrap), enable_idempotence=True)
        self.consumer = AIOKafkaConsumer(
            *(f"{prefix}.{name}" for name in TOPICS),
            **client_options(bootstrap),
            isolation_level="read_committed",
            auto_offset_reset="latest",
            fetch_max_wait_ms=20,
        )
        self.keys: set[bytes] = set()
        self.sent_counts: Counter[str] = Counter()
        self.verdict_count = 0
        self.command_counts: Counter[str] = Counter()
        self.unreadable_count = 0
        self.scheduled_commands: dict[str, str] = {}
        self.by_command: dict[str, CommandRecords] = {}
        self.caliper_count = 0
        self.dead_letters: list[Any] = []
        self.verdict_seconds: list[float] = []

    async def send(self, value: bytes, key: int, command_id: str | None) -> None:
        """Send a record. ``command_id``: None for an unreadable record."""
        if command_id is not None:
            self.sent_counts[command_id] += 1
        self.keys.add(str(key).encode())
        await self.producer.send(f"{self.prefix}.commands", value, key=str(key).encode())

    async def read(self) -> None:
        """Read the topics until cancelled."""
        while True:
            for partition, records in (await self.consumer.getmany(timeout_ms=50)).items():
                for record in records:
                    if record.key in self.keys:
                        self._handle_record(partition.topic.removeprefix(f"{self.prefix}."), record)

    def _handle_record(self, name: str, record: Any) -> None:
        if name == "commands":
            self._count_command(record.value)
        elif name == "dead-letters":
            self.dead_letters.append(record)
        elif name == "caliper":
            self.caliper_count += 1
        else:
            headers = {header: value.decode() for header, value in record.headers}
            value, records = json.loads(record.value), self.records(headers["ce_causationid"])
            if name == "verdicts":
                self.verdict_count += 1
                records.verdicts.append(value)
            elif name == "live-events":
                records.grade_changes.append({"headers": headers, **value})
            else:
                records.events.append({"type": headers["ce_type"].split(".")[1], **value})

    def _count_command(self, value: bytes) -> None:
        """Count a command; one with a schedule's id comes from the scheduler."""
        try:
            command = json.loads(value)
        except ValueError:
            self.unreadable_count += 1
            return
        self.command_counts[command["command_id"]] += 1
        if (schedule_id := command["data"].get("schedule_id")) is not None:
            self.scheduled_commands[schedule_id] = command["command_id"]

    def records(self, command_id: str) -> CommandRecords:
        """Return the records of a command; they are added as they arrive."""
        return self.by_command.setdefault(command_id, CommandRecords())

    def all_events(self) -> list[Json]:
        """Return the domain events that have arrived."""
        return [event for records in self.by_command.values() for event in records.events]

    def all_grade_changes(self) -> list[Json]:
        """Return the grade_changes that have arrived."""
        return [change for records in self.by_command.values() for change in records.grade_changes]

    async def wait_until(self, is_done: Callable[[], bool], missing: str, seconds: float = DEADLINE_SECONDS) -> None:
        """Wait for records. SystemExit, naming what is ``missing``, after the deadline."""
        deadline = time.monotonic() + seconds
        while not is_done():
            if time.monotonic() > deadline:
                sys.exit(f"deploy/demo: {missing} after {seconds:.0f} s; look at deploy/stack status and logs")
            await asyncio.sleep(0.005)

    async def wait_for_verdicts(self) -> None:
        """Wait until every record sent has its verdict. SystemExit after the deadline."""
        await self.wait_until(lambda: self.verdict_count >= self.sent_counts.total(), "verdicts are missing")

    async def send_all(self, commands: list[Json], progress: Callable[[int], None]) -> None:
        """Send commands without waiting for each verdict, then wait for all. ``progress``: gets the verdicts so far."""
        before = self.verdict_count
        for command in commands:
            await self.send(encode_command(command), int(command["course_id"]), command["command_id"])
            progress(self.verdict_count - before)
            await asyncio.sleep(0.002)
        await self.wait_for_verdicts()
        progress(len(commands))

    async def send_and_wait(self, command: Json) -> CommandRecords:
        """Send one command and return its records when all of them have arrived."""
        started, command_id = time.monotonic(), command["command_id"]
        records, earlier_verdicts = self.records(command_id), len(self.records(command_id).verdicts)
        await self.send(encode_command(command), int(command["course_id"]), command_id)
        await self.wait_until(lambda: len(records.verdicts) > earlier_verdicts, "a verdict is missing")
        self.verdict_seconds.append(time.monotonic() - started)
        await self.wait_until(records.is_complete, "events of an accepted command are missing")
        return records

    async def wait_for_scheduled(self, schedule_id: str, seconds: float) -> CommandRecords:
        """Wait for the publication that the scheduler sends, and return its records."""
        missing = "the scheduled publication is missing"
        await self.wait_until(lambda: schedule_id in self.scheduled_commands, missing, seconds + DEADLINE_SECONDS)
        command_id = self.scheduled_commands[schedule_id]
        # The scheduler's command has a verdict like those that were sent here.
        self.sent_counts[command_id] += self.command_counts[command_id]
        records = self.records(command_id)
        await self.wait_until(records.is_complete, "records of the scheduled publication are missing")
        return records

    async def wait_for_dead_letter(self) -> str:
        """Wait for the dead letter of the unreadable record, and return its reason."""
        await self.wait_until(lambda: bool(self.dead_letters), "a dead letter is missing")
        return str(dict(self.dead_letters[0].headers)["dead_letter_reason"].decode())
