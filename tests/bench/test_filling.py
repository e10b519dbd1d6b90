"""The large logs of the benchmarks are such as the handler would have written."""

import asyncpg

from deploy.benchmarks.environment import Site
from deploy.benchmarks.log_seeder import original
from deploy.local.backing_services import Given
from deploy.local.postgres import drop_databases
from services.eventlog.aggregates import evolve_stored_assignment
from services.eventlog.store import Log
from services.moderation.assignment import IDS_PER_ASSIGNMENT, Assignment

GAPS = "select shard from {} group by shard having count(*) <> max({}) or min({}) <> 1"

NUMBERED = (("event", "position"), ("verdict", "number"))


async def test_a_copied_course_folds_to_what_the_original_was_under_ids_of_its_own(postgres: str) -> None:
    site = Site(Given(""), Given(postgres))
    try:
        course = await original(site, students=10, assignments_each=2)
        url = site.database()
        copies = await course.copied(url, 24)
        connection = await asyncpg.connect(url)
        folded: dict[int, Assignment] = {}
        async for some in Log(connection).events([number for copy in copies for number in copy.numbers.values()]):
            for stored in some:
                state = folded.setdefault(stored.stream, Assignment(stored.stream, b"", 1, 1, 1))
                evolve_stored_assignment(state, stored)
        gaps = [await connection.fetch(GAPS.format(table, *[number] * 2)) for table, number in NUMBERED]
        await connection.close()
    finally:
        drop_databases(postgres, site.name)

    assert gaps == [[], []]
    for copy in copies:
        for number in copy.numbers.values():
            grades = folded[number].provisional_grades
            assert len(grades) > copy.students
            assert sorted(grades) == [number * IDS_PER_ASSIGNMENT + n for n in range(1, len(grades) + 1)]
            assert folded[number].selections
