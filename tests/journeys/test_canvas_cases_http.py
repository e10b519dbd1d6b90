"""Canvas's acceptance cases, replayed over HTTP: the rosters come over Kafka, all else through the gateway."""

import asyncio
from functools import partial
from typing import Any

import httpx
import pytest

from tests.cases.adapter import World
from tests.cases.check import check_emits, check_events, same, state_holds
from tests.cases.over_http import AUDITOR, assignment_path, auditor, request
from tests.conftest import System
from tests.journeys.test_canvas_cases import CASES, READING, Replayed, documents, replayed
from tests.processes.client import Client
from tests.processes.running import until

Json = dict[str, Any]
MODERATION = {"grade", "comment", "select", "bulk_select", "publish"}


async def ask(gateway: Client, world: World, when: Json, before: dict[str, Json]) -> httpx.Response:
    method, path, options = request(world, when, before)
    actor = None if when["actor"] is None else int(world.user(when["actor"]))
    return await gateway.ask(method, path, actor, **options)


async def replay_given(system: System, gateway: Client, world: World, case: Json) -> None:
    stated: list[Json] = []
    for step in case["given"]:
        if step["do"] not in MODERATION:
            # A partition keeps their order, so that none waits for the verdict before it.
            stated += [await send(system, command) for command in world.given(step)]
            continue
        await accepted(system, stated)
        answer = await ask(gateway, world, {**step, "operation": step["do"]}, {})
        assert answer.status_code == 200, (step, answer.text)
        bind(world, step, answer)
    await accepted(system, [*stated, await send(system, auditor(world))])


async def send(system: System, command: Json) -> Json:
    await system.outside.send(command)
    return command


async def accepted(system: System, commands: list[Json]) -> None:
    for command in commands:
        assert (await system.outside.verdict_of(command["command_id"]))["status"] == "accepted", command
    commands.clear()


def bind(world: World, when: Json, answer: httpx.Response) -> None:
    """The provisional grade that a step made or changed, by its name in the case."""
    if "as" in when:
        actor = int(world.user(when["actor"]))
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
        assert same(world, then["response"], body), body
    if "response_keys" in then:
        assert set(body) == set(then["response_keys"])
    if "response_length" in then:
        assert len(body) == then["response_length"]


def verdict_behind(system: System, answer: httpx.Response) -> Json | None:
    """The verdict on the topic, found by its correlation id."""
    asked = answer.headers["x-request-context-id"]
    verdicts = (verdict for all_of_one in system.outside.verdicts.values() for verdict in all_of_one)
    return next((verdict for verdict in verdicts if verdict["correlation_id"] == asked), None)


async def caused_by(system: System, answers: list[httpx.Response]) -> tuple[list[tuple[str, Json]], list[Json]]:
    """Domain events and grade changes of the commands behind the answers."""
    events: list[tuple[str, Json]] = []
    emitted: list[Json] = []
    for answer in answers:
        verdict = await until(partial(verdict_behind, system, answer), "the verdict")
        events += await system.outside.caused_by("events", verdict["command_id"], verdict["events"])
        await system.outside.caught_up("live-events")
        found = system.outside.caused.get(("live-events", verdict["command_id"]), ())
        emitted += [value["body"] for _, value in found]
    return events, emitted


@pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES])
async def test_the_gateway_answers_as_canvas_does_and_leaves_what_kafka_leaves(
    case: Json, running: System, gateway: Client
) -> None:
    world, when, then = World(), case["when"], case["then"]
    await replay_given(running, gateway, world, case)
    before = await documents(running, world)
    for name, document in before.items():
        world.anonymous_ids |= {(row["student_id"], name): row["anonymous_id"] for row in document["submissions"]}
    answers = await asyncio.gather(*(ask(gateway, world, each, before) for each in when.get("concurrently", [when])))
    if "outcome_multiset" in then:
        assert sorted(answer.status_code for answer in answers) == sorted(o["status"] for o in then["outcome_multiset"])
    else:
        check_answer(world, then, answers[0], when["operation"] == "list_provisional_grades")
    if "as" in when and answers[0].status_code == 200:
        bind(world, when, answers[0])
        assert len({world.grades[name] for name in then.get("same_pg", [when["as"]])}) == 1
    events: list[tuple[str, Json]] = []
    emitted: list[Json] = []
    if when.get("operation") not in READING and answers[0].status_code != 401:
        events, emitted = await caused_by(running, answers)
    check_events(world, then, events)
    check_emits(world, then, emitted)
    after = await documents(running, world)
    over_http = Replayed(world, [], events, emitted, after)
    assert over_http.comparable() == (await replayed(case, running)).comparable()
    for state in then.get("state", ()):
        assert state_holds(world, state, after), (state, after)
    for name, document in after.items():
        if not document["settings"]["deleted"]:
            shown = await gateway.ask("GET", state_path(world, name), int(world.user(AUDITOR)))
            assert shown.json() == document


def state_path(world: World, name: str) -> str:
    return f"/api/moderation/v1/assignments/{assignment_path(world, name).rpartition('/')[2]}/state"
