"""Canvas's acceptance cases over HTTP; only facts are sent over Kafka."""

import asyncio
from functools import partial
from typing import Any

import httpx
import pytest

from tests.fixtures.canvas.adapter import World
from tests.fixtures.canvas.expectations import check_events, check_grade_changes, matches, matches_state
from tests.fixtures.canvas.http_adapter import AUDITOR, assignment_path, auditor_command, build_request
from tests.fixtures.gateway_client import GatewayClient
from tests.fixtures.process_runner import wait_until
from tests.fixtures.system import System
from tests.system.journeys.test_canvas_cases import (
    CASES,
    READ_OPERATIONS,
    ReplayResult,
    get_replay_result,
    load_documents,
)

Json = dict[str, Any]
MODERATION_OPERATIONS = {"grade", "comment", "select", "bulk_select", "publish"}


async def send_operation(gateway: GatewayClient, world: World, when: Json, before: dict[str, Json]) -> httpx.Response:
    method, path, options = build_request(world, when, before)
    actor = None if when["actor"] is None else int(world.user_id(when["actor"]))
    return await gateway.request(method, path, actor, **options)


async def replay_given(system: System, gateway: GatewayClient, world: World, case: Json) -> None:
    sent_commands: list[Json] = []
    for step in case["given"]:
        if step["do"] not in MODERATION_OPERATIONS:
            # A partition keeps their order, so that none has to wait for the previous verdict.
            sent_commands += [await send(system, command) for command in world.given(step)]
            continue
        await wait_until_accepted(system, sent_commands)
        before = await load_documents(system, world) if _is_anonymous(case) else {}
        answer = await send_operation(gateway, world, {**step, "operation": step["do"]}, before)
        assert answer.status_code == 200, (step, answer.text)
        bind_grade_name(world, step, answer)
    await wait_until_accepted(system, [*sent_commands, await send(system, auditor_command(world))])


def _is_anonymous(case: Json) -> bool:
    return any({**step, **step.get("set", {})}.get("anonymous_grading") for step in case["given"])


async def send(system: System, command: Json) -> Json:
    await system.client.send(command)
    return command


async def wait_until_accepted(system: System, commands: list[Json]) -> None:
    for command in commands:
        assert (await system.client.wait_for_verdict(command["command_id"]))["status"] == "accepted", command
    commands.clear()


def bind_grade_name(world: World, when: Json, answer: httpx.Response) -> None:
    """Bind the provisional grade that a step created or changed to its name in the case."""
    if "as" in when:
        actor = int(world.user_id(when["actor"]))
        seen = answer.json()["provisional_grades"]
        final = [grade for grade in seen if grade["final"]]
        own = [grade for grade in seen if not grade["final"] and grade.get("scorer_id", actor) == actor]
        world.grades[when["as"]] = (final if when.get("final") else own)[0]["provisional_grade_id"]


def check_answer(world: World, then: Json, answer: httpx.Response, listed: bool) -> None:
    assert answer.status_code in [then["status"], *then.get("accept_status", ())], answer.text
    body = answer.json()
    if listed:
        body = body["provisional_grades"]
    if "message" in then:
        said = body.get("message") or body.get("error") or body["errors"][0]["message"]
        assert said == then["message"]
    if "response" in then:
        assert matches(world, then["response"], body), body
    if "response_keys" in then:
        assert set(body) == set(then["response_keys"])
    if "response_length" in then:
        assert len(body) == then["response_length"]


def find_verdict(system: System, answer: httpx.Response) -> Json | None:
    """Find the verdict on the topic by its correlation id."""
    correlation_id = answer.headers["x-request-context-id"]
    verdicts = (verdict for all_of_one in system.client.verdicts.values() for verdict in all_of_one)
    return next((verdict for verdict in verdicts if verdict["correlation_id"] == correlation_id), None)


async def wait_for_effects(system: System, answers: list[httpx.Response]) -> tuple[list[tuple[str, Json]], list[Json]]:
    """Wait for the domain events and grade changes of the answers' commands."""
    events: list[tuple[str, Json]] = []
    emitted: list[Json] = []
    for answer in answers:
        verdict = await wait_until(partial(find_verdict, system, answer), "the verdict")
        events += await system.client.wait_for_outputs("events", verdict["command_id"], verdict["events"])
        await system.client.wait_until_read("live-events")
        found = system.client.outputs_by_command.get(("live-events", verdict["command_id"]), ())
        emitted += [value["body"] for _, value in found]
    return events, emitted


@pytest.mark.cases("acceptance cases over HTTP")
@pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES])
async def test_gateway_responses_and_state_match_canvas_and_the_kafka_path(
    case: Json, running_system: System, gateway: GatewayClient
) -> None:
    world, when, then = World(), case["when"], case["then"]
    await replay_given(running_system, gateway, world, case)
    before = await load_documents(running_system, world)
    for name, document in before.items():
        world.anonymous_ids |= {(row["student_id"], name): row["anonymous_id"] for row in document["submissions"]}
    answers = await asyncio.gather(
        *(send_operation(gateway, world, each, before) for each in when.get("concurrently", [when]))
    )
    if "outcome_multiset" in then:
        assert sorted(answer.status_code for answer in answers) == sorted(o["status"] for o in then["outcome_multiset"])
    else:
        check_answer(world, then, answers[0], when["operation"] == "list_provisional_grades")
    if "as" in when and answers[0].status_code == 200:
        bind_grade_name(world, when, answers[0])
        assert len({world.grades[name] for name in then.get("same_pg", [when["as"]])}) == 1
    events: list[tuple[str, Json]] = []
    emitted: list[Json] = []
    if when.get("operation") not in READ_OPERATIONS and answers[0].status_code != 401:
        events, emitted = await wait_for_effects(running_system, answers)
    check_events(world, then, events)
    check_grade_changes(world, then, emitted)
    after = await load_documents(running_system, world)
    over_http = ReplayResult(world, [], events, emitted, after)
    assert over_http.normalized() == (await get_replay_result(case, running_system)).normalized()
    for state in then.get("state", ()):
        assert matches_state(world, state, after), (state, after)
    for name, document in after.items():
        if not document["settings"]["deleted"]:
            shown = await gateway.request("GET", state_path(world, name), int(world.user_id(AUDITOR)))
            assert shown.json() == document


def state_path(world: World, name: str) -> str:
    return f"/api/moderation/v1/assignments/{assignment_path(world, name).rpartition('/')[2]}/state"
