"""The npm package @kth/canvas-api runs unchanged against the gateway."""

import asyncio
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from deploy.local.paths import STATE
from tests.fixtures.canvas import CANVAS_CASES
from tests.fixtures.canvas.adapter import World
from tests.fixtures.canvas.course_client import STUDENTS, CourseClient, moderated_course_commands
from tests.fixtures.gateway_client import GatewayClient
from tests.fixtures.system import System

CLIENTS = CANVAS_CASES / "clients"


@pytest.fixture(scope="session")
def client_packages() -> Path:
    """Return the folder of the packages; install them unless `deploy/setup tests` has."""
    folder = STATE / "canvas-clients"
    if not (folder / "node_modules" / "@kth").is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(CLIENTS / name, folder)
        subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=folder, check=True)
    return folder


async def test_kth_canvas_api_runs_a_complete_moderation(
    running_system: System, gateway: GatewayClient, client_packages: Path
) -> None:
    desk = CourseClient(World(), running_system, gateway)
    world = desk.world
    await desk.send_accepted(*moderated_course_commands(world), world.command("upsert_course", {"name": "History"}))
    tokens = {"grader": "ta1", "moderator": "fg"}
    task = {
        "url": gateway.url,
        "course": world.course_id,
        "assignment": world.assignment_id("a1"),
        "student": world.user_id("s1"),
        "tokens": {
            role: gateway.bearer(int(world.user_id(name))).removeprefix("Bearer ") for role, name in tokens.items()
        },
        "packages": str(client_packages),
    }
    process = await asyncio.create_subprocess_exec(
        "node", str(CLIENTS / "moderate.mjs"), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    output, errors = await process.communicate(json.dumps(task).encode())
    assert process.returncode == 0, errors.decode()
    # The package prints its own line first.
    seen: dict[str, Any] = json.loads(output.splitlines()[-1])
    assert seen["self"]["id"] == int(world.user_id("ta1"))
    assert (seen["course"]["name"], seen["course"]["enrollments"][0]["type"]) == ("History", "ta")
    assert [row["id"] for row in seen["assignments"]] == [int(world.assignment_id("a1"))]
    assert [row["name"] for row in seen["students"]] == [f"Named {name}" for name in STUDENTS]
    assert seen["graded"]["provisional_grades"][0]["submission_comments"][0]["comment"] == "well argued"
    assert seen["selected"]["student_id"] == int(world.user_id("s1"))
    assert seen["published"] == {"message": "OK"}
    scores = {row["user_id"]: row["score"] for row in seen["submissions"]}
    assert scores == {int(world.user_id(name)): 8.5 if name == "s1" else None for name in STUDENTS}
