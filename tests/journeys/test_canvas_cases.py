"""Canvas's acceptance cases, replayed through the real topics."""

import asyncio
import json
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from services.deciding.states import States
from services.eventlog.log import Log
from services.moderation import commands as asked
from services.moderation.document import state_document
from tests.cases.adapter import World
from tests.cases.check import check_emits, check_events, state_holds
from tests.conftest import System

CASES = json.loads((Path(__file__).parents[1] / "cases" / "canvas_cases.json").read_text())["cases"]
# Reading is HTTP's: their given steps are replayed, their answers wait for the gateway.
READING = {"list_moderation_set", "status", "anonymous_status", "list_provisional_grades"}


async def documents(system: System, world: World) -> dict[str, Any]:
    """State documents by assignment name, folded from the log."""
    connection = await asyncpg.connect(system.database_url)
    try:
        states = States()
        for number in world.assignments.values():
            ask = asked.Command(
                command_id="", type="publish_provisional_grades", root_account_id=1, course_id=world.course_id,
                assignment_id=number, actor_id=None, data=asked.PublishProvisionalGrades(),
            )  # fmt: skip
            await states.load(Log(connection), [ask])
        course, _ = states.courses[1, world.course_id]
        held = {name: states.assignments.get((1, number)) for name, number in world.assignments.items()}
        return {name: state_document(course, found[0]) for name, found in held.items() if found is not None}
    finally:
        await connection.close()


async def replay_given(system: System, world: World, case: dict[str, Any]) -> None:
    for step in case["given"]:
        for command in world.given(step):
            verdict = await system.outside.verdict(command)
            assert verdict["status"] == "accepted", (step, verdict)
        if "as" in step:
            world.grades[step["as"]] = verdict["result"]["provisional_grade_id"]


def check_outcome(then: dict[str, Any], verdict: dict[str, Any]) -> None:
    assert verdict["status"] == then["outcome"], verdict
    if "reason" in then:
        assert verdict["reason"] in [then["reason"], *then.get("accept_reason", ())]
    for name in ("message", "error_code"):
        if name in then:
            assert verdict[name] == then[name]


@pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES])
async def test_the_service_answers_as_canvas_does(case: dict[str, Any], running: System) -> None:
    world, when, then = World(), case["when"], case["then"]
    await replay_given(running, world, case)
    if when.get("operation") in READING:
        assert await documents(running, world)
        return
    asked_for = when.get("concurrently") or [when]
    commands = [world.operation(operation) for operation in asked_for]
    verdicts = await asyncio.gather(*(running.outside.verdict(command) for command in commands))
    if "outcome_multiset" in then:
        wanted = sorted((o["outcome"], o.get("reason")) for o in then["outcome_multiset"])
        assert sorted((v["status"], v["reason"]) for v in verdicts) == wanted
    else:
        check_outcome(then, verdicts[0])
    if "as" in when and verdicts[0]["result"]:
        number = verdicts[0]["result"]["provisional_grade_id"]
        world.grades[when["as"]] = number
        assert len({world.grades[name] for name in then.get("same_pg", [when["as"]])}) == 1
    caused: list[tuple[str, Any]] = []
    for command, verdict in zip(commands, verdicts, strict=True):
        caused += await running.outside.caused_by("events", command["command_id"], verdict["events"])
    await running.outside.caught_up("live-events")
    emitted = [
        value["body"]
        for command in commands
        for _, value in running.outside.caused.get(("live-events", command["command_id"]), ())
    ]
    check_events(world, then, caused)
    check_emits(world, then, emitted)
    found_documents = await documents(running, world)
    for state in then.get("state", ()):
        assert state_holds(world, state, found_documents), (state, found_documents)
