"""Sends commands to Moderated Grading and returns their verdicts. Needs aiokafka.

A command is sent again with the same ``command_id`` until its verdict arrives: the service decides it once, and answers
every retry with the first verdict.
"""

import asyncio
import contextlib
import json
import uuid
from datetime import UTC, datetime
from typing import Any, Self

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from kafka_options import kafka_options, start_client

Json = dict[str, Any]
ATTEMPTS = 4
SECONDS_PER_ATTEMPT = 10.0


class NoVerdict(Exception):
    """No verdict was read. The command may still be decided: send the same command again, with its ``command_id``.

    A record whose ``command_id`` cannot be read gets no verdict at all; it goes to the topic ``dead-letters``.
    """


class Rejected(Exception):
    """A command was rejected. ``verdict`` states why; a new attempt is a new command with a new ``command_id``."""

    def __init__(self, verdict: Json) -> None:
        fields = "; ".join(f"{error['path']}: {error['message']}" for error in verdict["errors"])
        super().__init__(f"{verdict['type']}: {verdict['reason']}: {fields or verdict['message']}")
        self.verdict = verdict


def new_command(kind: str, course_id: int, data: Json, *, root_account_id: int = 1, **fields: Any) -> Json:
    """Build a command. ``fields``: ``assignment_id``, ``actor`` and other fields of the envelope.

    Keep it until its verdict arrives: a retry needs the same ``command_id``.
    """
    return {
        "command_id": str(uuid.uuid4()),
        "type": kind,
        "issued_at": datetime.now(UTC).isoformat(),
        "root_account_id": root_account_id,
        "course_id": course_id,
        "data": data,
        **fields,
    }


class ModerationClient:
    """Writes to the commands topic and reads the verdicts topic, as an async context manager."""

    def __init__(self, prefix: str = "moderation", headers: tuple[tuple[str, bytes], ...] = ()) -> None:
        """``headers`` of every record, e.g. ``authorization`` if the service requires tokens."""
        self._topic = f"{prefix}.commands"
        self._headers = headers
        self._waiting: dict[str, asyncio.Future[Json]] = {}
        # The default partitioner is murmur2, as the service expects.
        self._producer = AIOKafkaProducer(**kafka_options(), enable_idempotence=True)
        self._consumer = AIOKafkaConsumer(
            f"{prefix}.verdicts",
            **kafka_options(),
            isolation_level="read_committed",  # Verdicts are written in transactions.
            auto_offset_reset="latest",
        )

    async def __aenter__(self) -> Self:
        """Connect. Raises BrokerUnreachable and other errors of Kafka."""
        try:
            await self._start()
        except BaseException:
            await self._stop()
            raise
        self._reader = asyncio.create_task(self._read_verdicts())
        return self

    async def __aexit__(self, *error: object) -> None:
        self._reader.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._reader
        await self._stop()

    async def _start(self) -> None:
        await start_client(self._producer)
        await start_client(self._consumer)
        for partition in self._consumer.assignment():
            await self._consumer.position(partition)  # Start to read here, before anything is sent.

    async def _stop(self) -> None:
        await self._producer.stop()
        await self._consumer.stop()

    async def send(self, command: Json) -> Json:
        """Send a command and return its verdict. Raises Rejected and NoVerdict."""
        command_id = command["command_id"]
        verdict = self._waiting[command_id] = asyncio.get_running_loop().create_future()
        try:
            for _ in range(ATTEMPTS):
                await self._producer.send_and_wait(
                    self._topic,
                    json.dumps(command).encode(),
                    key=str(command["course_id"]).encode(),  # Keeps the commands of a course in order.
                    headers=self._headers,
                )
                await asyncio.wait([verdict, self._reader], timeout=SECONDS_PER_ATTEMPT, return_when="FIRST_COMPLETED")
                if self._reader.done():
                    self._reader.result()
                if verdict.done():
                    break
            else:
                raise NoVerdict(
                    f"{command['type']} {command_id}: no verdict after {ATTEMPTS} attempts. It may still be decided:"
                    " check that the service runs (development stack: deploy/stack status), then send the same command"
                )
        finally:
            del self._waiting[command_id]
        answer: Json = verdict.result()
        if answer["status"] == "rejected":
            raise Rejected(answer)
        return answer

    async def _read_verdicts(self) -> None:
        async for record in self._consumer:
            verdict = json.loads(record.value)
            waiting = self._waiting.get(verdict["command_id"])
            if waiting is not None and not waiting.done():
                waiting.set_result(verdict)
