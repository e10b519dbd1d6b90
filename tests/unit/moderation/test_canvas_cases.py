"""Canvas's acceptance cases, replayed through the rules without broker and database."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from schemas.reasons import ACCEPTED_STATUS
from services.commands.parse import ParsedCommand, parse
from services.commands.verdict_body import HTTP_STATUS_BY_REASON
from services.moderation.decisions import Accepted, Decision
from services.moderation.event_payloads import to_payload
from tests.fixtures import in_memory_course as office
from tests.fixtures.canvas import load_acceptance_cases
from tests.fixtures.canvas.adapter import World
from tests.fixtures.canvas.expectations import check_events, check_grade_changes, matches_state
from tests.fixtures.in_memory_course import InMemoryCourse

CASES = load_acceptance_cases()
READ_OPERATIONS = {"list_moderation_set", "status", "anonymous_status", "list_provisional_grades"}


def send_command(memory: InMemoryCourse, command: dict[str, Any]) -> Decision:
    parsed = parse(json.dumps(command).encode())
    assert isinstance(parsed, ParsedCommand), parsed
    return memory.decide(parsed.command)


def replay_given(memory: InMemoryCourse, world: World, case: dict[str, Any]) -> None:
    for step in case["given"]:
        for command in world.given(step):
            decision = send_command(memory, command)
            assert isinstance(decision, Accepted), (step, decision)
            if "as" in step:
                world.grades[step["as"]] = decision.result["provisional_grade_id"]


def state_documents(memory: InMemoryCourse, world: World) -> dict[str, Any]:
    return {name: memory.document(number) for name, number in world.assignments.items() if number in memory.assignments}


def check_decision(then: dict[str, Any], decision: Decision) -> None:
    assert isinstance(decision, Accepted) == (then["outcome"] == "accepted"), decision
    if isinstance(decision, Accepted):
        assert then["status"] == ACCEPTED_STATUS
        return
    if "reason" in then:
        assert decision.reason in [then["reason"], *then.get("accept_reason", ())]
    assert decision.message == then.get("message", decision.message)
    assert decision.error_code == then.get("error_code", decision.error_code)
    status = HTTP_STATUS_BY_REASON[decision.reason]
    assert status in [then["status"], *then.get("accept_status", ())]


def event_value(memory: InMemoryCourse, position: int) -> tuple[str, dict[str, Any]]:
    command, event, _ = memory.log[position]
    student = getattr(event, "student_id", None)
    return event.name, {"user_id": command.actor_id, "student_id": student, "payload": to_payload(event)}


def check_case(memory: InMemoryCourse, world: World, case: dict[str, Any]) -> None:
    when, then = case["when"], case["then"]
    before, known = memory.snapshot(), len(memory.log)
    decisions = [send_command(memory, world.operation(operation)) for operation in when.get("concurrently") or [when]]
    if "outcome_multiset" in then:
        found = sorted(getattr(decision, "reason", "") for decision in decisions)
        assert found == sorted(outcome.get("reason", "") for outcome in then["outcome_multiset"])
    else:
        check_decision(then, decisions[0])
        if not isinstance(decisions[0], Accepted):
            assert memory.snapshot() == before
    if "as" in when and isinstance(decisions[0], Accepted):
        world.grades[when["as"]] = decisions[0].result["provisional_grade_id"]
        assert len({world.grades[name] for name in then.get("same_pg", [when["as"]])}) == 1
    caused = range(known, len(memory.log))
    check_events(world, then, [event_value(memory, position) for position in caused])
    told = [
        {"student_id": getattr(memory.log[position][1], "student_id", None), **change}
        for position in caused
        if (change := memory.grade_changes[position]) is not None
    ]
    check_grade_changes(world, then, told)
    for state in then.get("state", ()):
        assert matches_state(world, state, state_documents(memory, world)), (state, state_documents(memory, world))


def check_moderation_set(memory: InMemoryCourse, world: World, case: dict[str, Any]) -> None:
    """Check who may list the moderation set, and which students they see."""
    when, then = case["when"], case["then"]
    number = world.assignments[when["assignment"]]
    assignment = memory.assignments[number]
    course = memory.courses[world.course_id]
    allowed = assignment.permits_moderation(course, world.users[when["actor"]])
    assert allowed == (then["outcome"] == "accepted")
    listed = [row["student_id"] for row in memory.document(number)["moderation_set"]]
    if "response_length" in then:
        assert len(listed) == then["response_length"]
    if "response" in then:
        assert listed == [world.users[row["id"].removeprefix("@user:")] for row in then["response"]]


@pytest.mark.cases("acceptance cases through the rules")
@pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES])
def test_rules_match_canvas_cases(case: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    # The adapter takes submission times from the real clock, so ours starts at that time, which is in the future.
    monkeypatch.setattr(office, "START", datetime.now(UTC).replace(microsecond=0) + timedelta(minutes=1))
    memory, world = InMemoryCourse(), World()
    replay_given(memory, world, case)
    if case["operation"] not in READ_OPERATIONS:
        check_case(memory, world, case)
    elif case["operation"] == "list_moderation_set":
        check_moderation_set(memory, world, case)
    assert memory.replay().snapshot() == memory.snapshot()
