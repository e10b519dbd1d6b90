"""Sends each command when it is due, regardless of earlier ones."""

import asyncio
import json
import time
from collections.abc import Sequence

from confluent_kafka import Producer

from deploy.benchmarks.environment import BenchInstallation
from deploy.benchmarks.workload import Json
from deploy.local.kafka import client_settings
from services.kafka.topics import full_topic_name


class OpenLoopSender:
    """One producer for all measurements on an installation.

    An idempotent producer requests an id when it starts. If the broker is not connected yet, librdkafka repeats the
    request only after half a second, which a new producer for each measurement would include.
    """

    def __init__(self, installation: BenchInstallation) -> None:
        self._topic = full_topic_name(installation.prefix, "commands")
        self._producer = Producer(
            {
                **client_settings(installation.bootstrap),
                "enable.idempotence": True,
                "partitioner": "murmur2_random",
                "linger.ms": 0,
            }
        )

    async def send(self, commands: Sequence[Json], per_second: float) -> dict[str, float]:
        """Send commands evenly spaced; return the due time of each (time.monotonic()) by its id."""
        return await asyncio.to_thread(self._send, commands, per_second)

    def _send(self, commands: Sequence[Json], per_second: float) -> dict[str, float]:
        values = [json.dumps(command).encode() for command in commands]
        due_times: dict[str, float] = {}
        started_at = time.monotonic() + 0.1
        for number, (command, value) in enumerate(zip(commands, values, strict=True)):
            due_at = due_times[command["command_id"]] = started_at + number / per_second
            if (wait_seconds := due_at - time.monotonic()) > 0:
                time.sleep(wait_seconds)
            self._producer.produce(self._topic, value, command["course_id"].encode())
            self._producer.poll(0)
        self._producer.flush()
        return due_times
