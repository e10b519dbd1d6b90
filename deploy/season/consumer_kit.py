"""Record the corpus of the consumer kit from the running stack: ``python -m deploy.season.consumer_kit [FOLDER]``.

A small course is graded, published, posted and partly hidden; what a consumer reads of it goes into files, one line a
record, with what a right consumer holds in the end (``expected.json``).
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
from services.config import ReplaySettings
from services.eventlog.feed_history import Selection
from services.eventlog.postgres import READER, connect
from services.publishing.cloudevents import Form
from services.publishing.replayer import Order, replay

Json = dict[str, Any]
CORPUS = ROOT / "schemas" / "consumer-kit" / "corpus"
OUTPUTS = ("live-events", "caliper", "events")
SECONDS_MAX = 60
FINAL_GRADER, GRADERS, STUDENTS = 11, (21, 22), (31, 32, 33)
PEOPLE = [(FINAL_GRADER, "TeacherEnrollment"), *((grader, "TaEnrollment") for grader in GRADERS)]
PEOPLE += [(student, "StudentEnrollment") for student in STUDENTS]
ESSAY = {"name": "Essay", "points_possible": 20, "grading_type": "points", "moderated_grading": True, "grader_count": 2}


@dataclass
class Desk:
    """One course on a running stack: commands go in, and everything that comes out is read in its order."""

    prefix: str
    bootstrap: str
    course: int
    producer: AIOKafkaProducer
    consumer: AIOKafkaConsumer
    uncommitted: AIOKafkaConsumer

    def command(self, kind: str, data: Json, actor: int | None = None) -> Json:
        """A command about the course, or about its one assignment."""
        made: Json = {
            "command_id": str(uuid.uuid4()), "type": kind, "issued_at": datetime.now(UTC).isoformat(),
            "root_account_id": "1", "course_id": str(self.course), "data": data,
        }  # fmt: skip
        if not kind.startswith("upsert"):
            made["assignment_id"] = str(self.course + 1)
        return made if actor is None else {**made, "actor": {"user_id": str(self.course + actor)}}

    async def decided(self, *commands: Json) -> list[Json]:
        """Send commands and read until all that follows from them is there. SystemExit where one is refused."""
        for command in commands:
            key = str(self.course).encode()
            await self.producer.send_and_wait(f"{self.prefix}.commands", json.dumps(command).encode(), key=key)
        waiting = {command["command_id"] for command in commands}
        read: list[Json] = []
        owed = 0
        async with asyncio.timeout(SECONDS_MAX):
            while waiting or owed > 0:
                for line in await self.read():
                    cause = line["headers"]["ce_causationid"]
                    if line["topic"] == "verdicts" and cause in waiting:
                        if line["value"]["status"] != "accepted":
                            sys.exit(f"the corpus cannot be recorded: {line['value']['message']}")
                        waiting.remove(cause)
                        owed += line["value"]["events"]
                    elif line["topic"] in OUTPUTS:
                        owed -= line["topic"] == "events"
                        read.append(line)
            return read + await self.rest()

    async def rest(self) -> list[Json]:
        """What stands on the topics beside what was read: those of one transaction may be served in any order."""
        read: list[Json] = []
        for place, end in (await self.uncommitted.end_offsets(self.consumer.assignment())).items():
            while await self.consumer.position(place) < end:
                read += [line for line in await self.read() if line["topic"] in OUTPUTS]
        return read

    async def read(self) -> list[Json]:
        """What is there of this course."""
        found = await self.consumer.getmany(timeout_ms=200)
        records = [record for batch in found.values() for record in batch]
        return [line_of(self.prefix, record) for record in records if record.key == str(self.course).encode()]


def line_of(prefix: str, record: Any) -> Json:
    """A record as it stands in the corpus."""
    return {
        "topic": record.topic.removeprefix(f"{prefix}."),
        "partition": record.partition,
        "offset": record.offset,
        "key": record.key.decode(),
        "headers": {name: value.decode() for name, value in record.headers},
        "value": json.loads(record.value),
    }


async def play(desk: Desk) -> dict[str, list[Json]]:
    """The sequences, by name."""
    number = {user: desk.course + user for user in (FINAL_GRADER, *GRADERS, *STUDENTS)}
    users = [
        {"user_id": number[student], "name": f"Student {student}", "sis_user_id": f"S-{student}"}
        for student in STUDENTS
    ]
    enrolled = [{"user_id": number[user], "type": kind, "state": "active"} for user, kind in PEOPLE]
    first, second, third = (number[student] for student in STUDENTS)
    await desk.decided(
        desk.command("upsert_course", {"name": "Modern History", "sis_source_id": "HIST-2", "account_id": "9"}),
        desk.command("upsert_users", {"users": users}),
        desk.command("upsert_enrollments", {"enrollments": enrolled}),
        desk.command("configure_assignment", {**ESSAY, "final_grader_id": number[FINAL_GRADER]}),
        desk.command("record_provisional_grade", {"student_id": first, "score": 17.5}, GRADERS[0]),
        desk.command("record_provisional_grade", {"student_id": second, "score": 12}, GRADERS[1]),
        desk.command("record_provisional_comment", {"student_id": third, "comment": "Not handed in?"}, GRADERS[1]),
    )
    published = await desk.decided(desk.command("publish_provisional_grades", {}, FINAL_GRADER))
    posted = await desk.decided(desk.command("post_grades", {}))
    hidden = await desk.decided(desk.command("hide_grades", {"student_ids": [second]}))
    return {
        "first-publication": published,
        "post-and-hide": [*published, *posted, *hidden],
        "redelivery": await redelivered(desk, published),
        "replay": await replayed(desk),
    }


async def redelivered(desk: Desk, published: list[Json]) -> list[Json]:
    """What a consumer reads that ends after the publication, before it has noted that it read its last event."""
    again = next(line for line in reversed(published) if line["topic"] == "live-events")
    place = TopicPartition(f"{desk.prefix}.live-events", again["partition"])
    before = [line for line in published if line["topic"] == "live-events"]
    desk.consumer.seek(place, again["offset"])
    after: list[Json] = []
    async with asyncio.timeout(SECONDS_MAX):
        end = (await desk.consumer.end_offsets([place]))[place]
        while await desk.consumer.position(place) < end:
            after += [line for line in await desk.read() if line["topic"] == "live-events"]
    return before + after


async def replayed(desk: Desk) -> list[Json]:
    """The course's live events, emitted again by the service to a topic of a consumer's own."""
    target = f"{desk.prefix}-kit-{desk.course}"
    settings = ReplaySettings()
    order = Order("live-events", target, Selection(root_account=1, course=desk.course))
    connection = await connect(settings.url(), "replay", READER)
    try:
        async with aclosing(replay(desk.bootstrap, connection, Form.of(settings), order)) as steps:
            async for _ in steps:
                pass
    finally:
        await connection.close()
    consumer = AIOKafkaConsumer(
        target, bootstrap_servers=desk.bootstrap, isolation_level="read_committed", auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        found: list[Any] = []
        async with asyncio.timeout(SECONDS_MAX):
            while not found:
                found = [record for batch in (await consumer.getmany(timeout_ms=500)).values() for record in batch]
        return [{**line_of(desk.prefix, record), "topic": "live-events"} for record in found]
    finally:
        await consumer.stop()


def expected(lines: list[Json]) -> Json:
    """What a consumer of ``live-events`` that counts every event once holds after a sequence."""
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


async def record(bootstrap: str, prefix: str, course: int) -> dict[str, list[Json]]:
    """Play a course of that number through the stack, and return its sequences."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, enable_idempotence=True)
    consumer = AIOKafkaConsumer(
        *(f"{prefix}.{name}" for name in (*OUTPUTS, "verdicts")),
        bootstrap_servers=bootstrap, isolation_level="read_committed", auto_offset_reset="latest",
    )  # fmt: skip
    uncommitted = AIOKafkaConsumer(bootstrap_servers=bootstrap)
    await producer.start()
    await consumer.start()
    await uncommitted.start()
    try:
        await consumer.seek_to_end()
        for place in consumer.assignment():
            await consumer.position(place)
        return await play(Desk(prefix, bootstrap, course, producer, consumer, uncommitted))
    finally:
        await producer.stop()
        await consumer.stop()
        await uncommitted.stop()


def write(folder: Path, sequences: dict[str, list[Json]]) -> None:
    """A file for each sequence, and what is to be held in the end."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, lines in sequences.items():
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        (folder / f"{name}.jsonl").write_text(text)
    held = {name: expected(lines) for name, lines in sequences.items()}
    (folder / "expected.json").write_text(json.dumps(held, indent=2) + "\n")


async def main(folder: Path) -> None:
    """Record on the stack that the environment names."""
    course = int(time.time()) * 1_000
    sequences = await record(os.environ["KAFKA_BOOTSTRAP"], os.environ["TOPIC_PREFIX"], course)
    write(folder, sequences)
    for name, lines in sequences.items():
        print(f"{name}: {len(lines)} records")


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]) if len(sys.argv) > 1 else CORPUS))
