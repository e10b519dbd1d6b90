"""What operators read is recorded with who the database says they are, and listed by ``audit``."""

import asyncpg
import pytest

from tests.fixtures.system import System
from tests.integration.cli.conftest import CommandLine, GradedCourse


async def test_reads_of_the_command_line_are_recorded_and_listed(
    cli: CommandLine, graded_course: GradedCourse, running_system: System
) -> None:
    assignment = graded_course.assignment_id
    command_id = graded_course.verdicts[-1]["command_id"]

    results = [
        await cli.run_in_process("state", assignment),
        await cli.run_in_process("history", assignment),
        await cli.run_in_process("verdict", command_id),
    ]
    listed = await cli.run_in_process("audit", "--json")
    connection = await asyncpg.connect(running_system.database_url)
    session_user = await connection.fetchval("select session_user")

    assert [result.exit_code for result in results] == [0, 0, 0]
    reads = [
        entry for entry in listed.json()
        if entry["target"].get("assignment") == assignment or entry["target"].get("command") == command_id
    ]  # fmt: skip
    assert [entry["what"] for entry in reads[:3]] == ["verdict", "history", "state"]
    assert {(entry["database_user"], entry["process"]) for entry in reads} == {(session_user, "cli")}
    # Whoever inserts a row can't give another name or time, and nobody removes one.
    await connection.execute(
        "insert into access_record (accessed_at, database_user, process, what, target)"
        " values ('2000-01-01', 'somebody', 'cli', 'state', '{}')"
    )
    forged = await connection.fetchval("select count(*) from access_record where database_user = 'somebody'")
    with pytest.raises(asyncpg.RestrictViolationError):
        await connection.execute("delete from access_record")
    await connection.close()
    assert forged == 0
