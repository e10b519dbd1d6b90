"""Bytes that a command adds to the database, and to PostgreSQL's write-ahead log."""

import contextlib
from collections.abc import Iterator
from functools import partial

import psycopg

from deploy.benchmarks.backlog import Backlog, create_backlog
from deploy.benchmarks.environment import BenchServers
from deploy.benchmarks.in_process import courses_per_shard, create_graded_courses
from deploy.benchmarks.results import Measurement, Scale, interleave_rounds, measurement
from deploy.benchmarks.workload import mixed_records

# The WAL is that of the whole server: nothing else writes during a benchmark.
SIZES = "select pg_database_size(current_database()), pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint"
COUNTS = "select (select count(*) from decided_command), (select count(*) from event)"


async def storage(bench_servers: BenchServers, scale: Scale) -> list[Measurement]:
    """Measure what the mixed commands leave behind, tables and indexes together, without vacuum."""
    url = bench_servers.new_database()
    courses = await create_graded_courses(url, courses_per_shard(scale.choose(2, 1)), scale.choose(50, 10))
    backlog = await create_backlog(bench_servers, url, mixed_records(courses, scale.choose(60_000, 3_000)))
    rounds = await interleave_rounds({"": partial(_measure_growth, backlog)}, scale.choose(3, 1))
    return [
        measurement("events of a command", "events", rounds.values("", "events")),
        measurement("database, a command", "bytes", rounds.values("", "database")),
        measurement("write-ahead log, a command", "bytes", rounds.values("", "wal")),
    ]


async def _measure_growth(backlog: Backlog) -> dict[str, float]:
    growth: dict[str, float] = {}

    @contextlib.contextmanager
    def measured(url: str) -> Iterator[None]:
        before = _read(url)
        yield
        commands, events, database, wal = (after - earlier for after, earlier in zip(_read(url), before, strict=True))
        growth.update(events=events / commands, database=database / commands, wal=wal / commands)

    await backlog.run_handler({}, measured)
    return growth


def _read(url: str) -> tuple[int, ...]:
    """Return commands, events, bytes of the database, bytes of WAL."""
    with psycopg.connect(url, autocommit=True) as connection:
        return tuple(int(n) for query in (COUNTS, SIZES) for row in connection.execute(query) for n in row)
