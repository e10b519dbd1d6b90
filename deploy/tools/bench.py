"""Benchmarks on real servers of their own: ``deploy/bench [NAME…]``, all by default. JSON lines, then a table.

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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from aiokafka import AIOKafkaProducer
from rich.console import Console
from rich.table import Table

from deploy.tools import servers
from deploy.tools.kafka import delete_topics
from deploy.tools.load import many_courses, mixed, roster
from deploy.tools.places import ROOT, STATE
from deploy.tools.postgres import create_database, drop_databases
from services import topics
from services.eventlog.migrate import migrate

COMMANDS = 60_000
LASTING_COMMANDS = 200_000
SECONDS_MAX = 300
DECIDED = """
select sum(h.verdict_number), array(select a.pid from pg_stat_activity a
                                    where a.datname = current_database() and a.application_name = 'moderation-handler')
from heads(array(select shard from shard)) h
"""
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Seen:
    """How far a handler is. ``handler``, ``backends``: processor time used so far, of it and of its backends."""

    time: float
    commands: int
    handler: float
    backends: float

    def cost_until(self, later: "Seen") -> float:
        """Processor time of a command between the two, in seconds."""
        used = later.handler + later.backends - self.handler - self.backends
        return used / (later.commands - self.commands)


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

    async def throughput(self, name: str, records: list[Json], old_snapshot: bool = False, **environment: str) -> Json:
        """Commands a second of one handler over records that wait on the topic.

        Nothing is vacuumed or analyzed meanwhile. ``old_snapshot``: a transaction stays open that sees the empty log.
        """
        prefix = f"{self.prefix}{next(self.numbers)}"
        url = create_database(self.postgres.address, prefix)
        migrate(url)
        with psycopg.connect(url, autocommit=True) as connection:
            for table in ("stream", "event", "verdict", "dead_letter"):
                connection.execute(f"alter table {table} set (autovacuum_enabled = off)".encode())
        await topics.create(self.kafka.address, prefix)
        producer = AIOKafkaProducer(
            bootstrap_servers=self.kafka.address, enable_idempotence=True, linger_ms=20, max_batch_size=500_000
        )
        await producer.start()
        for record in records:
            await producer.send(f"{prefix}.commands", json.dumps(record).encode(), key=record["course_id"].encode())
        await producer.stop()
        settings = {"DATABASE_URL": url, "KAFKA_BOOTSTRAP": self.kafka.address, "TOPIC_PREFIX": prefix, **environment}
        with psycopg.connect(url) as beside:
            if old_snapshot:
                beside.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
                beside.execute("select count(*) from event")
            handler = started(settings)
            try:
                return {"name": name, "commands": len(records), **await self._measure(url, len(records), handler.pid)}
            finally:
                handler.kill()
                handler.wait()

    @staticmethod
    async def _measure(url: str, wanted: int, pid: int) -> Json:
        """From the first verdict seen to the last: see :func:`figures`."""
        seen: list[Seen] = []
        deadline = time.monotonic() + SECONDS_MAX
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
            while time.monotonic() < deadline:
                row = await (await connection.execute(DECIDED)).fetchone()
                count, backends = row or (0, [])
                if count:
                    backend = sum(processor_seconds(backend) for backend in backends)
                    seen.append(Seen(time.monotonic(), int(count), processor_seconds(pid), backend))
                if count >= wanted:
                    return figures(seen)
                await asyncio.sleep(0.02)
        raise TimeoutError(f"the handler decided less than {wanted} commands in {SECONDS_MAX} s")


def figures(seen: list[Seen]) -> Json:
    """Commands a second, the handler's processor time each, and what the last tenth took of what the first tenth did.

    Tenths are compared by the processor time of the handler and its PostgreSQL backends: the clock's depends on what
    else the machine does at that time.
    """
    first, last = seen[0], seen[-1]
    commands = last.commands - first.commands
    after_first_tenth = next(s for s in seen if s.commands >= first.commands + commands / 10)
    before_last_tenth = next(s for s in seen if s.commands >= last.commands - commands / 10)
    ratio = before_last_tenth.cost_until(last) / first.cost_until(after_first_tenth)
    return {
        "per_second": round(commands / (last.time - first.time)),
        "processor_us": round((last.handler - first.handler) / commands * 1e6, 1),
        "last_to_first_tenth": round(ratio, 2),
    }


def started(settings: dict[str, str]) -> "subprocess.Popen[bytes]":
    """A handler process; its log is .state/bench.log."""
    command_line = [sys.executable, "-m", "services.handler"]
    with (STATE / "bench.log").open("ab") as log:
        return subprocess.Popen(command_line, cwd=ROOT, env={**os.environ, **settings}, stdout=log, stderr=log)


def processor_seconds(pid: int) -> float:
    """User and system time that a process has used; 0 of one that has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except FileNotFoundError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def handler(bench: Bench) -> list[Json]:
    """Mixed commands over many courses, with one and two subscribers."""
    records = many_courses(COMMANDS)
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


async def never_analyzed(bench: Bench) -> list[Json]:
    """A fresh database fills: the last tenth of the commands must cost what the first did."""
    return [await bench.throughput("never analyzed", many_courses(LASTING_COMMANDS))]


async def old_snapshot(bench: Bench) -> list[Json]:
    """Thousands of small batches beside a transaction as old as the log: the last must not take twice the first."""
    records, batch = many_courses(LASTING_COMMANDS), {"HANDLER_BATCH_RECORDS": "50"}
    names = {"no old snapshot": False, "an old snapshot": True}
    return [await bench.throughput(name, records, old, **batch) for name, old in names.items()]


BENCHMARKS = {
    "handler": handler,
    "class-size": class_size,
    "never-analyzed": never_analyzed,
    "old-snapshot": old_snapshot,
}


async def main(names: list[str]) -> None:
    """Run the named benchmarks (all by default) and keep the figures in .state/bench.jsonl."""
    unknown = set(names) - set(BENCHMARKS)
    if unknown:
        sys.exit(f"deploy/bench: unknown {', '.join(unknown)}: choose from {', '.join(BENCHMARKS)}")
    bench = Bench()
    bench.start()
    try:
        table = Table("benchmark", "commands", "a second", "processor µs each", "last/first")
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
