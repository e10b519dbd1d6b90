"""The seeded logs of the benchmarks equal logs written by the handler."""

import asyncpg

from deploy.benchmarks.environment import BenchServers
from deploy.benchmarks.log_seeder import create_course_template
from deploy.local.backing_services import ExternalServer
from deploy.local.postgres import drop_databases
from services.eventlog.aggregates import apply_assignment_event
from services.eventlog.store import EventStore
from services.moderation.assignment import Assignment
from services.moderation.ids import IDS_PER_ASSIGNMENT

GAPS = "select shard from {} group by shard having count(*) <> max({}) or min({}) <> 1"

NUMBERED = (("event", "position"), ("verdict", "number"))


async def test_copied_courses_replay_to_the_original_state_with_new_ids(postgres: str) -> None:
    servers = BenchServers(ExternalServer(""), ExternalServer(postgres))
    try:
        course = await create_course_template(servers, students=10, assignments_per_course=2)
        url = servers.new_database()
        copies = await course.copy_to_log(url, 24)
        connection = await asyncpg.connect(url)
        folded: dict[int, Assignment] = {}
        async for chunk in EventStore(connection).events(
            [number for copy in copies for number in copy.stream_numbers.values()]
        ):
            for stored in chunk:
                state = folded.setdefault(stored.stream, Assignment(stored.stream, b"", 1, 1, 1))
                apply_assignment_event(state, stored)
        gaps = [await connection.fetch(GAPS.format(table, *[number] * 2)) for table, number in NUMBERED]
        await connection.close()
    finally:
        drop_databases(postgres, servers.name)

    assert gaps == [[], []]
    for copy in copies:
        for number in copy.stream_numbers.values():
            grades = folded[number].provisional_grades
            assert len(grades) > copy.students
            assert sorted(grades) == [number * IDS_PER_ASSIGNMENT + n for n in range(1, len(grades) + 1)]
            assert folded[number].selections
