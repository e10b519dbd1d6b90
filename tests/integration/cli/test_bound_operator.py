"""With a login that is bound to a root account the command line shows nothing of other accounts."""

import json
import stat
import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import sql

from tests.fixtures.canvas.adapter import World, small_course_steps
from tests.fixtures.system import RUN_PREFIX, System
from tests.fixtures.token_issuer import TokenIssuer
from tests.integration.cli.conftest import CommandLine, GradedCourse

OTHER_ACCOUNT = 8102
LOGIN = f"{RUN_PREFIX}-operator".replace("-", "_")


@pytest.fixture
def login_url(running_system: System) -> Iterator[str]:
    """The URL of a login without any role."""
    owner, password, name = running_system.database_url, uuid.uuid4().hex, sql.Identifier(LOGIN)
    with psycopg.connect(owner, autocommit=True) as connection:
        connection.execute(sql.SQL("create role {} login noinherit password {}").format(name, password))
        place = urlsplit(owner).netloc.rpartition("@")[2]
        yield urlsplit(owner)._replace(netloc=f"{LOGIN}:{password}@{place}", query="").geturl()
        connection.execute("delete from operator_binding where login = %s", (LOGIN,))
        connection.execute(sql.SQL("drop role {}").format(name))


async def create_course_of_other_account(system: System) -> tuple[World, str]:
    """Create a course in OTHER_ACCOUNT; return it and the id of its last command."""
    world = World()
    commands = [
        {**command, "root_account_id": str(OTHER_ACCOUNT)}
        for step in small_course_steps()
        for command in world.given(step)
    ]
    verdicts = await system.client.send_all_and_wait(commands)
    assert {verdict["status"] for verdict in verdicts} == {"accepted"}, verdicts
    return world, commands[-1]["command_id"]


async def test_bound_operator_reads_only_one_root_account(
    cli: CommandLine,
    graded_course: GradedCourse,
    running_system: System,
    issuer: TokenIssuer,
    login_url: str,
    tmp_path: Path,
) -> None:
    world, own_command = await create_course_of_other_account(running_system)
    own, foreign = world.assignment_id("a1"), graded_course.assignment_id
    foreign_command = graded_course.verdicts[-1]["command_id"]
    foreign_user = str(graded_course.world.users["s1"])
    keys = str(issuer.write_jwks(tmp_path / "operators.jwks"))
    token = issuer.token(77, scope="moderation.admin", root_account_id=str(OTHER_ACCOUNT))
    bound = CommandLine({**cli.environment, "DATABASE_URL": login_url, "JWKS": keys, "OPERATOR_TOKEN": token})
    of_own, why = ("--root-account", str(OTHER_ACCOUNT)), ("--reason", "a test")

    too_early = await bound.run_in_process("audit")
    binding = await cli.run_in_process("admin", "bind-operator", LOGIN, *of_own)
    shown = [
        await bound.run_in_process("state", own, *of_own),
        await bound.run_in_process("history", own, *of_own),
        await bound.run_in_process("agreement", own, *of_own),
        await bound.run_in_process("verdict", own_command, *of_own),
        await bound.run_in_process(
            "person", "export", str(world.users["s1"]), "--to", str(tmp_path / "own.json"), *why, *of_own
        ),
    ]
    hidden = [
        await bound.run_in_process("state", foreign),
        await bound.run_in_process("history", foreign),
        await bound.run_in_process("agreement", foreign),
        await bound.run_in_process("verdict", foreign_command),
    ]
    refused = [
        await bound.run_in_process("person", "export", foreign_user, "--to", str(tmp_path / "other.json"), *why),
        await bound.run_in_process("person", "erase", foreign_user, "--file", str(tmp_path / "erased"), *why),
        await bound.run_in_process("dead-letters", "list"),
        await bound.run_in_process("verify"),
        await bound.run_in_process("replay", "events", f"{running_system.prefix}.copy", *why),
        await bound.run_in_process("admin", "bind-operator", LOGIN, "--root-account", "1"),
    ]
    trail = (await bound.run_in_process("audit", "--json")).json()
    everything = (await cli.run_in_process("audit", "--json", "--limit", "1000")).json()
    released = await cli.run_in_process("admin", "bind-operator", LOGIN, "--release")
    at_last = await bound.run_in_process("audit")

    assert (binding.exit_code, released.exit_code) == (0, 0), binding.stderr + released.stderr
    assert binding.stdout == f"{LOGIN} sees root account {OTHER_ACCOUNT} only\n"
    assert [result.exit_code for result in shown] == [0] * 5, [result.stderr for result in shown]
    assert [result.exit_code for result in hidden] == [4] * 4, [result.stdout for result in hidden]
    assert all(result.exit_code in (2, 3) for result in refused), [result.stdout for result in refused]
    assert not any(result.stdout for result in (*hidden, *refused))
    assert not (tmp_path / "other.json").exists()
    assert not (tmp_path / "erased").exists()
    assert stat.S_IMODE((tmp_path / "own.json").stat().st_mode) == 0o600
    assert {entry["target"].get("root_account", entry["target"].get("root_account_id")) for entry in trail} == {
        str(OTHER_ACCOUNT)
    }
    assert [entry["what"] for entry in trail] == ["export", "verdict", "agreement", "history", "state"]
    attempts = [entry for entry in everything if entry["database_user"] == LOGIN and entry not in trail]
    assert {entry["target"].get("assignment", entry["target"].get("command")) for entry in attempts} == {
        foreign, foreign_command
    }  # fmt: skip
    assert "bound to one root account" in json.dumps([result.stderr for result in refused])
    for result in (too_early, at_last):
        assert result.exit_code == 3
        assert "PostgreSQL refuses" in result.stderr
