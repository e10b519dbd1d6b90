"""Requests after public bug reports of Canvas, its clients and HTTP services."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.fixtures.canvas.field_cases import FIELD_CASES, SHARD, FieldCourse
from tests.fixtures.gateway_client import GatewayClient
from tests.fixtures.system import System
from tests.fixtures.token_issuer import TokenIssuer

CASES = [case for case in FIELD_CASES if "http" in case["check"]]
GATEWAY_SETTINGS = {"FR-F2": {"LIVE_EVENTS_SHARD": str(SHARD)}, "FR-I1": {"JWT_AUDIENCE": "https://moderation.example"}}


@pytest.fixture
async def case_gateway(
    request: pytest.FixtureRequest, running_system: System, gateway: GatewayClient, issuer: TokenIssuer
) -> AsyncIterator[GatewayClient]:
    """Return the shared gateway, or one with the settings of the case."""
    settings = GATEWAY_SETTINGS.get(request.getfixturevalue("case")["id"])
    if settings is None:
        yield gateway
        return
    process = running_system.create_gateway(issuer, **settings)
    process.start()
    await process.wait_until_ready()
    client = GatewayClient(process.url, issuer)
    yield client
    await client.http.aclose()
    process.stop()


@pytest.mark.cases("bug reports over HTTP")
@pytest.mark.parametrize(
    "case",
    CASES,
    ids=[case["id"] for case in CASES],
)
async def test_request_of_a_bug_report_is_answered_correctly(
    case: dict[str, Any], running_system: System, case_gateway: GatewayClient
) -> None:
    course = FieldCourse(running_system, case_gateway)
    await course.set_up(case["setup"])
    for step in case["input"]:
        answer = await course.send(step)
    assert answer.status_code == case["check"]["http"]["status"], answer.text
