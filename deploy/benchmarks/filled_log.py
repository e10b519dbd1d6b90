"""Logs that a tree's own handler has filled from its topics, so that trees of any schema can be compared."""

import contextlib
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

import asyncpg

from deploy.benchmarks.backlog import SUBSCRIBERS, wait_for_partitions
from deploy.benchmarks.environment import BenchInstallation, BenchServers
from deploy.benchmarks.in_process import read_courses, setup_commands
from deploy.benchmarks.processes import RunningProcess
from deploy.benchmarks.service_tree import ServiceTree
from deploy.benchmarks.throughput_probe import count_verdicts, wait_for_verdicts
from deploy.benchmarks.workload import Course, ProducerRecord, build_record, list_assignment_ids

RECORDS_AT_ONCE = 20_000


@dataclass(frozen=True, slots=True)
class FilledLog:
    """An installation of a tree whose log has courses with one grade per student and assignment."""

    tree: ServiceTree
    installation: BenchInstallation
    courses: list[Course]

    @property
    def url(self) -> str:
        """URL of the log."""
        return self.installation.url

    @contextlib.asynccontextmanager
    async def run_handler(self) -> AsyncIterator[RunningProcess]:
        """Run the tree's handler; it has its partitions when the block begins."""
        with RunningProcess("services.handler", self.installation.environment, self.tree) as handler:
            await wait_for_partitions(self.installation, SUBSCRIBERS)
            yield handler

    async def decide(self, records: Iterable[ProducerRecord]) -> None:
        """Send records, and wait until the running handler has decided them."""
        decided_count, remaining = await count_verdicts(self.url), iter(records)
        while chunk := list(islice(remaining, RECORDS_AT_ONCE)):
            self.installation.send(chunk)
            decided_count += len(chunk)
            await wait_for_verdicts(self.url, decided_count)


async def fill_log(
    bench_servers: BenchServers,
    tree: ServiceTree,
    course_ids: Sequence[int],
    students: int,
    assignments_per_course: int = 1,
) -> FilledLog:
    """Create a log and topics of a tree, and let its handler decide the courses' rosters and first grades."""
    url = bench_servers.new_database(tree=tree)
    log = FilledLog(tree, await bench_servers.new_installation(url, tree), [])
    async with log.run_handler():
        await log.decide(
            build_record(command)
            for course in course_ids
            for command in setup_commands(course, students, list_assignment_ids(course, assignments_per_course))
        )
    connection = await asyncpg.connect(url)
    try:
        log.courses.extend(await read_courses(connection, course_ids, students))
    finally:
        await connection.close()
    return log
