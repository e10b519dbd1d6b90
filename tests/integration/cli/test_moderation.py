"""``plan``, ``publish``, ``schedule``, ``cancel``, ``adjudicate`` and ``explain`` moderate through the gateway."""

import json
from pathlib import Path

import pytest

from tests.fixtures.canvas.adapter import World, small_course_steps
from tests.fixtures.gateway_client import GatewayClient
from tests.fixtures.system import System
from tests.integration.cli.conftest import CommandLine


@pytest.fixture
async def world(running_system: System) -> World:
    """s1 has 6 from ta1 and 9 from ta2, nothing is selected, any two marks agree on their mean."""
    world = World()
    steps = small_course_steps()
    steps += [
        {"do": "grade", "assignment": "a1", "actor": actor, "student": "s1", "score": score}
        for actor, score in (("ta1", 6), ("ta2", 9))
    ]
    commands = [command for step in steps for command in world.given(step)]
    commands.append(world.command("configure_assignment", {"adjudication": {"result": "mean"}}, "a1"))
    verdicts = await running_system.client.send_all_and_wait(commands)
    assert {verdict["status"] for verdict in verdicts} == {"accepted"}, verdicts
    return world


@pytest.fixture
def moderator(world: World, gateway: GatewayClient) -> CommandLine:
    return command_line(world, gateway, "fg")


def command_line(world: World, gateway: GatewayClient, name: str) -> CommandLine:
    token = gateway.bearer(int(world.user_id(name))).removeprefix("Bearer ")
    return CommandLine({"GATEWAY_URL": gateway.url, "MODERATOR_TOKEN": token})


async def test_a_moderator_tries_a_policy_adjudicates_plans_publishes_and_explains(
    world: World, moderator: CommandLine, tmp_path: Path
) -> None:
    essay, course, student = world.assignment_id("a1"), str(world.course_id), world.user_id("s1")
    policy = tmp_path / "policy.json"
    policy.write_text(json.dumps({"result": "highest"}))
    blocked = await moderator.run_in_process("plan", essay)
    assert blocked.exit_code == 1
    assert "no: selection_required" in blocked.stdout

    tried = await moderator.run_in_process("adjudicate", essay, "--what-if", str(policy), "--json")
    assert [(row["score"], row["differs"]) for row in tried.json()["students"] if row["outcome"] == "agreed"] == [
        ("9", True)
    ]
    text = await moderator.run_in_process("adjudicate", essay, "--what-if", str(policy))
    assert (text.exit_code, "differs" in text.stdout) == (0, True)
    assert (await moderator.run_in_process("plan", essay)).exit_code == 1
    done = await moderator.run_in_process("adjudicate", essay, "--student", student)
    assert (done.exit_code, "7.5" in done.stdout) == (0, True)

    planned = await moderator.run_in_process("plan", essay, "--json")
    shown = await moderator.run_in_process("plan", essay)
    assert (planned.exit_code, shown.exit_code) == (0, 0)
    assert all(word in shown.stdout for word in ("– → 7.5", "adjudication", planned.json()["digest"]))
    stale = await moderator.run_in_process("publish", essay, "--course", course, "--plan", f"sha256:{'0' * 64}")
    assert (stale.exit_code, stale.stdout) == (2, "")
    assert "plan_outdated" in stale.stderr
    assert f"Run moderated-grading plan {essay} to see what changed" in stale.stderr
    digest = planned.json()["digest"]
    published = await moderator.run_in_process("publish", essay, "--course", course, "--plan", digest)
    assert (published.exit_code, "are published" in published.stdout) == (0, True)

    explained = await moderator.run_in_process("explain", essay, student)
    sentence, *trail = explained.stdout.splitlines()
    assert sentence == (await moderator.run_in_process("explain", essay, student, "--json")).json()["sentence"]
    assert any("grade published by" in line for line in trail)
    # Also on a narrow terminal, such as this one.
    assert "score – → 7.5" in " ".join(" ".join(trail).split())


async def test_a_publication_is_scheduled_and_cancelled(world: World, moderator: CommandLine) -> None:
    essay = world.assignment_id("a1")
    scheduled = await moderator.run_in_process("schedule", essay, "2027-01-31T12:00:00+01:00")
    assert (scheduled.exit_code, "2027-01-31T11:00:00.000Z" in scheduled.stdout) == (0, True)
    assert (await moderator.run_in_process("cancel", essay)).exit_code == 0
    again = await moderator.run_in_process("cancel", essay)
    assert (again.exit_code, "not_scheduled" in again.stderr) == (2, True)
    late = await moderator.run_in_process("schedule", essay, "2020-01-01T00:00:00Z")
    assert (late.exit_code, "invalid_schedule" in late.stderr) == (2, True)


async def test_refusals_missing_settings_and_an_absent_gateway_have_their_exit_codes(
    world: World, moderator: CommandLine, gateway: GatewayClient
) -> None:
    essay = world.assignment_id("a1")
    grader = command_line(world, gateway, "ta1")
    cases = [
        (await grader.run_in_process("adjudicate", essay), 2, "not authorized"),
        (await moderator.run_in_process("plan", "999999"), 4, "assignment 999999 was not found"),
        (await moderator.run_in_process("explain", essay, "999999"), 4, f"assignment {essay} with student 999999 was"),
        (
            await moderator.run_in_process("publish", essay, "--course", "999", "--plan", f"sha256:{'0' * 64}"),
            4,
            f"assignment {essay} of course 999 was not found",
        ),
        (
            await moderator.run_in_process("plan", essay, MODERATOR_TOKEN="x"),
            2,
            "MODERATOR_TOKEN was rejected: Invalid access token; the token is not a JWT",
        ),
        (await moderator.run_in_process("plan", essay, GATEWAY_URL=""), 2, "GATEWAY_URL is not set"),
        (await moderator.run_in_process("plan", essay, GATEWAY_URL="http://127.0.0.1:9"), 3, "does not answer"),
    ]
    for result, exit_code, message in cases:
        assert (result.exit_code, result.stdout) == (exit_code, "")
        assert message in result.stderr
