"""``status`` shows the state of the log and the topics, even while one of them is unavailable."""

import asyncio

import asyncpg

from services.console.pipeline_status import ALL_DONE
from services.eventlog.pipeline_queries import PipelineQueries
from tests.fixtures.fault_helpers import wait_until_idle
from tests.fixtures.process_runner import wait_until
from tests.fixtures.system import System
from tests.integration.cli.conftest import CommandLine, CommandResult, GradedCourse


async def test_idle_status_shows_no_backlog_and_counts_dead_letters(
    cli: CommandLine, graded_course: GradedCourse, running_system: System
) -> None:
    await wait_until_idle(running_system)

    async def read_idle_status() -> CommandResult | None:
        result = await cli.run_in_process("status", "--json")
        status = result.json()
        # The relay may still be publishing.
        is_waiting = any(part["waiting"] for part in (*status["partitions"], *status["outputs"]))
        return None if is_waiting or status["problems"] else result

    document = await wait_until(read_idle_status, "nothing waits")
    text = await cli.run_in_process("status")

    connection = await asyncpg.connect(running_system.database_url)
    verdicts = await connection.fetchval("select count(*) from verdict")
    settled = await connection.fetchval("select count(*) from dead_letter_settled")
    opened = await connection.fetchval("select count(*) from dead_letter") - settled
    watermarks = await PipelineQueries(connection).watermarks(f"{running_system.prefix}.commands", range(12))
    await connection.close()
    status = document.json()
    assert (status["decided"], status["dead_letters"]["open"], status["problems"]) == (verdicts, opened, [])
    assert {partition["number"]: partition["decided_offset"] - 1 for partition in status["partitions"]} == watermarks
    assert {partition["waiting"] for partition in status["partitions"]} == {0}
    assert {output["waiting"] for output in status["outputs"]} == {0}
    is_ok = opened == 0
    assert (text.exit_code, status["level"]) == ((0, "ok") if is_ok else (1, "warning"))
    assert text.stdout.startswith(("✓ " if is_ok else "! ") + ALL_DONE)


async def test_status_reports_unavailable_servers(cli: CommandLine, graded_course: GradedCourse) -> None:
    nowhere = "postgresql://nobody@127.0.0.1:1/nothing"
    without_kafka, without_both = await asyncio.gather(
        cli.run("status", KAFKA_BOOTSTRAP="127.0.0.1:1"),
        cli.run_in_process("status", "--json", KAFKA_BOOTSTRAP="127.0.0.1:1", DATABASE_URL=nowhere),
    )

    assert (without_kafka.exit_code, without_both.exit_code) == (3, 3)
    assert without_kafka.stderr == ""
    assert without_kafka.stdout.startswith("✗ Kafka does not answer: ")
    assert "undecided      unknown" in without_kafka.stdout
    assert "dead letters   " in without_kafka.stdout
    problems = without_both.json()["problems"]
    assert [problem.split(":")[0] for problem in problems] == ["Kafka does not answer", "PostgreSQL does not answer"]
