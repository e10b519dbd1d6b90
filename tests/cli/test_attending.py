"""A server that takes connections and says nothing is named soon, and given up with the code of one that is away."""

import asyncio
import re

import pytest

from services.console.cli import server_watchdog
from services.console.cli.options import ServerTimeout
from services.console.cli.server_watchdog import Server, fail_if_silent
from tests.cli.conftest import CommandLine
from tests.conftest import System
from tests.console.letters import dead

GIVE_UP_SECONDS = 4.0


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    times = {
        "WARN_AFTER_SECONDS": 0.5,
        "ABORT_AFTER_SECONDS": GIVE_UP_SECONDS,
        "PROBE_SECONDS": 0.1,
        "REPROBE_SECONDS": 0.1,
        "ANSWER_SECONDS_MAX": 0.2,
    }
    for name, seconds in times.items():
        monkeypatch.setattr(server_watchdog, name, seconds)


@pytest.mark.parametrize("command", ["verify", "replay", "redrive"])
async def test_a_kafka_that_hangs_is_named_and_given_up(
    command: str, mute: str, operators: dict[str, CommandLine], running: System
) -> None:
    ((shard, number),) = await dead(running, 5, [b"{"], f"hanging_{command}")
    why = ("--reason", "they are lost")
    commands = {
        "verify": ("verify",),
        "replay": ("replay", "verdicts", f"{running.prefix}-hangs", *why),
        "redrive": ("dead-letters", "redrive", f"{shard}-{number}", *why),
    }
    ran = await operators["operator"].here(*commands[command], KAFKA_BOOTSTRAP=mute)
    assert ran.code == 3
    # PostgreSQL too may be slow to answer one so impatient.
    waits, ends = [line for line in ran.err.splitlines() if "Kafka" in line]
    assert re.fullmatch(rf"Kafka at {mute} does not answer; still trying, until \d\d:\d\d:\d\d UTC", waits)
    assert ends.startswith(f"Kafka at {mute} has not answered for 4 s")
    letter = await operators["operator"].here("dead-letters", "show", f"{shard}-{number}")
    assert letter.out.startswith(f"dead letter {shard}-{number} open\n")


async def test_work_goes_on_when_a_server_answers_again(capsys: pytest.CaptureFixture[str]) -> None:
    silent, back = True, asyncio.Event()

    async def answers() -> bool:
        return not silent

    async def work() -> str:
        nonlocal silent
        async with fail_if_silent(Server("PostgreSQL at db:5432", answers)):
            while "still trying" not in (said := capsys.readouterr().err):
                await asyncio.sleep(0.02)
            silent = False
            while "PostgreSQL at db:5432 answers again" not in said:
                await asyncio.sleep(0.02)
                said += capsys.readouterr().err
            return "done"

    assert await work() == "done"
    silent = True
    with pytest.raises(ServerTimeout, match="PostgreSQL at db:5432 has not answered for 4 s"):
        async with fail_if_silent(Server("PostgreSQL at db:5432", answers)):
            await back.wait()
