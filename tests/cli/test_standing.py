"""``status`` says in one glance how things stand, as the log and the topics have it, also when one of them is away."""

import asyncio

import asyncpg

from services.eventlog.pipeline_queries import PipelineQueries
from tests.cli.conftest import CommandLine, Ran, Season
from tests.conftest import System
from tests.faults.steps import until_at_rest
from tests.processes.running import until


async def test_at_rest_nothing_waits_and_what_failed_is_counted(
    cli: CommandLine, season: Season, running: System
) -> None:
    await until_at_rest(running)

    async def seen() -> Ran | None:
        ran = await cli.here("status", "--json")
        found = ran.json()
        # Kafka and the relay may be slow to say so.
        waits = any(part["waiting"] for part in (*found["partitions"], *found["outputs"]))
        return None if waits or found["problems"] else ran

    document = await until(seen, "nothing waits")
    text = await cli.run("status")

    connection = await asyncpg.connect(running.database_url)
    verdicts = await connection.fetchval("select count(*) from verdict")
    settled = await connection.fetchval("select count(*) from dead_letter_settled")
    opened = await connection.fetchval("select count(*) from dead_letter") - settled
    watermarks = await PipelineQueries(connection).watermarks(f"{running.prefix}.commands", range(12))
    await connection.close()
    found = document.json()
    assert (found["decided"], found["dead_letters"]["open"], found["problems"]) == (verdicts, opened, [])
    assert {partition["number"]: partition["decided_offset"] - 1 for partition in found["partitions"]} == watermarks
    assert {partition["waiting"] for partition in found["partitions"]} == {0}
    assert {output["waiting"] for output in found["outputs"]} == {0}
    calm = opened == 0
    assert (text.code, found["level"]) == ((0, "calm") if calm else (1, "look"))
    assert text.out.startswith(("✓ " if calm else "! ") + "Every command is decided and every grade is out")


async def test_with_kafka_away_the_rest_is_said_and_with_both_away_that(cli: CommandLine, season: Season) -> None:
    nowhere = "postgresql://nobody@127.0.0.1:1/nothing"
    without_kafka, without_both = await asyncio.gather(
        cli.run("status", KAFKA_BOOTSTRAP="127.0.0.1:1"),
        cli.here("status", "--json", KAFKA_BOOTSTRAP="127.0.0.1:1", DATABASE_URL=nowhere),
    )

    assert (without_kafka.code, without_both.code) == (3, 3)
    assert without_kafka.err == ""
    assert without_kafka.out.startswith("✗ Kafka does not answer: ")
    assert "waiting        unknown" in without_kafka.out
    assert "dead letters   " in without_kafka.out
    problems = without_both.json()["problems"]
    assert [problem.split(":")[0] for problem in problems] == ["Kafka does not answer", "PostgreSQL does not answer"]
