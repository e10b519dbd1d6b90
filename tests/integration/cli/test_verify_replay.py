"""``verify`` and ``replay``: exit codes, and recorded reasons."""

import asyncio

import asyncpg

from tests.fixtures.system import System
from tests.integration.cli.conftest import CommandLine, GradedCourse


async def test_verify_finds_no_fault_on_the_running_system(
    cli: CommandLine, graded_course: GradedCourse, running_system: System
) -> None:
    topic = f"{running_system.prefix}.live-events"

    text, document, missing, unnamed, elsewhere = await asyncio.gather(
        cli.run_in_process("verify", topic),
        cli.run_in_process("verify", topic, "--json"),
        cli.run_in_process("verify", f"{running_system.prefix}.nothing", "--of", "events"),
        cli.run_in_process("verify", "--of", "events"),
        cli.run_in_process("verify", f"{running_system.prefix}.caliper", LMS_URL="http://another.example"),
    )

    assert text.exit_code == 0, text.stderr
    assert text.stdout.startswith(f"✓ {topic}: ")
    (result,) = document.json()
    assert (document.exit_code, result["output"], result["findings"]) == (0, "live-events", [])
    assert unnamed.exit_code == 2
    assert elsewhere.exit_code == 1
    assert "compare EVENT_SOURCE, LIVE_EVENTS_SHARD and LMS_URL with the relay's" in elsewhere.stdout
    assert (missing.exit_code, missing.stderr) == (4, f"there is no topic {running_system.prefix}.nothing\n")


async def test_replay_is_recorded_with_its_reason_and_resumes(
    cli_by_role: dict[str, CommandLine], graded_course: GradedCourse, running_system: System
) -> None:
    target, course = f"{running_system.prefix}-audit", ("--course", str(graded_course.world.course_id))
    command, why = ("replay", "live-events", target, *course, "--reason"), "the auditors lost theirs"

    refused, unreasoned = [
        await cli_by_role["viewer"].run_in_process(*command, why),
        await cli_by_role["operator"].run_in_process(*command, " "),
    ]
    first = await cli_by_role["operator"].run_in_process(*command, why, "--json")
    again = await cli_by_role["operator"].run_in_process(*command, why)
    checked = await cli_by_role["operator"].run_in_process("verify", target, "--of", "live-events", *course)
    own = await cli_by_role["operator"].run_in_process(
        "replay", "live-events", f"{running_system.prefix}.verdicts", "--reason", why
    )
    slip = await cli_by_role["operator"].run_in_process(*command[:3], "--course", "1", "--reason", why)

    assert (refused.exit_code, unreasoned.exit_code, own.exit_code, slip.exit_code) == (2, 2, 2, 4)
    assert "scope moderation.operator" in refused.stderr
    assert (first.exit_code, first.json()["emitted"]) == (0, 1)
    assert " 0 records published now. Action " in again.stdout
    assert checked.exit_code == 0, checked.stdout
    connection = await asyncpg.connect(running_system.database_url)
    query = "select * from operator_action where kind = 'replay' and detail->>'target' = $1 order by acted_at"
    rows = await connection.fetch(query, target)
    await connection.close()
    assert [(row["user_id"], row["reason"]) for row in rows] == [(77, why)] * 2
    assert str(rows[0]["id"]) == first.json()["action"]
