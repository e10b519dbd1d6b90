"""The command line as operators run it, on a running system."""

import asyncio
import json
import os
import sys
from dataclasses import dataclass
from typing import Any

import pytest
from typer.testing import CliRunner

from deploy.local.paths import ROOT
from services.cli import build_cli
from tests.fixtures.canvas.adapter import World, small_course_steps
from tests.fixtures.system import System
from tests.fixtures.token_issuer import TokenIssuer

Json = dict[str, Any]
_STDOUT_LOCK = asyncio.Lock()
HOSTILE = "Essay [bold]\N{RIGHT-TO-LEFT OVERRIDE}& <b>"


@dataclass(frozen=True)
class CommandResult:
    """Exit code and output of a command."""

    exit_code: int
    stdout: str
    stderr: str

    def json(self) -> Any:
        """Parse the output, which must be one line of JSON."""
        (line,) = self.stdout.splitlines()
        return json.loads(line)


@dataclass(frozen=True)
class CommandLine:
    """Runs commands with a system's settings."""

    environment: dict[str, str]

    async def run(self, *arguments: str, **settings: str) -> CommandResult:
        """Run a command in a process of its own: for claims about the process, its imports and its logs."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "services.cli",
            *arguments,
            cwd=ROOT,
            env={**os.environ, "COLUMNS": "80", **self.environment, **settings},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
        assert process.returncode is not None
        return CommandResult(process.returncode, out.decode(), err.decode())

    async def run_in_process(self, *arguments: str, **settings: str) -> CommandResult:
        """Run a command in this process, at a tenth of the cost."""
        environment = {"COLUMNS": "80", **self.environment, **settings}
        # CliRunner replaces this process's standard output: one command at a time.
        async with _STDOUT_LOCK:
            result = await asyncio.to_thread(CliRunner().invoke, build_cli(), arguments, env=environment)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return CommandResult(result.exit_code, result.stdout, result.stderr)


@pytest.fixture(scope="session")
def cli(running_system: System) -> CommandLine:
    settings = {
        "DATABASE_URL": running_system.database_url,
        "KAFKA_BOOTSTRAP": running_system.bootstrap,
        "TOPIC_PREFIX": running_system.prefix,
        "ACCESS_REASON": "a test",
    }
    return CommandLine(settings)


@pytest.fixture(scope="session")
def cli_by_role(cli: CommandLine, running_system: System, issuer: TokenIssuer) -> dict[str, CommandLine]:
    """Return a command line for each role, with a token of user 77 for that role."""
    keys = str(issuer.write_jwks(running_system.folder / "operators.jwks"))
    return {
        role: CommandLine(
            {**cli.environment, "JWKS": keys, "OPERATOR_TOKEN": issuer.token(77, scope=f"moderation.{role}")}
        )
        for role in ("viewer", "operator", "admin")
    }


@dataclass(frozen=True)
class GradedCourse:
    """A course with an essay of ten points: s1 has 6 from ta1 and 8 from ta2, selected and published; s2 has none."""

    world: World
    verdicts: list[Json]

    @property
    def assignment_id(self) -> str:
        return self.world.assignment_id("a1")

    def last_verdict(self, kind: str) -> Json:
        """Return the last verdict of a command type."""
        return next(verdict for verdict in reversed(self.verdicts) if verdict["type"] == kind)


@pytest.fixture(scope="session")
async def graded_course(running_system: System) -> GradedCourse:
    world = World()
    steps = small_course_steps()
    steps += [
        {"do": "grade", "assignment": "a1", "actor": actor, "student": "s1", "score": score}
        for actor, score in (("ta1", 6), ("ta2", 8))
    ]
    publish: Json = {"do": "publish", "assignment": "a1", "actor": "fg"}
    commands = [command for step in [*steps, publish] for command in world.given(step)]
    commands.append(world.command("configure_assignment", {"name": HOSTILE}, "a1"))
    verdicts = await running_system.client.send_all_and_wait(commands)
    graded = next(v for v in reversed(verdicts) if v["type"] == "record_provisional_grade")
    world.grades["pg"] = int(graded["result"]["provisional_grade_id"])
    select: Json = {"do": "select", "assignment": "a1", "actor": "fg", "pg": "pg"}
    for step in (select, publish):
        verdicts += [await running_system.client.send_and_wait(command) for command in world.given(step)]
    return GradedCourse(world, verdicts)
