"""The demo ends with commands that exist, also for what it leaves in the system."""

import io
import re

import pytest
from rich.console import Console

from deploy.local.paths import ROOT
from deploy.season.demo import print_next_steps
from deploy.season.sample_data import SampleData
from tests.unit.test_documents import operate_commands


def test_demo_ends_with_existing_commands_and_mentions_its_dead_letter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_URL", "http://localhost:8000")
    monkeypatch.setenv("CONSOLE_URL", "http://localhost:8001")
    console = Console(file=io.StringIO(), width=80)

    print_next_steps(console, SampleData(base_id=1_000, seed=7))

    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "stays in the log as an open dead letter, so the status shows one. Look at it:\n" in text
    commands = [line.strip() for line in text.splitlines() if line.startswith("  ")]
    assert "deploy/operate dead-letters list" in commands
    programs = set(re.findall(r"deploy/[a-z]+", text))
    assert {program for program in programs if not (ROOT / program).exists()} == set()
    operated = set(re.findall(r"deploy/operate (dead-letters [a-z-]+|[a-z]+)", text))
    assert operated
    assert operated <= operate_commands().keys()
