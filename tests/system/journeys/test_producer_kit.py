"""The producer kit's programs play an assignment through the running service, as a team runs them."""

import asyncio
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.local.paths import ROOT, STATE
from tests.fixtures.system import System

KIT = ROOT / "schemas" / "producer-kit"
PRODUCER_PLAYED = """\
upsert_course: accepted, 1 event
upsert_users: accepted, 1 event
upsert_enrollments: accepted, 1 event
configure_assignment: accepted, 1 event
record_submission: accepted, 1 event
record_provisional_grade: accepted, 2 events
record_provisional_grade: accepted, 2 events
select_provisional_grade: accepted, 1 event
publish_provisional_grades: accepted, 2 events
publish_provisional_grades again: rejected, already_published
"""


async def run_program(system: System, *command: str | Path, folder: Path = KIT) -> str:
    done = await asyncio.to_thread(
        subprocess.run, [*command, "--prefix", system.prefix], cwd=folder,
        env={**os.environ, "KAFKA_BOOTSTRAP": system.bootstrap}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


async def test_python_producer_plays_an_assignment_to_its_publication(running_system: System) -> None:
    assert await run_program(running_system, sys.executable, "producer.py", "--course", "8801") == PRODUCER_PLAYED


async def test_python_client_repeats_an_unanswered_command_without_doubling_it(running_system: System) -> None:
    program = """
import asyncio, sys
import moderation
from moderation import ModerationClient, NoVerdict, new_command
async def main():
    command = new_command("upsert_course", 8802, {"name": "Physics"})
    async with ModerationClient(sys.argv[2]) as client:
        moderation.SECONDS_PER_ATTEMPT = 0
        try:
            await client.send(command)
        except NoVerdict:
            print("no verdict in time")
        moderation.SECONDS_PER_ATTEMPT = 30
        verdict = await client.send(command)
        again = await client.send(command)
        print(verdict["status"], verdict["stream_version"], again["duplicate"], again["stream_version"])
asyncio.run(main())
"""
    printed = await run_program(running_system, sys.executable, "-c", program)
    assert printed == "no verdict in time\naccepted 1 True 1\n"


@pytest.fixture
def node_kit() -> Path:
    """Copy the kit next to its packages, and install those unless `deploy/setup tests` has."""
    folder = STATE / "producer-kit"
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "package-lock.json", "producer.mjs"):
        shutil.copy(KIT / name, folder)
    if not (folder / "node_modules" / "kafkajs").is_dir():
        subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=folder, check=True)
    return folder


async def test_node_producer_without_a_broker_prints_one_line_with_the_address(node_kit: Path) -> None:
    done = await asyncio.to_thread(
        subprocess.run, ["node", "producer.mjs"], cwd=node_kit,
        env={**os.environ, "KAFKA_BOOTSTRAP": "127.0.0.1:1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (3, "", 1), done.stderr
    assert "no Kafka broker answers at KAFKA_BOOTSTRAP=127.0.0.1:1 (" in done.stderr


async def test_node_producer_prints_the_verdict_of_its_command(running_system: System, node_kit: Path) -> None:
    printed = await run_program(running_system, "node", "producer.mjs", "--course", "8803", folder=node_kit)
    assert printed == "upsert_course: accepted\n"
