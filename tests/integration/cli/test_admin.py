"""The administrators' commands can be repeated safely, and a refusal changes nothing."""

from pathlib import Path

import asyncpg
import pytest
from aiokafka.admin import AIOKafkaAdminClient

from deploy.local.postgres import create_database
from schemas.topics import TOPICS
from services.kafka.client_options import client_options
from services.kafka.topics import full_topic_name
from tests.fixtures.canvas.adapter import World
from tests.fixtures.system import RUN_PREFIX, System
from tests.integration.cli.conftest import CommandLine


async def test_migrate_creates_the_schema_and_changes_nothing_when_repeated(cli: CommandLine, postgres: str) -> None:
    url = create_database(postgres, f"{RUN_PREFIX}-installed")

    first = await cli.run("admin", "migrate", DATABASE_URL=url)
    again = await cli.run_in_process("admin", "migrate", DATABASE_URL=url)

    assert (first.exit_code, again.exit_code) == (0, 0), first.stderr + again.stderr
    assert first.stdout.endswith(" migrations applied\n")
    assert again.stdout == "the schema is up to date\n"


async def test_migrate_refuses_a_log_that_it_did_not_create(cli: CommandLine, postgres: str) -> None:
    url = create_database(postgres, f"{RUN_PREFIX}-foreign")
    connection = await asyncpg.connect(url)
    await connection.execute("create table shard (shard smallint)")
    await connection.close()

    result = await cli.run_in_process("admin", "migrate", DATABASE_URL=url)

    assert result.exit_code == 2
    assert "it was not changed: set DATABASE_URL to an empty database" in result.stderr


async def test_migrate_names_a_server_that_is_away(cli: CommandLine) -> None:
    result = await cli.run_in_process("admin", "migrate", DATABASE_URL="postgresql://user:secret@127.0.0.1:1/log")

    assert (result.exit_code, result.stdout) == (3, "")
    assert result.stderr.startswith("PostgreSQL failed: ")
    assert result.stderr.endswith("Check the server and the login in DATABASE_URL, then run this again\n")
    assert "secret" not in result.stderr


async def test_new_installation_names_the_remedy_in_a_database_without_a_log(cli: CommandLine, postgres: str) -> None:
    url = create_database(postgres, f"{RUN_PREFIX}-empty")

    result = await cli.run_in_process("admin", "new-installation", DATABASE_URL=url)

    assert result.exit_code == 2
    assert "this database has no log of this version; nothing was changed" in result.stderr
    assert "admin migrate" in result.stderr


async def test_create_topics_creates_what_is_missing_with_a_partition_for_each_shard(
    cli: CommandLine, bootstrap: str, postgres: str
) -> None:
    settings = {
        "TOPIC_PREFIX": f"{RUN_PREFIX}-created",
        "DATABASE_URL": create_database(postgres, f"{RUN_PREFIX}-three-shards"),
    }
    prefix = settings["TOPIC_PREFIX"]

    too_early = await cli.run_in_process("admin", "create-topics", **settings)
    installed = await cli.run_in_process("admin", "migrate", "--shards", "3", **settings)
    first = await cli.run_in_process("admin", "create-topics", **settings)
    again = await cli.run_in_process("admin", "create-topics", **settings)

    assert "run moderated-grading admin migrate" in too_early.stderr
    assert installed.exit_code == 0, installed.stderr
    names = {full_topic_name(prefix, name) for name in TOPICS}
    assert first.exit_code == 0, first.stderr
    assert set(first.stdout.splitlines()) == {f"created {name}" for name in names}
    assert (again.exit_code, again.stdout) == (0, "all topics exist\n")
    admin = AIOKafkaAdminClient(**client_options(bootstrap))
    await admin.start()
    topics = {topic["topic"]: len(topic["partitions"]) for topic in await admin.describe_topics(list(names))}
    await admin.close()
    assert topics == dict.fromkeys(names, 3)


async def test_accept_recreated_topic_refuses_the_topic_that_was_processed(
    cli: CommandLine, running_system: System
) -> None:
    await running_system.client.send_and_wait(World().command("upsert_course", {"name": "Any course"}))

    refused = await cli.run_in_process("admin", "accept-recreated-topic", "nothing is wrong with it")
    unreasoned = await cli.run_in_process("admin", "accept-recreated-topic", " ")
    missing = await cli.run_in_process("admin", "accept-recreated-topic", "gone", TOPIC_PREFIX="nowhere")

    assert (refused.exit_code, unreasoned.exit_code, missing.exit_code) == (2, 2, 2)
    assert "still contains the records that were processed; nothing was changed" in refused.stderr
    assert "moderated-grading admin create-topics" in missing.stderr
    connection = await asyncpg.connect(running_system.database_url)
    assert await connection.fetchval("select count(*) from source") == 1
    await connection.close()


async def test_rewind_refuses_while_a_relay_is_running(cli: CommandLine, running_system: System) -> None:
    running = await cli.run_in_process("admin", "rewind", "start")
    unknown = await cli.run_in_process("admin", "rewind", "topics", "grades")

    assert (running.exit_code, unknown.exit_code) == (2, 2)
    assert "a relay is running; nothing was changed. Stop all relays" in running.stderr
    assert "unknown output grades" in unknown.stderr


async def test_archive_leaves_verdicts_that_are_still_kept(cli: CommandLine, database_url: str, tmp_path: Path) -> None:
    settings = {"DATABASE_URL": database_url}

    kept = await cli.run_in_process("admin", "archive", "detach", str(tmp_path), **settings)
    too_young = await cli.run_in_process(
        "admin", "archive", "detach", str(tmp_path), "--older-than-days", "399", **settings
    )
    no_archive = tmp_path / "verdict_body_2020_01.copy.gz"
    no_archive.write_bytes(b"")
    undescribed = await cli.run_in_process("admin", "archive", "attach", str(no_archive), **settings)

    assert (kept.exit_code, too_young.exit_code, undescribed.exit_code) == (0, 2, 2), kept.stderr
    assert kept.stdout == "no month ended 400 days ago or earlier\n"
    assert "nothing was changed: keep each month's .json file next to" in undescribed.stderr


@pytest.mark.parametrize(
    "command", [("migrate",), ("create-topics",), ("accept-recreated-topic", "why"), ("rewind", "topics")]
)
async def test_missing_settings_are_named(cli: CommandLine, command: tuple[str, ...]) -> None:
    result = await cli.run_in_process("admin", *command, DATABASE_URL="", KAFKA_BOOTSTRAP="")

    assert result.exit_code == 2
    assert "is not set: set it to" in result.stderr
