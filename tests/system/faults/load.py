"""The load of a fault run: courses of two root accounts that are graded, moderated and published again and again.

The same seed sends the same commands in the same order for each course. Selections name ids from verdicts, so that a
course waits for its own verdicts before it publishes.
"""

import itertools
import json
import random
import threading
import time
import uuid
from collections.abc import Iterator
from typing import Any

from confluent_kafka import KafkaError, Message, Producer

from services.kafka.client_options import librdkafka_options
from services.kafka.partitioning import ALL_SHARDS, get_course_shard
from services.kafka.topics import full_topic_name
from tests.system.faults.installation import Installation, wait_until

Json = dict[str, Any]
COURSES = 10
STUDENTS = 8
REPEATED, UNREADABLE = 0.05, 0.01
ISSUED_AT = "2026-01-31T12:00:00Z"
TEACHER, FIRST_TA, SECOND_TA, AUDITOR, FIRST_STUDENT = 11, 21, 22, 41, 100
PROBE_SECONDS_MAX = 180


def tenant_canary(root_account: int) -> str:
    """Return a text that only records of this root account may contain."""
    return f"tenant-{root_account}-canary"


SECRET = "comment-for-no-log"  # noqa: S105 A canary: it stands in comments and names, and may be in no log.


class CourseLoad:
    """One course: its ids, and what is sent for it."""

    def __init__(self, number: int, chance: random.Random, verdicts: dict[str, Json]) -> None:
        self.root_account = 1 + number % 2
        self.base = (number + 1) * 1_000_000
        self.course = self.base + 1
        self.chance = chance
        self.verdicts = verdicts
        self.assignments: list[int] = []

    def command(self, type_: str, data: Json, assignment: int | None = None, actor: int | None = None) -> Json:
        command = {
            "command_id": str(uuid.UUID(int=self.chance.getrandbits(128), version=4)),
            "type": type_,
            "issued_at": ISSUED_AT,
            "root_account_id": str(self.root_account),
            "course_id": str(self.course),
            "data": data,
        }
        if assignment is not None:
            command["assignment_id"] = str(assignment)
        if actor is not None:
            command["actor"] = {"user_id": str(self.base + actor)}
        return command

    def commands(self) -> Iterator[Json | None]:
        """Yield the commands after the facts, endlessly; None: nothing can be sent until verdicts arrive."""
        for number in itertools.count(1):
            yield from self._play_assignment(self.base + 10_000 + number)

    def facts(self) -> list[Json]:
        """Return the facts of the course, its people, and an auditor."""
        canary = tenant_canary(self.root_account)
        students = range(FIRST_STUDENT, FIRST_STUDENT + STUDENTS)
        users = [{"user_id": str(self.base + n), "name": f"{SECRET} {canary} {n}"} for n in students]
        kinds = {TEACHER: "Teacher", FIRST_TA: "Ta", SECOND_TA: "Ta", **dict.fromkeys(students, "Student")}
        rows = [
            {"user_id": str(self.base + user), "type": f"{kind}Enrollment", "state": "active"}
            for user, kind in kinds.items()
        ]
        admin = {"user_id": str(self.base + AUDITOR), "permissions": ["view_audit_trail"]}
        return [
            self.command("upsert_course", {"name": canary}),
            self.command("upsert_users", {"users": users}),
            self.command("upsert_enrollments", {"enrollments": rows}),
            self.command("upsert_admins", {"admins": [admin]}),
        ]

    def configure(self, assignment: int) -> Json:
        settings = {
            "name": f"Essay {tenant_canary(self.root_account)}",
            "points_possible": 20,
            "grading_type": "points",
            "moderated_grading": True,
            "grader_count": 3,
            "final_grader_id": str(self.base + TEACHER),
        }
        self.assignments.append(assignment)
        return self.command("configure_assignment", settings, assignment)

    def grade(self, assignment: int, student: int, grader: int = FIRST_TA) -> Json:
        data = {
            "student_id": str(self.base + student),
            "score": self.chance.randrange(21),
            "comment": f"{SECRET} {tenant_canary(self.root_account)}",
        }
        return self.command("record_provisional_grade", data, assignment, grader)

    def _play_assignment(self, assignment: int) -> Iterator[Json | None]:
        yield self.configure(assignment)
        both: list[Json] = []
        for student in range(FIRST_STUDENT, FIRST_STUDENT + STUDENTS):
            yield self.grade(assignment, student)
            if self.chance.random() < 0.3:
                both.append(self.grade(assignment, student, SECOND_TA))
                yield both[-1]
        for graded in both:
            while (verdict := self.verdicts.get(graded["command_id"])) is None:
                yield None
            if verdict["status"] == "rejected":
                continue  # An earlier load of this installation has published the assignment.
            selected = {"provisional_grade_id": verdict["result"]["provisional_grade_id"]}
            yield self.command("select_provisional_grade", selected, assignment, TEACHER)
        yield self.command("publish_provisional_grades", {}, assignment, TEACHER)
        for type_ in ("post_grades", "hide_grades"):
            yield self.command(type_, {}, assignment)


class Load:
    """Sends commands in a thread, ``rate`` a second, until it is stopped; ``pause`` lets it wait."""

    def __init__(self, installation: Installation, seed: int, rate: float) -> None:
        self.installation = installation
        self.rate = rate
        self.sent = 0
        self.unacknowledged = 0
        self.chance = random.Random(seed)
        self.courses = [CourseLoad(n, random.Random(f"{seed} {n}"), installation.verdicts) for n in range(COURSES)]
        self._topic = full_topic_name(installation.prefix, "commands")
        self._ended, self._running = threading.Event(), threading.Event()
        self._lock = threading.Lock()
        self.producer = self._create_producer()
        self._thread = threading.Thread(target=self._send_all, daemon=True)

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
            self._topic, value or json.dumps(command).encode(), key=key,
            on_delivery=lambda error, message: self._acknowledge(command_id, error, message),
        )  # fmt: skip
        self.producer.poll(0)

    def _acknowledge(self, command_id: str, error: KafkaError | None, message: Message) -> None:
        self.unacknowledged -= 1
        if error is not None:
            self.installation.history.add("failed", command_id=command_id, error=error.name())
            return
        self.installation.history.add(
            "acknowledged", command_id=command_id, partition=message.partition(), offset=message.offset()
        )

    def _send_all(self) -> None:
        generators = [course.commands() for course in self.courses]
        sent: list[Json] = []
        while not self._ended.is_set():
            self._running.wait()
            self.producer.poll(0)
            number = self.chance.randrange(len(generators))
            luck = self.chance.random()
            if luck < UNREADABLE:
                self.send({"course_id": str(self.courses[number].course)}, b'{"command_id": "unreadable')
            elif luck < UNREADABLE + REPEATED and sent:
                self.send(self.chance.choice(sent))
            elif (command := next(generators[number])) is not None:
                sent.append(command)
                del sent[:-1_000]
                self.send(command)
            time.sleep(1 / self.rate)

    def probe(self) -> float:
        """Send a command to each shard and wait for all verdicts on the topic; return the seconds that it took."""
        started_at = time.monotonic()
        probes = [self._probe_command(shard) for shard in ALL_SHARDS]
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
