"""The sequences of the corpus: commands that are bad, or hard, by what is sent before them or at the same time."""

import asyncio
import json
import random
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from schemas.topics import DEFAULT_SHARD_COUNT
from services.console.group_members import GroupMembers
from services.kafka.partitioning import get_course_shard
from tests.fixtures.bad_inputs import BAD_INPUTS, allowed_outcomes, outcome_of, replays
from tests.fixtures.canvas.adapter import World, small_course_steps
from tests.fixtures.fault_helpers import connected, count_in, course_commands, wait_until_log_is_read
from tests.fixtures.gateway_client import GatewayClient
from tests.fixtures.process_runner import wait_until
from tests.fixtures.system import System, create_system
from tests.system.journeys.test_canvas_cases import load_documents

Json = dict[str, Any]
pytestmark = pytest.mark.cases("bad sequences over Kafka")
GRADER, STUDENT, UNKNOWN_COURSE = "21", "31", "424242"
ROUNDS = 5
MANY_COMMANDS, MANY_COURSES, MANY_STUDENTS = 10_000, 1_000, 10_000
STUDENTS_PER_COMMAND = 2_000
KILLED_WITHIN_SECONDS = 1.5


def new_command(base: str, **changes: Any) -> Json:
    return {**BAD_INPUTS["bases"][base], "command_id": str(uuid.uuid4()), **changes}


async def send_accepted(system: System, commands: list[Json]) -> list[Json]:
    """Send commands in this order; return their verdicts, all accepted."""
    verdicts = await system.client.send_all_and_wait(commands)
    assert {(verdict["status"], verdict["duplicate"]) for verdict in verdicts} == {("accepted", False)}
    return verdicts


def build_small_course() -> tuple[World, list[Json]]:
    world = World()
    return world, [command for step in small_course_steps() for command in world.given(step)]


@pytest.fixture(scope="module")
async def two_handlers(
    bootstrap: str, new_database: Callable[[], str], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[System]:
    """Create a system of its own, with two handlers and a relay."""
    async for system in create_system(bootstrap, new_database(), tmp_path_factory.mktemp("sequences")):
        for instance in ("first", "second"):
            system.create_process("handler", HANDLER_INSTANCE=instance, HANDLER_SUBSCRIBERS="1")
        system.create_process("relay")
        for process in system.processes:
            process.start()
        for process in system.processes:
            await process.wait_until_ready()
        yield system


async def wait_for_owners(system: System) -> Mapping[int, str]:
    """Wait until two handlers share the partitions; return the owner of each."""
    members = GroupMembers(system.bootstrap, system.prefix)
    await members.start()

    async def are_shared() -> bool:
        await members.refresh()
        owners = members.owners or {}
        return len(owners) == DEFAULT_SHARD_COUNT and len(set(owners.values())) == 2

    try:
        await wait_until(are_shared, "two handlers share the partitions")
        assert members.owners is not None
        return members.owners
    finally:
        await members.stop()


@replays("S003")
async def test_command_id_with_other_content_is_refused_and_keeps_its_first_verdict(
    entry: Json, seeded: System, gateway: GatewayClient
) -> None:
    command = new_command("record_grade")
    first = await seeded.client.send_and_wait(command)
    assert first["status"] == "accepted"
    await seeded.client.send({**command, "data": {**command["data"], "score": 9}})
    second = await seeded.client.wait_for_verdict(command["command_id"], 2)
    assert outcome_of(second) in allowed_outcomes(entry), second
    shown = await gateway.request("GET", f"/api/moderation/v1/commands/{command['command_id']}", int(GRADER))
    assert (shown.status_code, shown.json()["status"], shown.json()["reason"]) == (200, "accepted", None)


@replays("S012")
async def test_one_of_two_publications_on_two_handlers_takes_effect(entry: Json, two_handlers: System) -> None:
    assert entry["expected"] == "mixed"
    client, owners = two_handlers.client, await wait_for_owners(two_handlers)
    for _ in range(ROUNDS):
        world, commands = build_small_course()
        grade = {"operation": "grade", "actor": "ta1", "assignment": "a1", "score": 7}
        await send_accepted(
            two_handlers, [*commands, *(world.operation({**grade, "student": name}) for name in ("s1", "s2"))]
        )
        own = get_course_shard(world.course_id, DEFAULT_SHARD_COUNT)
        other = next(partition for partition, owner in owners.items() if owner != owners[own])
        publications = {
            partition: world.operation({"operation": "publish", "actor": "fg", "assignment": "a1"})
            for partition in (own, other)
        }
        for partition, command in publications.items():
            await client.send_raw(json.dumps(command).encode(), command["course_id"].encode(), partition=partition)
        verdicts = [await client.wait_for_verdict(command["command_id"]) for command in publications.values()]
        assert Counter(map(outcome_of, verdicts)) == {"accepted": 1, "rejected:already_published": 1}
        await wait_until_log_is_read(two_handlers, "live-events")
        changes = {
            outcome_of(verdict): sorted(
                value["body"]["student_id"]
                for _, value in client.outputs_by_command.get(("live-events", verdict["command_id"]), ())
            )
            for verdict in verdicts
        }
        students = sorted(world.user_id(name) for name in ("s1", "s2"))
        assert changes == {"accepted": students, "rejected:already_published": []}


@replays("S015")
async def test_order_on_the_topic_decides_not_the_time_of_issue(entry: Json, two_handlers: System) -> None:
    world, commands = build_small_course()
    await send_accepted(two_handlers, commands)
    start = datetime(2026, 1, 31, tzinfo=UTC)
    grades = [
        {
            **world.operation(
                {"operation": "grade", "actor": "ta1", "assignment": "a1", "student": f"s{n % 2 + 1}", "score": n % 10}
            ),
            "issued_at": (start - timedelta(seconds=n)).isoformat(),
        }
        for n in range(MANY_COMMANDS)
    ]
    verdicts = await send_accepted(two_handlers, grades)
    assert {outcome_of(verdict) for verdict in verdicts} <= set(allowed_outcomes(entry))
    ids = [command["command_id"] for command in grades]
    on_topic = (json.loads(record.value or b"")["command_id"] for record in two_handlers.client.records["verdicts"])
    assert list(filter(set(ids).__contains__, on_topic)) == ids
    document = (await load_documents(two_handlers, world))["a1"]
    scores = {row["student_id"]: row["score"] for row in document["provisional_grades"]}
    last_of = {int(grade["data"]["student_id"]): grade["data"]["score"] for grade in grades}
    assert scores == last_of


@replays("S016")
async def test_publication_of_a_large_class_survives_kills_as_a_whole(entry: Json, system: System, kills: int) -> None:
    system.create_process("handler", HANDLER_INSTANCE="killed")
    system.create_process("relay")
    await start_all(system)
    world, client = World(), system.client
    students = [str(world.base + 100_000 + n) for n in range(MANY_STUDENTS)]
    staff = [{"do": "enroll", "user": "fg", "role": "teacher"}, {"do": "enroll", "user": "ta1", "role": "ta"}]
    settings = {
        "do": "assignment", "id": "a1", "moderated_grading": True, "grader_count": 2, "final_grader": "fg",
        "points_possible": 100, "grading_type": "points",
    }  # fmt: skip
    rows = [{"user_id": student, "type": "StudentEnrollment", "state": "active"} for student in students]
    enrollments = [
        world.command("upsert_enrollments", {"enrollments": rows[first : first + STUDENTS_PER_COMMAND]})
        for first in range(0, MANY_STUDENTS, STUDENTS_PER_COMMAND)
    ]
    facts = [command for step in staff for command in world.given(step)] + enrollments + world.given(settings)
    grades = [
        world.command("record_provisional_grade", {"student_id": student, "score": n % 101}, "a1", "ta1")
        for n, student in enumerate(students)
    ]
    await send_accepted(system, [*facts, *grades])

    publication = world.operation({"operation": "publish", "actor": "fg", "assignment": "a1"})
    await client.send(publication)
    chance, numbers_in_log = random.Random(entry["id"]), set()
    for _ in range(kills):
        await asyncio.sleep(chance.uniform(0, KILLED_WITHIN_SECONDS))
        for process in system.processes:
            process.kill()
        async with connected(system) as connection:
            caused = f"event where metadata->>'command_id' = '{publication['command_id']}'"
            numbers_in_log.add(await count_in(connection, caused))
        await start_all(system)
    verdict = await client.wait_for_verdict(publication["command_id"])
    assert outcome_of(verdict) in allowed_outcomes(entry)
    assert verdict["events"] > MANY_STUDENTS
    assert numbers_in_log <= {0, verdict["events"]}
    await wait_until_log_is_read(system, "events", "live-events")
    assert len(client.outputs_by_command["events", publication["command_id"]]) == verdict["events"]
    changes = client.outputs_by_command["live-events", publication["command_id"]]
    assert Counter(change["body"]["student_id"] for _, change in changes) == Counter(students)
    assert [len(found) for found in client.verdicts.values() if len(found) != 1] == []


async def start_all(system: System) -> None:
    for process in system.processes:
        process.start()
    for process in system.processes:
        await process.wait_until_ready()


@replays("S017")
async def test_command_for_an_unknown_course_leaves_nothing_behind(entry: Json, seeded: System) -> None:
    verdict = await seeded.client.send_and_wait(new_command("record_grade", course_id=UNKNOWN_COURSE))
    assert outcome_of(verdict) in allowed_outcomes(entry), verdict
    async with connected(seeded) as connection:
        assert await count_in(connection, f"stream where course = {UNKNOWN_COURSE}") == 0


@replays("S019")
async def test_student_cannot_grade_own_work(entry: Json, seeded: System) -> None:
    command = new_command("record_grade", actor={"user_id": STUDENT})
    assert command["data"]["student_id"] == STUDENT
    verdict = await seeded.client.send_and_wait(command)
    assert (outcome_of(verdict) in allowed_outcomes(entry), verdict["events"]) == (True, 0), verdict


@replays("S020")
async def test_grader_can_neither_select_nor_publish(entry: Json, seeded: System) -> None:
    graded = await seeded.client.send_and_wait(new_command("record_grade"))
    selected = {"provisional_grade_id": graded["result"]["provisional_grade_id"]}
    for command in (
        new_command("record_grade", type="select_provisional_grade", data=selected),
        new_command("record_grade", type="publish_provisional_grades", data={}),
    ):
        verdict = await seeded.client.send_and_wait(command)
        assert (outcome_of(verdict) in allowed_outcomes(entry), verdict["events"]) == (True, 0), verdict


@replays("S023")
async def test_no_metric_is_labelled_by_course_or_user(entry: Json, two_handlers: System) -> None:
    commands = course_commands(MANY_COURSES)
    courses = {command["course_id"] for command in commands}
    assert len(courses) == MANY_COURSES
    verdicts = await send_accepted(two_handlers, commands)
    assert {outcome_of(verdict) for verdict in verdicts} <= set(allowed_outcomes(entry))
    labels = {
        label
        for process in two_handlers.processes
        for family in process.get_metrics()
        for sample in family.samples
        for label in sample.labels.items()
    }
    assert labels
    assert {name for name, _ in labels} & {"course", "course_id", "user", "user_id"} == set()
    assert {value for _, value in labels} & courses == set()
