"""``status`` says in one glance how things stand, as the log and the topics have it, also when one of them is away."""

import asyncio

import asyncpg

from services.eventlog.pipeline_queries import PipelineQueries
from tests.fixtures.fault_helpers import wait_until_idle
from tests.fixtures.process_runner import wait_until
from tests.fixtures.system import System
from tests.integration.cli.conftest import CommandLine, CommandResult, GradedCourse


async def test_idle_status_shows_no_backlog_and_counts_dead_letters(
    cli: CommandLine, graded_course: GradedCourse, running_system: System
) -> None:
    await wait_until_idle(running_system)

    async def seen() -> CommandResult | None:
        result = await cli.run_in_process("status", "--json")
        found = result.json()
        # Kafka and the relay may be slow to say so.
        waits = any(part["waiting"] for part in (*found["partitions"], *found["outputs"]))
        return None if waits or found["problems"] else result

    document = await wait_until(seen, "nothing waits")
    text = await cli.run("status")

    connection = await asyncpg.connect(running_system.database_url)
    verdicts = await connection.fetchval("select count(*) from verdict")
    settled = await connection.fetchval("select count(*) from dead_letter_settled")
    opened = await connection.fetchval("select count(*) from dead_letter") - settled
    watermarks = await PipelineQueries(connection).watermarks(f"{running_system.prefix}.commands", range(12))
    await connection.close()
    found = document.json()
    assert (found["decided"], found["dead_letters"]["open"], found["problems"]) == (verdicts, opened, [])
    assert {partition["number"]: partition["decided_offset"] - 1 for partition in found["partitions"]} == watermarks
    assert {partition["waiting"] for partition in found["partitions"]} == {0}
    assert {output["waiting"] for output in found["outputs"]} == {0}
    calm = opened == 0
    assert (text.exit_code, found["level"]) == ((0, "calm") if calm else (1, "look"))
    assert text.stdout.startswith(("✓ " if calm else "! ") + "Every command is decided and every grade is out")


async def test_status_reports_unavailable_servers(cli: CommandLine, graded_course: GradedCourse) -> None:
    nowhere = "postgresql://nobody@127.0.0.1:1/nothing"
    without_kafka, without_both = await asyncio.gather(
        cli.run("status", KAFKA_BOOTSTRAP="127.0.0.1:1"),
        cli.run_in_process("status", "--json", KAFKA_BOOTSTRAP="127.0.0.1:1", DATABASE_URL=nowhere),
    )

    assert (without_kafka.exit_code, without_both.exit_code) == (3, 3)
    assert without_kafka.stderr == ""
    assert without_kafka.stdout.startswith("✗ Kafka does not answer: ")
    assert "waiting        unknown" in without_kafka.stdout
    assert "dead letters   " in without_kafka.stdout
    problems = without_both.json()["problems"]
    assert [problem.split(":")[0] for problem in problems] == ["Kafka does not answer", "PostgreSQL does not answer"]
