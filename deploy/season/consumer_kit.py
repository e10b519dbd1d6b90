"""Records the corpus of the consumer kit from the running stack: ``python -m deploy.season.consumer_kit [FOLDER]``.

A small course is graded, published, posted and partly hidden. The records that a consumer reads go into files, one line
per record; ``expected.json`` holds the state of a correct consumer after each sequence.
"""

import asyncio
import json
import os
import sys
import time
import uuid
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from deploy.local.paths import ROOT
from services.config.cli import ReplaySettings
from services.eventlog.feed_history import LogFilter
from services.eventlog.postgres import READER, connect
from services.kafka.client_options import client_options
from services.publishing.cloudevents import PublishingFormat
from services.publishing.replayer import ReplayRequest, replay

Json = dict[str, Any]
CORPUS = ROOT / "schemas" / "consumer-kit" / "corpus"
OUTPUT_TOPICS = ("live-events", "caliper", "events")
SECONDS_MAX = 60
FINAL_GRADER, GRADERS, STUDENTS = 11, (21, 22), (31, 32, 33)
ENROLLMENTS = [(FINAL_GRADER, "TeacherEnrollment"), *((grader, "TaEnrollment") for grader in GRADERS)]
ENROLLMENTS += [(student, "StudentEnrollment") for student in STUDENTS]
ESSAY_SETTINGS = {
    "name": "Essay",
    "points_possible": 20,
    "grading_type": "points",
    "moderated_grading": True,
    "grader_count": 2,
}


@dataclass
class CourseDriver:
    """Sends commands of one course to a running stack, and reads every resulting record in order."""

    prefix: str
    bootstrap: str
    course: int
    producer: AIOKafkaProducer
    consumer: AIOKafkaConsumer
    uncommitted_consumer: AIOKafkaConsumer

    def build_command(self, kind: str, data: Json, actor: int | None = None) -> Json:
        """Build a command for the course, or for its one assignment."""
        command: Json = {
            "command_id": str(uuid.uuid4()), "type": kind, "issued_at": datetime.now(UTC).isoformat(),
            "root_account_id": "1", "course_id": str(self.course), "data": data,
        }  # fmt: skip
        if not kind.startswith("upsert"):
            command["assignment_id"] = str(self.course + 1)
        return command if actor is None else {**command, "actor": {"user_id": str(self.course + actor)}}

    async def send_and_read(self, *commands: Json) -> list[Json]:
        """Send commands and return all resulting records. SystemExit if a command is rejected."""
        for command in commands:
            key = str(self.course).encode()
            await self.producer.send_and_wait(f"{self.prefix}.commands", json.dumps(command).encode(), key=key)
        undecided_ids = {command["command_id"] for command in commands}
        lines: list[Json] = []
        missing_events = 0
        async with asyncio.timeout(SECONDS_MAX):
            while undecided_ids or missing_events > 0:
                for line in await self.read_lines():
                    causation_id = line["headers"]["ce_causationid"]
                    if line["topic"] == "verdicts" and causation_id in undecided_ids:
                        if line["value"]["status"] != "accepted":
                            sys.exit(f"a command was rejected, and nothing was written: {line['value']['message']}")
                        undecided_ids.remove(causation_id)
                        missing_events += line["value"]["events"]
                    elif line["topic"] in OUTPUT_TOPICS:
                        missing_events -= line["topic"] == "events"
                        lines.append(line)
            return lines + await self.read_remaining()

    async def read_remaining(self) -> list[Json]:
        """Read to the current ends: the records of one transaction may arrive in any order."""
        lines: list[Json] = []
        for partition, end in (await self.uncommitted_consumer.end_offsets(self.consumer.assignment())).items():
            while await self.consumer.position(partition) < end:
                lines += [line for line in await self.read_lines() if line["topic"] in OUTPUT_TOPICS]
        return lines

    async def read_lines(self) -> list[Json]:
        """Read the available records of this course."""
        batches = await self.consumer.getmany(timeout_ms=200)
        records = [record for batch in batches.values() for record in batch]
        return [format_line(self.prefix, record) for record in records if record.key == str(self.course).encode()]


def format_line(prefix: str, record: Any) -> Json:
    """Format a record as a line of the corpus."""
    return {
        "topic": record.topic.removeprefix(f"{prefix}."),
        "partition": record.partition,
        "offset": record.offset,
        "key": record.key.decode(),
        "headers": {name: value.decode() for name, value in record.headers},
        "value": json.loads(record.value),
    }


async def play_course(driver: CourseDriver) -> dict[str, list[Json]]:
    """Grade, publish, post and hide; return the sequences by name."""
    user_ids = {user: driver.course + user for user in (FINAL_GRADER, *GRADERS, *STUDENTS)}
    users = [
        {"user_id": user_ids[student], "name": f"Student {student}", "sis_user_id": f"S-{student}"}
        for student in STUDENTS
    ]
    enrollments = [{"user_id": user_ids[user], "type": kind, "state": "active"} for user, kind in ENROLLMENTS]
    first, second, third = (user_ids[student] for student in STUDENTS)
    await driver.send_and_read(
        driver.build_command("upsert_course", {"name": "Modern History", "sis_source_id": "HIST-2", "account_id": "9"}),
        driver.build_command("upsert_users", {"users": users}),
        driver.build_command("upsert_enrollments", {"enrollments": enrollments}),
        driver.build_command("configure_assignment", {**ESSAY_SETTINGS, "final_grader_id": user_ids[FINAL_GRADER]}),
        driver.build_command("record_provisional_grade", {"student_id": first, "score": 17.5}, GRADERS[0]),
        driver.build_command("record_provisional_grade", {"student_id": second, "score": 12}, GRADERS[1]),
        driver.build_command(
            "record_provisional_comment", {"student_id": third, "comment": "Not handed in?"}, GRADERS[1]
        ),
    )
    published = await driver.send_and_read(driver.build_command("publish_provisional_grades", {}, FINAL_GRADER))
    posted = await driver.send_and_read(driver.build_command("post_grades", {}))
    hidden = await driver.send_and_read(driver.build_command("hide_grades", {"student_ids": [second]}))
    redelivered = await record_redelivery(driver, published)
    replayed = await record_replay(driver)
    posted_again = await driver.send_and_read(driver.build_command("post_grades", {"student_ids": [second]}))
    live = [line for line in (*published, *posted, *hidden, *posted_again) if line["topic"] == "live-events"]
    return {
        "first-publication": published,
        "post-and-hide": [*published, *posted, *hidden],
        "redelivery": redelivered,
        "replay": replayed,
        "gap-and-replay": [live[0], *replayed, *live[2:]],
    }


async def record_redelivery(driver: CourseDriver, published: list[Json]) -> list[Json]:
    """Return the records of a consumer that stops before it commits the offset of the publication's last event."""
    redelivered_line = next(line for line in reversed(published) if line["topic"] == "live-events")
    partition = TopicPartition(f"{driver.prefix}.live-events", redelivered_line["partition"])
    lines_before = [line for line in published if line["topic"] == "live-events"]
    driver.consumer.seek(partition, redelivered_line["offset"])
    lines_after: list[Json] = []
    async with asyncio.timeout(SECONDS_MAX):
        end = (await driver.consumer.end_offsets([partition]))[partition]
        while await driver.consumer.position(partition) < end:
            lines_after += [line for line in await driver.read_lines() if line["topic"] == "live-events"]
    return lines_before + lines_after


async def record_replay(driver: CourseDriver) -> list[Json]:
    """Replay the course's live events to a topic for one consumer."""
    target = f"{driver.prefix}-kit-{driver.course}"
    settings = ReplaySettings()
    replay_request = ReplayRequest("live-events", target, LogFilter(root_account=1, course=driver.course))
    connection = await connect(settings.url(), "replay", READER)
    try:
        async with aclosing(
            replay(driver.bootstrap, connection, PublishingFormat.from_settings(settings), replay_request)
        ) as replay_progress:
            async for _ in replay_progress:
                pass
    finally:
        await connection.close()
    consumer = AIOKafkaConsumer(
        target, **client_options(driver.bootstrap), isolation_level="read_committed", auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        records: list[Any] = []
        async with asyncio.timeout(SECONDS_MAX):
            while not records:
                records = [record for batch in (await consumer.getmany(timeout_ms=500)).values() for record in batch]
        return [{**format_line(driver.prefix, record), "topic": "live-events"} for record in records]
    finally:
        await consumer.stop()


def expected_state(lines: list[Json]) -> Json:
    """Return the state of a ``live-events`` consumer that applies every event once."""
    events: dict[str, Json] = {}
    for line in lines:
        if line["topic"] == "live-events":
            events.setdefault(line["headers"]["ce_id"], line["value"]["body"])
    grades = {
        body["submission_id"]: {
            **{name: body[name] for name in ("student_id", "score", "grade")},
            "posted": not body["muted"],
        }
        for body in events.values()
    }
    return {"events": len(events), "grades": grades}


async def record_sequences(bootstrap: str, prefix: str, course: int) -> dict[str, list[Json]]:
    """Play a course of that number through the stack, and return its sequences."""
    producer = AIOKafkaProducer(**client_options(bootstrap), enable_idempotence=True)
    consumer = AIOKafkaConsumer(
        *(f"{prefix}.{name}" for name in (*OUTPUT_TOPICS, "verdicts")),
        **client_options(bootstrap), isolation_level="read_committed", auto_offset_reset="latest",
    )  # fmt: skip
    uncommitted_consumer = AIOKafkaConsumer(**client_options(bootstrap))
    await producer.start()
    await consumer.start()
    await uncommitted_consumer.start()
    try:
        await consumer.seek_to_end()
        for partition in consumer.assignment():
            await consumer.position(partition)
        return await play_course(CourseDriver(prefix, bootstrap, course, producer, consumer, uncommitted_consumer))
    finally:
        await producer.stop()
        await consumer.stop()
        await uncommitted_consumer.stop()


def write_corpus(folder: Path, sequences: dict[str, list[Json]]) -> None:
    """Write a file per sequence, and the expected states."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, lines in sequences.items():
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        (folder / f"{name}.jsonl").write_text(text)
    expected_states = {name: expected_state(lines) for name, lines in sequences.items()}
    (folder / "expected.json").write_text(json.dumps(expected_states, indent=2) + "\n")


async def main(folder: Path) -> None:
    """Record on the stack in the environment, and write the corpus."""
    course = int(time.time()) * 1_000
    sequences = await record_sequences(os.environ["KAFKA_BOOTSTRAP"], os.environ["TOPIC_PREFIX"], course)
    write_corpus(folder, sequences)
    for name, lines in sequences.items():
        print(f"{name}: {len(lines)} records")


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]) if len(sys.argv) > 1 else CORPUS))
