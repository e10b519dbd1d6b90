"""The demo's season plays through a running service, with the scheduler and explanations of every published grade."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from deploy.local.paths import ROOT
from services.auth.signer import generate_key, to_public_jwk, write_private_key
from tests.fixtures.system import create_system
from tests.fixtures.token_issuer import TokenIssuer

DEMO_SECONDS = 170


@pytest.fixture
async def demo_environment(
    bootstrap: str, new_database: Callable[[], str], tmp_path: Path
) -> AsyncIterator[dict[str, str]]:
    """The settings of the demo for a service that runs on its own topics."""
    key, users = generate_key(), tmp_path / "users.jwks"
    users.write_text(json.dumps({"keys": [to_public_jwk(key)]}))
    write_private_key(tmp_path / "issuer.key", key)
    write_private_key(tmp_path / "scheduler.key", generate_key())
    async for system in create_system(bootstrap, new_database(), tmp_path):
        gateway = system.create_gateway(TokenIssuer(), JWKS=str(users))
        handler, relay = system.create_process("handler"), system.create_process("relay")
        scheduler = system.create_process("scheduler", COMMAND_KEY=str(tmp_path / "scheduler.key"))
        for process in (gateway, handler, relay, scheduler):
            process.start()
        for process in system.processes:
            await process.wait_until_ready()
        yield {
            **os.environ,
            **system.environment,
            "GATEWAY_URL": gateway.url,
            "ISSUER_KEY": str(tmp_path / "issuer.key"),
        }


async def test_demo_tells_one_story_per_assignment_and_finds_every_explanation_right(
    demo_environment: dict[str, str],
) -> None:
    season = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-m", "deploy.season.demo"], cwd=ROOT, env=demo_environment,
        capture_output=True, text=True, check=False, timeout=DEMO_SECONDS,
    )  # fmt: skip
    assert season.returncode == 0, season.stdout[-3_000:] + season.stderr[-3_000:]
    lines = [line.strip() for line in season.stdout.splitlines()]
    assert sum(line.startswith("marks ") for line in lines) == 7
    assert sum(line.startswith("explained ") for line in lines) == 7
    assert any(line.startswith("revised ") and "Appeal" in line for line in lines)
    assert any("published by the scheduler" in line and "60 grade_changes" in line for line in lines)
    assert any(line.startswith("explanations compared") and line.endswith("360/360") for line in lines)
    assert lines[-1].startswith("✓ one verdict per command, every grade published once")
