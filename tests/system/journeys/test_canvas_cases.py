"""Canvas's acceptance cases, replayed through the real topics."""

import asyncio
from dataclasses import dataclass
from typing import Any

import asyncpg
import pytest

from services.commands.state_cache import StateCache
from services.eventlog.store import EventStore
from services.moderation import commands
from services.moderation.state_document import state_document
from tests.fixtures.canvas import load_acceptance_cases
from tests.fixtures.canvas.adapter import World
from tests.fixtures.canvas.expectations import check_events, check_grade_changes, matches_state
from tests.fixtures.canvas.normalize import IdNormalizer
from tests.fixtures.system import System

CASES = load_acceptance_cases()
# Reads exist over HTTP only: here their given steps are replayed, and the HTTP test checks their answers.
READ_OPERATIONS = {"list_moderation_set", "status", "anonymous_status", "list_provisional_grades"}


async def load_documents(system: System, world: World) -> dict[str, Any]:
    """State documents by assignment name, folded from the log."""
    connection = await asyncpg.connect(system.database_url)
    try:
        states = StateCache()
        for number in world.assignments.values():
            command = commands.Command(
                command_id="", type="publish_provisional_grades", root_account_id=1, course_id=world.course_id,
                assignment_id=number, actor_id=None, data=commands.PublishProvisionalGrades(),
            )  # fmt: skip
            await states.load(EventStore(connection), [command])
        course, _ = states.courses[1, world.course_id]
        streams = {name: states.assignments.get((1, number)) for name, number in world.assignments.items()}
        return {name: state_document(course, found[0]) for name, found in streams.items() if found is not None}
    finally:
        await connection.close()


async def replay_given(system: System, world: World, case: dict[str, Any]) -> None:
    for step in case["given"]:
        for command in world.given(step):
            verdict = await system.client.send_and_wait(command)
            assert verdict["status"] == "accepted", (step, verdict)
        if "as" in step:
            world.grades[step["as"]] = int(verdict["result"]["provisional_grade_id"])


def check_verdict(then: dict[str, Any], verdict: dict[str, Any]) -> None:
    assert verdict["status"] == then["outcome"], verdict
    if "reason" in then:
        assert verdict["reason"] in [then["reason"], *then.get("accept_reason", ())]
    for name in ("message", "error_code"):
        if name in then:
            assert verdict[name] == then[name]


@dataclass
class ReplayResult:
    """The results of a case: verdicts of its commands, their events and grade changes, the states after it."""

    world: World
    verdicts: list[dict[str, Any]]
    events: list[tuple[str, Any]]
    grade_changes: list[dict[str, Any]]
    documents: dict[str, Any]

    def normalized(self) -> dict[str, Any]:
        names = IdNormalizer(self.world, self.documents)
        return {
            "events": [(name, names.normalize(value)) for name, value in self.events],
            "emitted": [names.normalize(body) for body in self.grade_changes],
            "states": {name: names.normalize(document) for name, document in self.documents.items()},
        }


async def replay_case(case: dict[str, Any], system: System) -> ReplayResult:
    world, when = World(), case["when"]
    await replay_given(system, world, case)
    events: list[tuple[str, Any]] = []
    verdicts: list[dict[str, Any]] = []
    commands: list[dict[str, Any]] = []
    if when.get("operation") not in READ_OPERATIONS:
        commands = [world.operation(operation) for operation in when.get("concurrently") or [when]]
        verdicts = await asyncio.gather(*(system.client.send_and_wait(command) for command in commands))
    if "as" in when and verdicts[0]["result"]:
        world.grades[when["as"]] = int(verdicts[0]["result"]["provisional_grade_id"])
    for command, verdict in zip(commands, verdicts, strict=True):
        events += await system.client.wait_for_outputs("events", command["command_id"], verdict["events"])
    await system.client.wait_until_read("live-events")
    grade_changes = [
        value["body"]
        for command in commands
        for _, value in system.client.outputs_by_command.get(("live-events", command["command_id"]), ())
    ]
    return ReplayResult(world, verdicts, events, grade_changes, await load_documents(system, world))


_RESULTS: dict[tuple[str, str], ReplayResult] = {}


async def get_replay_result(case: dict[str, Any], system: System) -> ReplayResult:
    """Replay a case over Kafka, once for all tests that need it."""
    key = (system.prefix, case["id"])
    if key not in _RESULTS:
        _RESULTS[key] = await replay_case(case, system)
    return _RESULTS[key]


@pytest.mark.cases("acceptance cases over Kafka")
@pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES])
async def test_kafka_commands_match_canvas_cases(case: dict[str, Any], running_system: System) -> None:
    found, when, then = await get_replay_result(case, running_system), case["when"], case["then"]
    world = found.world
    if when.get("operation") in READ_OPERATIONS:
        assert found.documents
        return
    if "outcome_multiset" in then:
        wanted = sorted((o["outcome"], o.get("reason")) for o in then["outcome_multiset"])
        assert sorted((v["status"], v["reason"]) for v in found.verdicts) == wanted
    else:
        check_verdict(then, found.verdicts[0])
    if "as" in when and found.verdicts[0]["result"]:
        assert len({world.grades[name] for name in then.get("same_pg", [when["as"]])}) == 1
    check_events(world, then, found.events)
    check_grade_changes(world, then, found.grade_changes)
    for state in then.get("state", ()):
        assert matches_state(world, state, found.documents), (state, found.documents)
