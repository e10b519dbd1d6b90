"""The load of a fault run: courses of two root accounts that are graded, moderated and published again and again.

The same seed sends the same commands in the same order for each course; only the times of schedules are of the day.
Selections name ids from verdicts, so that a course waits for its own verdicts before it publishes.
"""

import itertools
import json
import random
import threading
import time
import uuid

from confluent_kafka import KafkaError, Message, Producer

from services.kafka.client_options import librdkafka_options
from services.kafka.partitioning import ALL_SHARDS, get_course_shard
from services.kafka.topics import full_topic_name
from tests.system.faults.course_load import ISSUED_AT, SECRET, CourseLoad, Json
from tests.system.faults.installation import Installation, wait_until

COURSES = 10
REPEATED, UNREADABLE = 0.05, 0.01
UNREADABLE_VALUE = f'{{"command_id": "{SECRET}'.encode()
PROBE_SECONDS_MAX = 180


class Load:
    """Sends commands in a thread, ``rate`` a second, until it is stopped; ``pause`` lets it wait.

    If the installation has schedulers, some publications are scheduled. ``source``: incarnation of the commands topic
    in which handlers find the records. ``is_removed``: they will be removed from it before they are decided.
    ``failure``: why it ended by itself, None if it did not. ``acknowledged_seconds``: how long the last probe took
    until brokers had acknowledged it.
    """

    def __init__(
        self, installation: Installation, seed: int, rate: float, *, source: int = 1, is_removed: bool = False
    ) -> None:
        self.installation = installation
        self.rate = rate
        self.source, self.is_removed = source, is_removed
        self.sent = 0
        self.unacknowledged = 0
        self.acknowledged_seconds = 0.0
        self._probed: set[str] = set()
        self._probed_at = 0.0
        self.chance = random.Random(seed)
        schedules = bool(installation.of("scheduler"))
        self.courses = [
            CourseLoad(n, random.Random(f"{seed} {n}"), installation.verdicts, schedules=schedules)
            for n in range(COURSES)
        ]
        self._topic = full_topic_name(installation.prefix, "commands")
        # Nothing verifies it here: it is what no log, metric or dead letter may have.
        self._headers: dict[str, str | bytes | None] = {"authorization": f"Bearer {installation.issuer.token()}"}
        self._ended, self._running = threading.Event(), threading.Event()
        self.producer = self._create_producer()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self.failure: str | None = None

    def _create_producer(self) -> Producer:
        return Producer(
            {
                **librdkafka_options(self.installation.bootstrap),
                "partitioner": "murmur2_random",
                "enable.idempotence": True,
                "message.timeout.ms": 600_000,
                "reconnect.backoff.max.ms": 500,
                "linger.ms": 5,
                "log_level": 0,
            }
        )

    def start(self) -> None:
        """Send the facts of all courses, then begin."""
        for course in self.courses:
            for command in course.facts():
                self.send(command)
        self._running.set()
        self._thread.start()

    def pause(self) -> None:
        self._running.clear()

    def resume(self) -> None:
        self._running.set()

    def stop(self) -> None:
        """Stop sending, and wait until everything is acknowledged."""
        self.abandon()
        self.wait_until_acknowledged()

    def abandon(self) -> None:
        """Stop sending without waiting for acknowledgements."""
        self._ended.set()
        self._running.set()
        if self._thread.is_alive():
            self._thread.join()

    def wait_until_acknowledged(self) -> None:
        """Wait until every command is acknowledged. Raises TimeoutError."""

        def is_acknowledged() -> bool:
            self.producer.poll(0)
            return self.unacknowledged == 0

        wait_until(is_acknowledged, "every command is acknowledged", PROBE_SECONDS_MAX)

    def send(self, command: Json, value: bytes | None = None, *, keyless: bool = False) -> None:
        """Send a command, or other bytes instead."""
        command_id = "" if value is not None else command["command_id"]
        self.installation.history.add("sent", command_id=command_id, course=command["course_id"])
        self.unacknowledged += 1
        self.sent += 1
        key = None if keyless else command["course_id"].encode()
        self.producer.produce(
            self._topic, value or json.dumps(command).encode(), key=key, headers=self._headers,
            on_delivery=lambda error, message: self._acknowledge(command_id, error, message),
        )  # fmt: skip
        self.producer.poll(0)

    def _acknowledge(self, command_id: str, error: KafkaError | None, message: Message) -> None:
        self.unacknowledged -= 1
        if error is not None:
            self.installation.history.add("failed", command_id=command_id, error=error.name())
            return
        place = {"source": self.source, "partition": message.partition(), "offset": message.offset()}
        kind = "removed" if self.is_removed else "acknowledged"
        self.installation.history.add(kind, command_id=command_id, **place)
        if command_id in self._probed:
            self.acknowledged_seconds = time.monotonic() - self._probed_at

    def _work(self) -> None:
        try:
            self._send_all()
        except Exception as error:
            self.failure = repr(error)
            raise

    def _send_all(self) -> None:
        generators = [course.commands() for course in self.courses]
        sent: list[Json] = []
        while not self._ended.is_set():
            self._running.wait()
            self.producer.poll(0)
            number = self.chance.randrange(len(generators))
            luck = self.chance.random()
            if luck < UNREADABLE:
                self.send({"course_id": str(self.courses[number].course)}, UNREADABLE_VALUE)
            elif luck < UNREADABLE + REPEATED and sent:
                self.send(self.chance.choice(sent))
            elif (command := next(generators[number])) is not None:
                sent.append(command)
                del sent[:-1_000]
                self.send(command)
            time.sleep(1 / self.rate)

    def probe(self) -> float:
        """Send a command to each shard and wait for all verdicts on the topic; return the seconds that it took."""
        started_at = self._probed_at = time.monotonic()
        probes = [self._probe_command(shard) for shard in ALL_SHARDS]
        self._probed = {command["command_id"] for command in probes}
        for command in probes:
            self.send(command)

        def are_decided() -> bool:
            self.producer.poll(0)
            return all(command["command_id"] in self.installation.verdicts for command in probes)

        wait_until(are_decided, "a verdict of each shard", PROBE_SECONDS_MAX)
        return time.monotonic() - started_at

    def _probe_command(self, shard: int) -> Json:
        course = next(n for n in itertools.count(900_000_000 + shard * 1_000) if get_course_shard(n) == shard)
        return {
            "command_id": str(uuid.uuid4()),
            "type": "upsert_course",
            "issued_at": ISSUED_AT,
            "root_account_id": "1",
            "course_id": str(course),
            "data": {"name": f"Probe {uuid.uuid4()}"},
        }
