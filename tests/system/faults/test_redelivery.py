"""Reset offsets, recreated topics and restored databases: no command is processed twice, none is skipped."""

import asyncio
import contextlib
import json
import subprocess
from typing import Any
from urllib.parse import urlsplit

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions

from deploy.local.postgres import create_database
from services.kafka import topics
from services.kafka.client_options import client_options
from tests.fixtures.canvas.adapter import World
from tests.fixtures.fault_helpers import (
    count_rows,
    course_commands,
    recreate_commands_topic,
    run_admin_command,
    send_all,
    start_handler,
    wait_until_processed,
)
from tests.fixtures.process_runner import DEADLINE_SECONDS, Json, wait_until
from tests.fixtures.system import System


async def reset_group_offsets(system: System) -> None:
    commands, group = topics.full_topic_name(system.prefix, "commands"), f"{system.prefix}.handler"
    consumer = AIOKafkaConsumer(**client_options(system.bootstrap), group_id=group, enable_auto_commit=False)
    await consumer.start()
    partitions = [TopicPartition(commands, number) for number in range(12)]
    consumer.assign(partitions)
    await consumer.commit(dict.fromkeys(partitions, 0))
    await consumer.stop()


async def test_consumer_group_reset_to_the_beginning_redelivers_without_effect(system: System) -> None:
    # Not a static member: those leave their group only when their session ends.
    handler = system.create_process("handler")
    handler.start()
    await handler.wait_until_ready()
    await send_all(system, course_commands(300))
    await wait_until_processed(system, 300)
    assert handler.stop() == 0
    await reset_group_offsets(system)
    for instance in ("one", "two"):
        again = system.create_process("handler", HANDLER_INSTANCE=instance)
        again.start()
        await again.wait_until_ready()
    await send_all(system, course_commands(50))
    await wait_until_processed(system, 350)
    assert (await count_rows(system), await count_rows(system, "event")) == (350, 350)


async def test_commands_of_a_recreated_topic_are_processed(system: System) -> None:
    handler = await start_handler(system)
    await send_all(system, course_commands(200))
    await wait_until_processed(system, 200)
    handler.kill()
    for arguments in (["--help"], ["nothing is wrong with it"]):
        with contextlib.suppress(subprocess.CalledProcessError):
            await run_admin_command(system, "accept-recreated-topic", *arguments)
    assert await count_rows(system, "source") == 1
    await recreate_commands_topic(system)
    await send_all(system, course_commands(400))
    again = system.create_process("handler", HANDLER_INSTANCE="redelivered")
    again.start()
    await wait_until(
        lambda: "moderated-grading admin accept-recreated-topic" in again.get_readiness()[1],
        "the handler names the remedy",
    )
    with pytest.raises(subprocess.CalledProcessError):
        await run_admin_command(system, "accept-recreated-topic", "while a handler is connected")
    assert await count_rows(system, "source") == 1
    again.kill()
    await run_admin_command(system, "accept-recreated-topic", "the topic was made again")
    await start_handler(system)
    await wait_until_processed(system, 600)
    assert await count_rows(system) == 600


async def test_commands_of_a_topic_that_returned_with_one_partition_are_kept_and_decided(system: System) -> None:
    handler = await start_handler(system)
    await send_all(system, course_commands(100))
    await wait_until_processed(system, 100)
    handler.kill()
    commands = topics.full_topic_name(system.prefix, "commands")
    await recreate_commands_topic(system, partitions=1)
    await send_all(system, course_commands(150))
    refused = system.create_process("handler", HANDLER_INSTANCE="redelivered")
    refused.start()
    assert refused.popen is not None
    assert await asyncio.to_thread(refused.popen.wait, DEADLINE_SECONDS) != 0
    assert f"kafka-topics --alter --topic {commands} --partitions 12" in refused.log.read_text()
    admin = AIOKafkaAdminClient(**client_options(system.bootstrap))
    await admin.start()
    await admin.create_partitions({commands: NewPartitions(total_count=12)})
    await admin.close()
    await run_admin_command(system, "accept-recreated-topic", "it came back with one partition")
    await start_handler(system)
    await wait_until_processed(system, 250)
    assert await count_rows(system) == 250


async def test_records_missing_from_a_restored_database_are_processed_again(system: System) -> None:
    handler = await start_handler(system)
    await send_all(system, course_commands(150))
    await wait_until_processed(system, 150)
    handler.kill()
    name = urlsplit(system.database_url).path.removeprefix("/")
    backup = create_database(system.database_url, f"{name}-backup", template=name)
    handler = await start_handler(system)
    await send_all(system, course_commands(150))
    await wait_until_processed(system, 300)
    handler.kill()
    system.database_url = backup
    assert await count_rows(system) == 150
    await start_handler(system)
    await wait_until_processed(system, 300)
    assert await count_rows(system) == 300


async def test_handler_reports_missing_topics_and_creates_none(system: System) -> None:
    prefix = f"{system.prefix}-missing"
    handler = system.create_process("handler", TOPIC_PREFIX=prefix)
    handler.start()
    assert handler.popen is not None
    assert await asyncio.to_thread(handler.popen.wait, DEADLINE_SECONDS) != 0
    assert (
        f"topic {prefix}.commands does not exist: run moderated-grading admin create-topics" in handler.log.read_text()
    )
    admin = AIOKafkaAdminClient(**client_options(system.bootstrap))
    await admin.start()
    assert not [name for name in await admin.list_topics() if name.startswith(prefix)]
    await admin.close()


async def test_publication_of_ten_thousand_students_succeeds(system: System) -> None:
    students = 10_000
    for process in (await start_handler(system), system.create_process("relay")):
        if process.popen is None:
            process.start()
            await process.wait_until_ready()
    world = World()
    setup: list[Json] = [{"do": "enroll", "user": name, "role": "teacher"} for name in ("fg", "ta")]
    setup += [
        {
            "do": "assignment", "id": "a", "moderated_grading": True, "grader_count": 2, "final_grader": "fg",
            "points_possible": 10, "grading_type": "points",
        }
    ]  # fmt: skip
    commands = [command for step in setup[:2] for command in world.given(step)]
    rows = [
        {"user_id": world.user_id(f"s{n}"), "type": "StudentEnrollment", "state": "active"} for n in range(students)
    ]
    commands += [world.command("upsert_enrollments", {"enrollments": rows[n : n + 5_000]}) for n in (0, 5_000)]
    commands += world.given(setup[2])
    grade: Json = {"operation": "grade", "actor": "ta", "assignment": "a", "score": 7}
    commands += [world.operation({**grade, "student": f"s{n}"}) for n in range(students)]
    publish = world.operation({"operation": "publish", "actor": "fg", "assignment": "a"})
    await send_all(system, [*commands, publish])
    verdict = await system.client.wait_for_verdict(publish["command_id"])
    assert (verdict["status"], verdict["events"]) == ("accepted", students + 1), verdict
    live = await system.client.wait_for_outputs("live-events", publish["command_id"], students)
    assert len({value["body"]["student_id"] for _, value in live}) == len(live) == students


async def test_records_of_maximum_size_are_published(running_system: System) -> None:
    world, outside = World(), running_system.client
    users: list[Any] = [{"user_id": 1 + n, "name": "n" * 60} for n in range(10_000)]
    names = world.command("upsert_users", {"users": users})
    assert 900_000 < len(json.dumps(names)) < 1 << 20
    assert (await outside.send_and_wait(names))["events"] == 1
    assert len((await outside.wait_for_outputs("events", names["command_id"], 1))[0][1]["payload"]["users"]) == 10_000
    unreadable = b"x" * ((1 << 20) - 200)
    await outside.send_raw(unreadable, b"1001")
    await wait_until(lambda: any(r.value == unreadable for r in outside.records["dead-letters"]), "the dead letter")


async def test_restarted_static_member_reads_added_partitions(
    system: System,
) -> None:
    handler = await start_handler(system)
    await send_all(system, course_commands(40))
    await wait_until_processed(system, 40)
    handler.kill()
    admin = AIOKafkaAdminClient(**client_options(system.bootstrap))
    await admin.start()
    await admin.create_partitions({topics.full_topic_name(system.prefix, "commands"): NewPartitions(total_count=24)})
    await admin.close()
    await system.client.producer.stop()
    await system.client.recreate_producer()
    await start_handler(system)
    for number, command in enumerate(course_commands(24)):
        await system.client.send_raw(json.dumps(command).encode(), partition=number)
    await wait_until_processed(system, 64)
