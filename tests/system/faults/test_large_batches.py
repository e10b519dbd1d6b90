"""Commands with thousands of events each: the handler stays in its group, stays live, and serves other courses."""

import asyncio

import asyncpg

from schemas.topics import DEFAULT_SHARD_COUNT
from services.kafka.partitioning import get_course_shard
from tests.fixtures.canvas.adapter import World
from tests.fixtures.fault_helpers import count_rows, send_all, start_handler, wait_until_processed
from tests.fixtures.process_runner import wait_until
from tests.fixtures.system import System

STUDENTS, TOGGLES, EVENTS_MAX = 1_500, 20, 3_000
PART = EVENTS_MAX // STUDENTS
TRANSACTIONS = (
    "select count(distinct xmin::text) from verdict_body where body->>'type' in ('post_grades', 'hide_grades')"
)
TOGGLED = "select count(*) from verdict where body->>'type' in ('post_grades', 'hide_grades')"


def create_neighbour(world: World) -> World:
    """Create a course of another partition."""
    neighbour = World()
    while get_course_shard(neighbour.course_id, DEFAULT_SHARD_COUNT) == get_course_shard(
        world.course_id, DEFAULT_SHARD_COUNT
    ):
        neighbour = World()
    return neighbour


async def test_commands_with_many_events_are_appended_in_parts_and_delay_no_other_partition(system: System) -> None:
    handler = await start_handler(system, HANDLER_SUBSCRIBERS="1", HANDLER_BATCH_EVENTS=str(EVENTS_MAX))
    world = World()
    neighbour = create_neighbour(world)
    rows = [
        {"user_id": world.user_id(f"s{n}"), "type": "StudentEnrollment", "state": "active"} for n in range(STUDENTS)
    ]
    settings = {"name": "Essay", "points_possible": 10, "grading_type": "points", "moderated_grading": False}
    setup = [
        world.command("upsert_enrollments", {"enrollments": rows}),
        world.command("configure_assignment", settings, assignment="a"),
    ]
    await send_all(system, setup)
    await wait_until_processed(system, len(setup))
    handler.kill()
    types = ("hide_grades", "post_grades")
    toggles = [world.command(types[number % 2], {}, assignment="a") for number in range(1, TOGGLES + 1)]
    update = neighbour.command("upsert_course", {"name": "Neighbour"})
    await send_all(system, [*toggles, update])
    handler.start()

    connection = await asyncpg.connect(system.database_url)
    try:
        decided = "select 1 from verdict where command_id = $1"
        await wait_until(lambda: connection.fetchval(decided, update["command_id"]), "the neighbour's is decided")
        assert await connection.fetchval(TOGGLED) <= 3 * PART
        while await count_rows(system) < len(setup) + len(toggles) + 1:
            status, reason = await asyncio.to_thread(handler.get_readiness)
            assert status in (0, 200) or reason == "starting", reason
        assert await connection.fetchval(TRANSACTIONS) == TOGGLES / PART
    finally:
        await connection.close()
    assert await asyncio.to_thread(handler.get_readiness) == (200, "ready")
    assert handler.get_metric("moderation_rebalances_total") == 1
    assert handler.get_metric("moderation_batch_events_bucket", le="5000.0") == TOGGLES / PART + 1
