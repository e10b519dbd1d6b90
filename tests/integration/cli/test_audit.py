"""Operators' reads are recorded with their database user, and listed by ``audit``."""

import io

import asyncpg
import pytest

from services.console.cli.access_reason import require_access_reason
from tests.fixtures.system import System
from tests.integration.cli.conftest import CommandLine, GradedCourse


async def test_reads_of_the_command_line_are_recorded_and_listed(
    cli: CommandLine, graded_course: GradedCourse, running_system: System
) -> None:
    assignment = graded_course.assignment_id
    command_id = graded_course.verdicts[-1]["command_id"]

    results = [
        await cli.run_in_process("state", assignment, "--reason", " appeal 12 "),
        await cli.run_in_process("history", assignment),
        await cli.run_in_process("verdict", command_id),
    ]
    listed = await cli.run_in_process("audit", "--json")
    found = await cli.run_in_process("audit", "--json", "--what", "history", "--of", assignment)
    connection = await asyncpg.connect(running_system.database_url)
    session_user = await connection.fetchval("select session_user")

    assert [result.exit_code for result in results] == [0, 0, 0]
    reads = [
        entry for entry in listed.json()
        if entry["target"].get("assignment") == assignment or entry["target"].get("command") == command_id
    ]  # fmt: skip
    assert [entry["what"] for entry in reads[:3]] == ["verdict", "history", "state"]
    assert {(entry["database_user"], entry["process"]) for entry in reads[:3]} == {(session_user, "cli")}
    assert [entry["reason"] for entry in reads[:3]] == ["a test", "a test", "appeal 12"]
    # Other tests read the history of the same assignment.
    assert found.json()[0] == next(entry for entry in reads if entry["what"] == "history")
    assert {(entry["what"], entry["target"]["assignment"]) for entry in found.json()} == {("history", assignment)}
    # An insert cannot set another user or time, and rows cannot be removed.
    await connection.execute(
        "insert into access_record (accessed_at, database_user, process, what, target)"
        " values ('2000-01-01', 'somebody', 'cli', 'state', '{}')"
    )
    forged = await connection.fetchval("select count(*) from access_record where database_user = 'somebody'")
    with pytest.raises(asyncpg.RestrictViolationError):
        await connection.execute("delete from access_record")
    await connection.close()
    assert forged == 0


@pytest.mark.parametrize("command", ["state", "history", "agreement", "verdict"])
@pytest.mark.parametrize("reason", ["", " ", "x" * 1_001, "a\x1bb"])
async def test_reading_needs_a_reason(
    cli: CommandLine, graded_course: GradedCourse, running_system: System, command: str, reason: str
) -> None:
    connection = await asyncpg.connect(running_system.database_url)
    before = await connection.fetchval("select count(*) from access_record")
    named = graded_course.verdicts[-1]["command_id"] if command == "verdict" else graded_course.assignment_id

    result = await cli.run_in_process(command, named, ACCESS_REASON=reason)

    after = await connection.fetchval("select count(*) from access_record")
    await connection.close()
    assert (result.exit_code, result.stdout, after) == (2, "", before)
    assert "nothing was" in result.stderr


def test_a_terminal_is_asked_for_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", Terminal("appeal 12\n"))

    assert require_access_reason(None) == "appeal 12"
    assert require_access_reason("stated") == "stated"


class Terminal(io.StringIO):
    """Standard input that counts as a terminal."""

    def isatty(self) -> bool:
        return True
