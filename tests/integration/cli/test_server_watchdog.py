"""A server that accepts connections but does not answer is reported soon, and the command is aborted."""

import asyncio
import re

import pytest

from services.console.cli import server_watchdog
from services.console.cli.server_watchdog import Server, fail_if_silent
from services.runtime.errors import ServerSilent
from tests.fixtures.dead_letter_fixtures import append_dead_letters
from tests.fixtures.system import System
from tests.integration.cli.conftest import CommandLine

ABORT_SECONDS = 4.0


@pytest.fixture(autouse=True)
def short_timeouts(monkeypatch: pytest.MonkeyPatch) -> None:
    timeouts = {
        "WARN_AFTER_SECONDS": 0.5,
        "ABORT_AFTER_SECONDS": ABORT_SECONDS,
        "PROBE_SECONDS": 0.1,
        "REPROBE_SECONDS": 0.1,
        "ANSWER_SECONDS_MAX": 0.2,
    }
    for name, seconds in timeouts.items():
        monkeypatch.setattr(server_watchdog, name, seconds)


@pytest.mark.parametrize("command", ["verify", "replay", "redrive"])
async def test_hanging_kafka_is_named_and_aborts_the_command(
    command: str, mute: str, cli_by_role: dict[str, CommandLine], running_system: System
) -> None:
    ((shard, number),) = await append_dead_letters(running_system, 5, [b"{"], f"hanging_{command}")
    why = ("--reason", "they are lost")
    commands = {
        "verify": ("verify",),
        "replay": ("replay", "verdicts", f"{running_system.prefix}-hangs", *why),
        "redrive": ("dead-letters", "redrive", f"{shard}-{number}", "--force", *why),
    }
    result = await cli_by_role["operator"].run_in_process(*commands[command], KAFKA_BOOTSTRAP=mute)
    assert result.exit_code == 3
    # With such short timeouts PostgreSQL may be reported too.
    warning, abort = [line for line in result.stderr.splitlines() if "Kafka" in line]
    assert re.fullmatch(rf"Kafka at {mute} does not answer; still trying, until \d\d:\d\d:\d\d UTC", warning)
    assert abort.startswith(f"Kafka at {mute} has not answered for 4 s")
    letter = await cli_by_role["operator"].run_in_process("dead-letters", "show", f"{shard}-{number}")
    assert letter.stdout.startswith(f"dead letter {shard}-{number} open\n")


async def test_command_continues_after_a_server_recovers(capsys: pytest.CaptureFixture[str]) -> None:
    silent, never = True, asyncio.Event()

    async def answers() -> bool:
        return not silent

    async def work() -> str:
        nonlocal silent
        async with fail_if_silent(Server("PostgreSQL at db:5432", answers)):
            while "still trying" not in (output := capsys.readouterr().err):
                await asyncio.sleep(0.02)
            silent = False
            while "PostgreSQL at db:5432 answers again" not in output:
                await asyncio.sleep(0.02)
                output += capsys.readouterr().err
            return "done"

    assert await work() == "done"
    silent = True
    with pytest.raises(ServerSilent, match="PostgreSQL at db:5432 has not answered for 4 s"):
        async with fail_if_silent(Server("PostgreSQL at db:5432", answers)):
            await never.wait()
