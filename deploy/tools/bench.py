"""Benchmarks on real servers of their own: ``deploy/bench [handler] [class-size]``. JSON lines, then a table.

Commands wait on the topic before the handler starts, so that what is measured is the handler and nothing before it.
"""

import asyncio
import itertools
import json
import os
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import psycopg
from aiokafka import AIOKafkaProducer
from rich.console import Console
from rich.table import Table

from deploy.tools import servers
from deploy.tools.kafka import delete_topics
from deploy.tools.places import ROOT, STATE
from deploy.tools.postgres import create_database, drop_databases
from services import topics
from services.eventlog.migrate import migrate

COMMANDS = 60_000
COURSES = 24
STUDENTS = 50
SECONDS_MAX = 300
Json = dict[str, Any]


def command(course: int, type_: str, data: Json, assignment: int | None = None, actor: int | None = None) -> Json:
    """A command of root account 1."""
    made: Json = {
        "command_id": str(uuid.uuid4()),
        "type": type_,
        "issued_at": "2026-01-01T00:00:00Z",
        "root_account_id": "1",
        "course_id": str(course),
        "data": data,
    }
    if assignment is not None:
        made["assignment_id"] = str(assignment)
    if actor is not None:
        made["actor"] = {"user_id": str(actor)}
    return made


def roster(course: int, students: int) -> list[Json]:
    """A course of so many students with one moderated assignment: the course's id times 10."""
    staff: list[tuple[int, str]] = [(1, "TeacherEnrollment"), (2, "TaEnrollment"), (3, "TaEnrollment")]
    everybody = staff + [(100 + student, "StudentEnrollment") for student in range(students)]
    rows = [{"user_id": user, "type": kind, "state": "active"} for user, kind in everybody]
    settings = {
        "name": "Essay",
        "points_possible": 100,
        "grading_type": "points",
        "moderated_grading": True,
        "grader_count": 2,
        "final_grader_id": 1,
    }
    parts = [rows[start : start + 5_000] for start in range(0, len(rows), 5_000)]
    return [
        command(course, "upsert_course", {"name": "Course"}),
        *(command(course, "upsert_enrollments", {"enrollments": part}) for part in parts),
        command(course, "configure_assignment", settings, course * 10),
    ]


def mixed(course: int, number: int, students: int) -> Json:
    """Mostly grades; some remarks, and some refusals."""
    student = 100 + number * 7919 % students
    if number % 20 == 3:
        data: Json = {"student_id": student, "comment": "See the margin."}
        return command(course, "record_provisional_comment", data, course * 10, 3)
    actor = student if number % 20 == 7 else 2
    return command(
        course, "record_provisional_grade", {"student_id": student, "score": number % 101}, course * 10, actor
    )


class Bench:
    """Servers for one run, and measurements on them."""

    def __init__(self) -> None:
        self.kafka = servers.kafka("bench", heap="1g")
        self.postgres = servers.postgres("bench")
        self.prefix = f"bench-{uuid.uuid4().hex[:8]}-"
        self.numbers = itertools.count(1)

    def start(self) -> None:
        """Servers without the data of an earlier run. SystemExit when one does not start."""
        try:
            for server in (self.kafka, self.postgres):
                server.kill()
                server.remove()
                server.start()
        except RuntimeError as error:
            sys.exit(f"deploy/bench: {error}")

    def end(self) -> None:
        """Leave nothing behind, on servers that somebody else runs neither."""
        drop_databases(self.postgres.address, self.prefix)
        delete_topics(self.kafka.address, self.prefix)
        for server in (self.kafka, self.postgres):
            server.kill()
            server.remove()

    async def throughput(self, name: str, records: list[Json], **environment: str) -> Json:
        """Commands a second of one handler over records that wait on the topic."""
        prefix = f"{self.prefix}{next(self.numbers)}"
        url = create_database(self.postgres.address, prefix)
        migrate(url)
        await topics.create(self.kafka.address, prefix)
        producer = AIOKafkaProducer(
            bootstrap_servers=self.kafka.address, enable_idempotence=True, linger_ms=20, max_batch_size=500_000
        )
        await producer.start()
        for record in records:
            await producer.send(f"{prefix}.commands", json.dumps(record).encode(), key=record["course_id"].encode())
        await producer.stop()
        settings = {"DATABASE_URL": url, "KAFKA_BOOTSTRAP": self.kafka.address, "TOPIC_PREFIX": prefix, **environment}
        handler = started(settings)
        try:
            return {"name": name, "commands": len(records), **await self._measure(url, len(records), handler.pid)}
        finally:
            handler.kill()
            handler.wait()

    @staticmethod
    async def _measure(url: str, wanted: int, pid: int) -> Json:
        """From the first verdict seen to the last, and the handler's processor time for each command."""
        begun: tuple[float, int, float] | None = None
        deadline = time.monotonic() + SECONDS_MAX
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
            while time.monotonic() < deadline:
                cursor = await connection.execute(
                    "select sum(h.verdict_number) from heads(array(select shard from shard)) h"
                )
                row = await cursor.fetchone()
                count, now = int(row[0]) if row else 0, time.monotonic()
                if begun is None and count > 0:
                    begun = (now, count, processor_seconds(pid))
                if begun is not None and count >= wanted:
                    seconds, decided = now - begun[0], count - begun[1]
                    processor = (processor_seconds(pid) - begun[2]) / decided
                    return {"per_second": round(decided / seconds), "processor_us": round(processor * 1e6, 1)}
                await asyncio.sleep(0.02)
        raise TimeoutError(f"the handler decided less than {wanted} commands in {SECONDS_MAX} s")


def started(settings: dict[str, str]) -> "subprocess.Popen[bytes]":
    """A handler process; its log is .state/bench.log."""
    command_line = [sys.executable, "-m", "services.handler"]
    with (STATE / "bench.log").open("ab") as log:
        return subprocess.Popen(command_line, cwd=ROOT, env={**os.environ, **settings}, stdout=log, stderr=log)


def processor_seconds(pid: int) -> float:
    """User and system time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def handler(bench: Bench) -> list[Json]:
    """Mixed commands over many courses, with one and two subscribers."""
    courses = range(1001, 1001 + COURSES)
    records = [fact for course in courses for fact in roster(course, STUDENTS)]
    records += [mixed(courses[number % COURSES], number, STUDENTS) for number in range(COMMANDS)]
    return [
        await bench.throughput(f"handler, subscribers: {count}", records, HANDLER_SUBSCRIBERS=str(count))
        for count in (1, 2)
    ]


async def class_size(bench: Bench) -> list[Json]:
    """The same commands in classes of 10 and of 10,000: the cost of one must not depend on the class."""
    results = []
    for students in (10, 1_000, 10_000):
        records = [*roster(1001, students), *(mixed(1001, number, students) for number in range(COMMANDS // 3))]
        results.append(await bench.throughput(f"class of {students}", records))
    return results


BENCHMARKS = {"handler": handler, "class-size": class_size}


async def main(names: list[str]) -> None:
    """Run the named benchmarks (all by default) and keep the figures in .state/bench.jsonl."""
    unknown = set(names) - set(BENCHMARKS)
    if unknown:
        sys.exit(f"deploy/bench: unknown {', '.join(unknown)}: choose from {', '.join(BENCHMARKS)}")
    bench = Bench()
    bench.start()
    try:
        table = Table("benchmark", "commands", "a second", "processor µs each")
        for name in names or BENCHMARKS:
            for result in await BENCHMARKS[name](bench):
                line = json.dumps(result)
                print(line, flush=True)
                with (STATE / "bench.jsonl").open("a") as kept:
                    kept.write(line + "\n")
                table.add_row(*(str(value) for value in result.values()))
        Console().print(table)
    finally:
        bench.end()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
