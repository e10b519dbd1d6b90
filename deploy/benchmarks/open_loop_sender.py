"""Sends each command when it is due, regardless of earlier ones."""

import asyncio
import time
from collections.abc import Callable, Sequence

from confluent_kafka import Producer

from deploy.benchmarks.environment import BenchInstallation
from deploy.benchmarks.workload import Json, encode_command
from deploy.local.kafka import client_settings
from services.kafka.topics import full_topic_name

Headers = list[tuple[str, str | bytes | None]]


def no_headers(command: Json) -> Headers:
    """Return the headers of a plain record."""
    return []


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

    async def send(
        self, commands: Sequence[Json], per_second: float, build_headers: Callable[[Json], Headers] = no_headers
    ) -> dict[str, float]:
        """Send commands evenly spaced; return the due time of each (time.monotonic()) by its id."""
        return await asyncio.to_thread(self._send, commands, per_second, build_headers)

    def _send(
        self, commands: Sequence[Json], per_second: float, build_headers: Callable[[Json], Headers]
    ) -> dict[str, float]:
        values = [encode_command(command) for command in commands]
        due_times: dict[str, float] = {}
        started_at = time.monotonic() + 0.1
        for number, (command, value) in enumerate(zip(commands, values, strict=True)):
            due_at = due_times[command["command_id"]] = started_at + number / per_second
            if (wait_seconds := due_at - time.monotonic()) > 0:
                time.sleep(wait_seconds)
            self._producer.produce(self._topic, value, command["course_id"].encode(), headers=build_headers(command))
            self._producer.poll(0)
        self._producer.flush()
        return due_times
