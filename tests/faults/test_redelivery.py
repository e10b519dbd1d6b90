"""Offsets reset, topics made again, databases restored: no command twice, none passed over."""

import asyncio
import contextlib
import json
import subprocess
from typing import Any
from urllib.parse import urlsplit

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions

from deploy.local.postgres import create_database
from services.kafka import topics
from tests.cases.adapter import World
from tests.conftest import System
from tests.faults.steps import count, courses, made_again, run, send_all, started, until_decided
from tests.processes.running import DEADLINE_SECONDS, Json, until


async def reset_to_the_beginning(system: System) -> None:
    commands, group = topics.full_topic_name(system.prefix, "commands"), f"{system.prefix}.handler"
    consumer = AIOKafkaConsumer(bootstrap_servers=system.bootstrap, group_id=group, enable_auto_commit=False)
    await consumer.start()
    places = [TopicPartition(commands, number) for number in range(12)]
    consumer.assign(places)
    await consumer.commit(dict.fromkeys(places, 0))
    await consumer.stop()


async def test_a_group_reset_to_the_beginning_changes_nothing(system: System) -> None:
    # Not a static member: those leave their group only when their session ends.
    handler = system.process("handler")
    handler.start()
    await handler.ready()
    await send_all(system, courses(300))
    await until_decided(system, 300)
    assert handler.stop() == 0
    await reset_to_the_beginning(system)
    for instance in ("one", "two"):
        again = system.process("handler", HANDLER_INSTANCE=instance)
        again.start()
        await again.ready()
    await send_all(system, courses(50))
    await until_decided(system, 350)
    assert (await count(system), await count(system, "event")) == (350, 350)


async def test_commands_of_a_topic_that_was_made_again_are_not_passed_over(system: System) -> None:
    handler = await started(system)
    await send_all(system, courses(200))
    await until_decided(system, 200)
    handler.kill()
    for arguments in (["--help"], ["nothing is wrong with it"]):
        with contextlib.suppress(subprocess.CalledProcessError):
            await run(system, "services.admin.accept_recreated_topic", *arguments)
    assert await count(system, "source") == 1
    await made_again(system)
    await send_all(system, courses(400))
    again = system.process("handler", HANDLER_INSTANCE="redelivered")
    again.start()
    await until(lambda: "services.admin.accept_recreated_topic" in again.health()[1], "the handler names the remedy")
    again.kill()
    await run(system, "services.admin.accept_recreated_topic", "the topic was made again")
    await started(system)
    await until_decided(system, 600)
    assert await count(system) == 600


async def test_what_a_restored_database_forgot_is_decided_again(system: System) -> None:
    handler = await started(system)
    await send_all(system, courses(150))
    await until_decided(system, 150)
    handler.kill()
    name = urlsplit(system.database_url).path.removeprefix("/")
    backup = create_database(system.database_url, f"{name}-backup", template=name)
    handler = await started(system)
    await send_all(system, courses(150))
    await until_decided(system, 300)
    handler.kill()
    system.database_url = backup
    assert await count(system) == 150
    await started(system)
    await until_decided(system, 300)
    assert await count(system) == 300


async def test_without_its_topics_the_handler_says_so_and_makes_none(system: System) -> None:
    prefix = f"{system.prefix}-missing"
    handler = system.process("handler", TOPIC_PREFIX=prefix)
    handler.start()
    assert handler.popen is not None
    assert await asyncio.to_thread(handler.popen.wait, DEADLINE_SECONDS) != 0
    assert f"topic {prefix}.commands does not exist: run python -m services.kafka.topics" in handler.log.read_text()
    admin = AIOKafkaAdminClient(bootstrap_servers=system.bootstrap)
    await admin.start()
    assert not [name for name in await admin.list_topics() if name.startswith(prefix)]
    await admin.close()


async def test_a_course_of_ten_thousand_publishes(system: System) -> None:
    students = 10_000
    for process in (await started(system), system.process("relay")):
        if process.popen is None:
            process.start()
            await process.ready()
    world = World()
    setup: list[Json] = [{"do": "enroll", "user": name, "role": "teacher"} for name in ("fg", "ta")]
    setup += [
        {
            "do": "assignment", "id": "a", "moderated_grading": True, "grader_count": 2, "final_grader": "fg",
            "points_possible": 10, "grading_type": "points",
        }
    ]  # fmt: skip
    commands = [command for step in setup[:2] for command in world.given(step)]
    rows = [{"user_id": world.user(f"s{n}"), "type": "StudentEnrollment", "state": "active"} for n in range(students)]
    commands += [world.command("upsert_enrollments", {"enrollments": rows[n : n + 5_000]}) for n in (0, 5_000)]
    commands += world.given(setup[2])
    grade: Json = {"operation": "grade", "actor": "ta", "assignment": "a", "score": 7}
    commands += [world.operation({**grade, "student": f"s{n}"}) for n in range(students)]
    publish = world.operation({"operation": "publish", "actor": "fg", "assignment": "a"})
    await send_all(system, [*commands, publish])
    verdict = await system.outside.verdict_of(publish["command_id"])
    assert (verdict["status"], verdict["events"]) == ("accepted", students + 1), verdict
    live = await system.outside.caused_by("live-events", publish["command_id"], students)
    assert len({value["body"]["student_id"] for _, value in live}) == len(live) == students


async def test_the_largest_records_come_out_at_the_other_end(running: System) -> None:
    world, outside = World(), running.outside
    users: list[Any] = [{"user_id": 1 + n, "name": "n" * 60} for n in range(10_000)]
    names = world.command("upsert_users", {"users": users})
    assert 900_000 < len(json.dumps(names)) < 1 << 20
    assert (await outside.verdict(names))["events"] == 1
    assert len((await outside.caused_by("events", names["command_id"], 1))[0][1]["payload"]["users"]) == 10_000
    unreadable = b"x" * ((1 << 20) - 200)
    await outside.send_raw(unreadable, b"1001")
    await until(lambda: any(r.value == unreadable for r in outside.records["dead-letters"]), "the dead letter")


async def test_partitions_that_are_added_are_read_also_by_a_handler_that_takes_up_its_name_again(
    system: System,
) -> None:
    handler = await started(system)
    await send_all(system, courses(40))
    await until_decided(system, 40)
    handler.kill()
    admin = AIOKafkaAdminClient(bootstrap_servers=system.bootstrap)
    await admin.start()
    await admin.create_partitions({topics.full_topic_name(system.prefix, "commands"): NewPartitions(total_count=24)})
    await admin.close()
    await system.outside.producer.stop()
    await system.outside.renew_producer()
    await started(system)
    for number, command in enumerate(courses(24)):
        await system.outside.send_raw(json.dumps(command).encode(), partition=number)
    await until_decided(system, 64)
