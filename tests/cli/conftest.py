"""The command line as operators run it: a process of its own, on the running system."""

import asyncio
import json
import os
import sys
from dataclasses import dataclass
from typing import Any

import pytest
from typer.testing import CliRunner

from deploy.local.paths import ROOT
from services.console.cli.__main__ import build_cli
from tests.cases.adapter import World, small_course
from tests.cases.tokens import Issuer
from tests.conftest import System

Json = dict[str, Any]
_ONE_AT_A_TIME = asyncio.Lock()
HOSTILE = "Essay [bold]\N{RIGHT-TO-LEFT OVERRIDE}& <b>"


@dataclass(frozen=True)
class Ran:
    """How a command ended, and what it wrote."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """What it printed, which must be one line of JSON."""
        (line,) = self.out.splitlines()
        return json.loads(line)


@dataclass(frozen=True)
class CommandLine:
    """Runs commands with the settings of a system."""

    environment: dict[str, str]

    async def run(self, *arguments: str, **settings: str) -> Ran:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "services.console.cli",
            *arguments,
            cwd=ROOT,
            env={**os.environ, "COLUMNS": "80", **self.environment, **settings},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
        assert process.returncode is not None
        return Ran(process.returncode, out.decode(), err.decode())

    async def here(self, *arguments: str, **settings: str) -> Ran:
        """The same in this process, which costs a tenth: for what differs by its arguments alone."""
        environment = {"COLUMNS": "80", **self.environment, **settings}
        # Standard output is the process's: one at a time.
        async with _ONE_AT_A_TIME:
            ended = await asyncio.to_thread(CliRunner().invoke, build_cli(), arguments, env=environment)
        if ended.exception is not None and not isinstance(ended.exception, SystemExit):
            raise ended.exception
        return Ran(ended.exit_code, ended.stdout, ended.stderr)


@pytest.fixture(scope="session")
def cli(running: System) -> CommandLine:
    settings = {
        "DATABASE_URL": running.database_url,
        "KAFKA_BOOTSTRAP": running.bootstrap,
        "TOPIC_PREFIX": running.prefix,
    }
    return CommandLine(settings)


@pytest.fixture(scope="session")
def operators(cli: CommandLine, running: System, issuer: Issuer) -> dict[str, CommandLine]:
    """The command line by the role that user 77's token gives."""
    keys = str(issuer.write_set(running.folder / "operators.jwks"))
    return {
        role: CommandLine(
            {**cli.environment, "JWKS": keys, "OPERATOR_TOKEN": issuer.token(77, scope=f"moderation.{role}")}
        )
        for role in ("viewer", "operator", "admin")
    }


@dataclass(frozen=True)
class Season:
    """A course with one essay of ten points: s1 has 6 of ta1 and 8 of ta2, which is chosen, then published; s2 none."""

    world: World
    verdicts: list[Json]

    @property
    def essay(self) -> str:
        return self.world.assignment("a1")

    def verdict(self, kind: str) -> Json:
        """The last verdict of a type of command."""
        return next(verdict for verdict in reversed(self.verdicts) if verdict["type"] == kind)


@pytest.fixture(scope="session")
async def season(running: System) -> Season:
    world = World()
    steps = small_course()
    steps += [
        {"do": "grade", "assignment": "a1", "actor": actor, "student": "s1", "score": score}
        for actor, score in (("ta1", 6), ("ta2", 8))
    ]
    publish: Json = {"do": "publish", "assignment": "a1", "actor": "fg"}
    commands = [command for step in [*steps, publish] for command in world.given(step)]
    commands.append(world.command("configure_assignment", {"name": HOSTILE}, "a1"))
    verdicts = [await running.outside.verdict(command) for command in commands]
    world.grades["pg"] = next(v for v in reversed(verdicts) if v["type"] == "record_provisional_grade")["result"][
        "provisional_grade_id"
    ]
    select: Json = {"do": "select", "assignment": "a1", "actor": "fg", "pg": "pg"}
    for step in (select, publish):
        verdicts += [await running.outside.verdict(command) for command in world.given(step)]
    return Season(world, verdicts)
