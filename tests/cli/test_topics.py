"""``verify`` and ``replay`` through the command line: their codes are those of the others, and deeds are kept."""

import asyncio

import asyncpg

from tests.cli.conftest import CommandLine, Season
from tests.conftest import System


async def test_the_topics_of_the_running_system_are_what_the_log_says(
    cli: CommandLine, season: Season, running: System
) -> None:
    topic = f"{running.prefix}.live-events"

    text, document, missing, unnamed, elsewhere = await asyncio.gather(
        cli.run("verify", topic),
        cli.here("verify", topic, "--json"),
        cli.here("verify", f"{running.prefix}.nothing", "--of", "events"),
        cli.here("verify", "--of", "events"),
        cli.here("verify", f"{running.prefix}.caliper", LMS_URL="http://another.example"),
    )

    assert text.code == 0, text.err
    assert text.out.startswith(f"✓ {topic}: ")
    (result,) = document.json()
    assert (document.code, result["output"], result["findings"]) == (0, "live-events", [])
    assert unnamed.code == 2
    assert elsewhere.code == 1
    assert "compare EVENT_SOURCE, LIVE_EVENTS_SHARD and LMS_URL with the relay's" in elsewhere.out
    assert (missing.code, missing.err) == (4, f"there is no topic {running.prefix}.nothing\n")


async def test_a_replay_is_kept_with_its_reason_and_goes_on_where_it_ended(
    operators: dict[str, CommandLine], season: Season, running: System
) -> None:
    target, course = f"{running.prefix}-audit", ("--course", str(season.world.course_id))
    command, why = ("replay", "live-events", target, *course, "--reason"), "the auditors lost theirs"

    refused, unreasoned = [
        await operators["viewer"].here(*command, why), await operators["operator"].here(*command, " "),
    ]  # fmt: skip
    first = await operators["operator"].run(*command, why, "--json")
    again = await operators["operator"].here(*command, why)
    checked = await operators["operator"].here("verify", target, "--of", "live-events", *course)
    own = await operators["operator"].here("replay", "live-events", f"{running.prefix}.verdicts", "--reason", why)
    slip = await operators["operator"].here(*command[:3], "--course", "1", "--reason", why)

    assert (refused.code, unreasoned.code, own.code, slip.code) == (2, 2, 2, 4)
    assert "scope moderation.operator" in refused.err
    assert (first.code, first.json()["emitted"]) == (0, 1)
    assert " 0 records emitted now. Action " in again.out
    assert checked.code == 0, checked.out
    connection = await asyncpg.connect(running.database_url)
    kept = "select * from operator_action where kind = 'replay' and detail->>'target' = $1 order by acted_at"
    rows = await connection.fetch(kept, target)
    await connection.close()
    assert [(row["user_id"], row["reason"]) for row in rows] == [(77, why)] * 2
    assert str(rows[0]["id"]) == first.json()["action"]
