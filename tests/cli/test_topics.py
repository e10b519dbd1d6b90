"""``verify`` through the command line: its codes are those of the others."""

import asyncio

from tests.cli.conftest import CommandLine, Season
from tests.conftest import System


async def test_the_topics_of_the_running_system_are_what_the_log_says(
    cli: CommandLine, season: Season, running: System
) -> None:
    topic = f"{running.prefix}.live-events"

    text, document, missing = await asyncio.gather(
        cli.run("verify", topic),
        cli.here("verify", topic, "--json"),
        cli.here("verify", f"{running.prefix}.nothing", "--of", "events"),
    )

    assert text.code == 0, text.err
    assert text.out.startswith(f"✓ {topic}: ")
    (result,) = document.json()
    assert (document.code, result["output"], result["findings"]) == (0, "live-events", [])
    assert (missing.code, missing.err) == (4, f"there is no topic {running.prefix}.nothing\n")
