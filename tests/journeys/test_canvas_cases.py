"""Canvas's acceptance cases, replayed through the real topics."""

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from services.commands.state_cache import StateCache
from services.eventlog.store import EventStore
from services.moderation import commands
from services.moderation.state_document import state_document
from tests.cases.adapter import World
from tests.cases.check import check_emits, check_events, state_holds
from tests.cases.compared import Names
from tests.conftest import System

CASES = json.loads((Path(__file__).parents[1] / "cases" / "canvas_cases.json").read_text())["cases"]
# Reading is HTTP's: their given steps are replayed, their answers wait for the gateway.
READING = {"list_moderation_set", "status", "anonymous_status", "list_provisional_grades"}


async def documents(system: System, world: World) -> dict[str, Any]:
    """State documents by assignment name, folded from the log."""
    connection = await asyncpg.connect(system.database_url)
    try:
        states = StateCache()
        for number in world.assignments.values():
            ask = commands.Command(
                command_id="", type="publish_provisional_grades", root_account_id=1, course_id=world.course_id,
                assignment_id=number, actor_id=None, data=commands.PublishProvisionalGrades(),
            )  # fmt: skip
            await states.load(EventStore(connection), [ask])
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


@dataclass
class Replayed:
    """What a case left: verdicts of its commands, their events and grade changes, the states after."""

    world: World
    verdicts: list[dict[str, Any]]
    events: list[tuple[str, Any]]
    emitted: list[dict[str, Any]]
    documents: dict[str, Any]

    def comparable(self) -> dict[str, Any]:
        names = Names(self.world, self.documents)
        return {
            "events": [(name, names.of(value)) for name, value in self.events],
            "emitted": [names.of(body) for body in self.emitted],
            "states": {name: names.of(document) for name, document in self.documents.items()},
        }


async def replay(case: dict[str, Any], running: System) -> Replayed:
    world, when = World(), case["when"]
    await replay_given(running, world, case)
    caused: list[tuple[str, Any]] = []
    verdicts: list[dict[str, Any]] = []
    commands: list[dict[str, Any]] = []
    if when.get("operation") not in READING:
        commands = [world.operation(operation) for operation in when.get("concurrently") or [when]]
        verdicts = await asyncio.gather(*(running.outside.verdict(command) for command in commands))
    if "as" in when and verdicts[0]["result"]:
        world.grades[when["as"]] = verdicts[0]["result"]["provisional_grade_id"]
    for command, verdict in zip(commands, verdicts, strict=True):
        caused += await running.outside.caused_by("events", command["command_id"], verdict["events"])
    await running.outside.caught_up("live-events")
    emitted = [
        value["body"]
        for command in commands
        for _, value in running.outside.caused.get(("live-events", command["command_id"]), ())
    ]
    return Replayed(world, verdicts, caused, emitted, await documents(running, world))


_REPLAYED: dict[tuple[str, str], Replayed] = {}


async def replayed(case: dict[str, Any], running: System) -> Replayed:
    """A case over Kafka, once for all tests that ask for it."""
    key = (running.prefix, case["id"])
    if key not in _REPLAYED:
        _REPLAYED[key] = await replay(case, running)
    return _REPLAYED[key]


@pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES])
async def test_the_service_answers_as_canvas_does(case: dict[str, Any], running: System) -> None:
    found, when, then = await replayed(case, running), case["when"], case["then"]
    world = found.world
    if when.get("operation") in READING:
        assert found.documents
        return
    if "outcome_multiset" in then:
        wanted = sorted((o["outcome"], o.get("reason")) for o in then["outcome_multiset"])
        assert sorted((v["status"], v["reason"]) for v in found.verdicts) == wanted
    else:
        check_outcome(then, found.verdicts[0])
    if "as" in when and found.verdicts[0]["result"]:
        assert len({world.grades[name] for name in then.get("same_pg", [when["as"]])}) == 1
    check_events(world, then, found.events)
    check_emits(world, then, found.emitted)
    for state in then.get("state", ()):
        assert state_holds(world, state, found.documents), (state, found.documents)
