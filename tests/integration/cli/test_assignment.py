"""``verdict``, ``state`` and ``history`` show the contents of the log, as text and JSON, with exit codes."""

import asyncio
import uuid

import pytest

from schemas.service_answers import AuditEvent
from schemas.state_answers import AssignmentState
from tests.integration.cli.conftest import CommandLine, GradedCourse


async def test_verdict_command_shows_the_verdict_and_its_events(cli: CommandLine, graded_course: GradedCourse) -> None:
    published = graded_course.last_verdict("publish_provisional_grades")
    refused = next(v for v in graded_course.verdicts if v["reason"] == "selection_required")

    text, document, bad = await asyncio.gather(
        cli.run_in_process("verdict", published["command_id"]),
        cli.run_in_process("verdict", published["command_id"].upper(), "--json"),
        cli.run_in_process("verdict", refused["command_id"]),
    )

    assert (text.exit_code, document.exit_code, bad.exit_code) == (0, 0, 1)
    assert document.json()["verdict"] == published
    assert [e["event_type"] for e in document.json()["events"]] == ["grade_published", "grades_posted"]
    assert [e["live_number"] is not None for e in document.json()["events"]] == [True, False]
    assert text.stdout.startswith("accepted publish_provisional_grades\n")
    assert "grade_published" in text.stdout
    assert "All submissions must have a selected grade" in bad.stdout


async def test_verdict_command_distinguishes_unknown_and_malformed_ids(cli: CommandLine) -> None:
    unknown, wrong = await asyncio.gather(
        cli.run_in_process("verdict", str(uuid.uuid4())), cli.run_in_process("verdict", "12")
    )

    assert (unknown.exit_code, unknown.stdout) == (4, "")
    assert "unknown or not decided yet" in unknown.stderr
    assert (wrong.exit_code, wrong.stdout) == (2, "")


async def test_state_command_shows_current_and_earlier_versions(cli: CommandLine, graded_course: GradedCourse) -> None:
    selected = graded_course.last_verdict("select_provisional_grade")
    before = str(selected["stream_version"])

    text, now, then, that_time, beyond = await asyncio.gather(
        cli.run_in_process("state", graded_course.assignment_id),
        cli.run_in_process("state", graded_course.assignment_id, "--json"),
        cli.run_in_process("state", graded_course.assignment_id, "--version", before, "--json"),
        cli.run_in_process("state", graded_course.assignment_id, "--at", selected["decided_at"], "--json"),
        cli.run_in_process("state", graded_course.assignment_id, "--version", "9999"),
    )

    for document in (now, then):
        AssignmentState.model_validate(document.json())
    assert [s["grade"] for s in now.json()["submissions"]] == ["8", None]
    assert [s["grade"] for s in then.json()["submissions"]] == [None, None]
    assert then.json()["version"] == int(before)
    assert that_time.json() == then.json()
    assert (beyond.exit_code, beyond.stderr.strip()) == (
        4,
        f"no assignment {graded_course.assignment_id} in root account 1 at version 9999: check the id and"
        f" --root-account; moderated-grading history {graded_course.assignment_id} lists its versions and times",
    )
    assert text.exit_code == 0
    assert f"✓ 8 by {graded_course.world.user_id('ta2')}" in text.stdout
    assert "1 students without a grade" not in text.stdout
    assert "1 student without a grade" in text.stdout
    # The assignment's name is printed as plain text: no markup, no bidirectional control characters.
    assert text.stdout.startswith("Essay [bold]\\u202e& <b> · version ")


async def test_history_command_pages_through_events(cli: CommandLine, graded_course: GradedCourse) -> None:
    text, first, rest = await asyncio.gather(
        cli.run_in_process("history", graded_course.assignment_id),
        cli.run_in_process("history", graded_course.assignment_id, "--limit", "2", "--json"),
        cli.run_in_process("history", graded_course.assignment_id, "--after", "2", "--json"),
    )

    events = [*first.json()["events"], *rest.json()["events"]]
    for event in events:
        extra_fields = ("position", "command_id", "type_version")
        AuditEvent.model_validate({name: event[name] for name in event if name not in extra_fields})
    assert [event["stream_version"] for event in events] == list(range(1, len(events) + 1))
    assert (first.json()["more"], rest.json()["more"]) == (True, False)
    assert events[-1]["command_id"] == graded_course.last_verdict("publish_provisional_grades")["command_id"]
    assert text.exit_code == 0
    for what in ("created the assignment", "graded 8", "published 8, was none", "published the assignment"):
        assert what in text.stdout
    assert max(map(len, text.stdout.splitlines())) <= 80


async def test_unavailable_and_unconfigured_database_set_different_exit_codes(cli: CommandLine) -> None:
    unavailable, unconfigured = await asyncio.gather(
        cli.run("state", "1", DATABASE_URL="postgresql://nobody@127.0.0.1:1/nothing"),
        cli.run_in_process("state", "1", DATABASE_URL=""),
    )

    assert (unavailable.exit_code, unavailable.stderr) == (
        3,
        "PostgreSQL does not answer: ConnectionRefusedError. Check that it runs and that DATABASE_URL names it\n",
    )
    assert unconfigured.exit_code == 2
    assert unconfigured.stderr.startswith("DATABASE_URL is not set: set it to postgresql://")


@pytest.mark.parametrize(
    "arguments",
    [
        ("state", "99999999999999999999"),
        ("history", "0"),
        ("verify", "--course", "9223372036854775808"),
        ("state", "1", "--version", "9999999999"),
        ("dead-letters", "list", "--partition", "9999999999"),
    ],
)
async def test_out_of_range_number_is_a_usage_error(arguments: tuple[str, ...], cli: CommandLine) -> None:
    result = await cli.run_in_process(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "does not answer" not in result.stderr
