"""``verdict``, ``state`` and ``history`` say what the log says, to people and to scripts; exit codes tell the rest."""

import asyncio
import uuid

import pytest

from schemas.canvas import AssignmentState, AuditEvent
from tests.cli.conftest import CommandLine, Season


async def test_the_verdict_of_a_command_with_all_it_led_to(cli: CommandLine, season: Season) -> None:
    published = season.verdict("publish_provisional_grades")
    refused = next(v for v in season.verdicts if v["reason"] == "selection_required")

    text, document, bad = await asyncio.gather(
        cli.run("verdict", published["command_id"]),
        cli.here("verdict", published["command_id"].upper(), "--json"),
        cli.here("verdict", refused["command_id"]),
    )

    assert (text.code, document.code, bad.code) == (0, 0, 1)
    assert document.json()["verdict"] == published
    assert [e["event_type"] for e in document.json()["events"]] == ["grade_published", "grades_posted"]
    assert [e["live_number"] is not None for e in document.json()["events"]] == [True, False]
    assert text.out.startswith("accepted publish_provisional_grades\n")
    assert "grade_published" in text.out
    assert "All submissions must have a selected grade" in bad.out


async def test_a_command_that_nobody_knows_and_one_that_is_none(cli: CommandLine) -> None:
    unknown, wrong = await asyncio.gather(cli.here("verdict", str(uuid.uuid4())), cli.here("verdict", "12"))

    assert (unknown.code, unknown.out) == (4, "")
    assert "unknown, or not decided yet" in unknown.err
    assert (wrong.code, wrong.out) == (2, "")


async def test_an_assignment_now_and_before_it_was_published(cli: CommandLine, season: Season) -> None:
    selected = season.verdict("select_provisional_grade")
    before = str(selected["stream_version"])

    text, now, then, that_time, beyond = await asyncio.gather(
        cli.run("state", season.essay),
        cli.here("state", season.essay, "--json"),
        cli.here("state", season.essay, "--version", before, "--json"),
        cli.here("state", season.essay, "--at", selected["decided_at"], "--json"),
        cli.here("state", season.essay, "--version", "9999"),
    )

    for document in (now, then):
        AssignmentState.model_validate(document.json())
    assert [s["grade"] for s in now.json()["submissions"]] == ["8", None]
    assert [s["grade"] for s in then.json()["submissions"]] == [None, None]
    assert then.json()["version"] == int(before)
    assert that_time.json() == then.json()
    assert (beyond.code, beyond.err.strip()) == (4, f"no assignment {season.essay} in root account 1 at version 9999")
    assert text.code == 0
    assert f"✓ 8 by {season.world.user('ta2')}" in text.out
    assert "1 students without any grade" not in text.out
    assert "1 student without any grade" in text.out
    # What the assignment is called is a text, which neither formats nor turns anything round.
    assert text.out.startswith("Essay [bold]\\u202e& <b> · version ")


async def test_the_history_of_an_assignment_a_page_at_a_time(cli: CommandLine, season: Season) -> None:
    text, first, rest = await asyncio.gather(
        cli.run("history", season.essay),
        cli.here("history", season.essay, "--limit", "2", "--json"),
        cli.here("history", season.essay, "--after", "2", "--json"),
    )

    events = [*first.json()["events"], *rest.json()["events"]]
    for event in events:
        beside = ("position", "command_id", "type_version")
        AuditEvent.model_validate({name: event[name] for name in event if name not in beside})
    assert [event["stream_version"] for event in events] == list(range(1, len(events) + 1))
    assert (first.json()["more"], rest.json()["more"]) == (True, False)
    assert events[-1]["command_id"] == season.verdict("publish_provisional_grades")["command_id"]
    assert text.code == 0
    for what in ("made the assignment", "graded 8", "published 8, was none", "published the assignment"):
        assert what in text.out
    assert max(map(len, text.out.splitlines())) <= 80


async def test_a_database_that_is_away_or_not_named_is_told_apart_from_a_finding(cli: CommandLine) -> None:
    away, unnamed = await asyncio.gather(
        cli.run("state", "1", DATABASE_URL="postgresql://nobody@127.0.0.1:1/nothing"),
        cli.here("state", "1", DATABASE_URL=""),
    )

    assert (away.code, away.err) == (3, "PostgreSQL does not answer: ConnectionRefusedError\n")
    assert unnamed.code == 2
    assert unnamed.err.startswith("DATABASE_URL is not set: set it to postgresql://")


@pytest.mark.parametrize(
    "arguments",
    [
        ("state", "99999999999999999999"),
        ("history", "0"),
        ("export", "--course", "9223372036854775808"),
        ("state", "1", "--version", "9999999999"),
        ("dead-letters", "list", "--partition", "9999999999"),
    ],
)
async def test_a_number_that_can_be_no_id_is_wrong_usage_and_no_server_that_is_away(
    arguments: tuple[str, ...], cli: CommandLine
) -> None:
    ran = await cli.here(*arguments)
    assert (ran.code, ran.out) == (2, "")
    assert "does not answer" not in ran.err
