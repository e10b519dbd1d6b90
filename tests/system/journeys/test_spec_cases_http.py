"""Single requests after Canvas's own specs, replayed against the gateway."""

import json
from typing import Any

import pytest

from tests.fixtures.canvas import CANVAS_CASES
from tests.fixtures.canvas.adapter import World
from tests.fixtures.canvas.expectations import fill_placeholders, matches
from tests.fixtures.gateway_client import GatewayClient
from tests.fixtures.system import System
from tests.system.journeys.test_canvas_cases import load_documents
from tests.system.journeys.test_canvas_cases_http import replay_given

Json = dict[str, Any]
CASES = json.loads((CANVAS_CASES / "spec_cases.json").read_text())["http_cases"]


async def send_case(gateway: GatewayClient, world: World, when: Json) -> Any:
    options: Json = {name: when[name] for name in ("json",) if name in when}
    if "form" in when:
        options["data"] = {name: fill_placeholders(world, value) for name, value in when["form"]}
    actor = None if when["actor"] is None else int(world.user_id(when["actor"]))
    return await gateway.request(when["method"], fill_placeholders(world, when["path"]), actor, **options)


@pytest.mark.cases("requests of Canvas specs over HTTP")
@pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES])
async def test_gateway_answers_as_canvas_specs_do(case: Json, running_system: System, gateway: GatewayClient) -> None:
    world, when, then = World(), case["when"], case["then"]
    await replay_given(running_system, gateway, world, case)
    for name, document in (await load_documents(running_system, world)).items():
        world.anonymous_ids |= {(row["student_id"], name): row["anonymous_id"] for row in document["submissions"]}
    answer = await send_case(gateway, world, when)
    assert answer.status_code == then["status"], answer.text
    if "response" in then:
        assert matches(world, then["response"], answer.json()), answer.text
    if "response_length" in then:
        assert len(answer.json()) == then["response_length"]
