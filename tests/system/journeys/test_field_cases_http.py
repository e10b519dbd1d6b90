"""Requests after public bug reports of Canvas, its clients and HTTP services."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.fixtures.canvas.field_cases import FIELD_CASES, SHARD, FieldCourse
from tests.fixtures.fault_helpers import connected, count_in
from tests.fixtures.gateway_client import GatewayClient
from tests.fixtures.system import System
from tests.fixtures.token_issuer import TokenIssuer

CASES = [case for case in FIELD_CASES if "http" in case["check"]]
# What the case says in words: the answer names what was not understood, and what to send.
NAMED = {
    "FR-C1": ("the body is JSON", "Content-Type: application/json"),
    "FR-C2": ("posted_grade", "Send submission[posted_grade]"),
    "FR-C3": ("comment[comment]", "comment[text_comment]"),
    "FR-C5": ("submission.posted_grade", "Send submission[posted_grade]"),
}
EVENTS_OF = "event e join stream s on s.number = e.stream where s.assignment = {assignment}"
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


async def count_events(course: FieldCourse) -> int:
    """Return how many events the assignment has, when all commands about it are decided."""
    # A command that a request sent before would be decided before this one.
    await course.send_command({"type": "upsert_course", "data": {"name": "Field"}})
    async with connected(course.system) as connection:
        return await count_in(connection, EVENTS_OF.format(assignment=course.assignment_id))


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
    saves_nothing = case["id"] in NAMED
    recorded = await count_events(course) if saves_nothing else None
    for step in case["input"]:
        answer = await course.send(step)
    assert answer.status_code == case["check"]["http"]["status"], answer.text
    if saves_nothing:
        assert list(answer.json()) == ["error"]
        assert [text for text in NAMED[case["id"]] if text not in answer.json()["error"]] == []
        assert await count_events(course) == recorded
    elif case["id"] == "FR-E1":
        shown = {name: answer.json()[name] for name in ("id", "name", "sis_course_id")}
        assert shown == {"id": course.course_id, "name": "Field", "sis_course_id": None}
    elif step["http"]["method"] == "HEAD":
        assert not answer.content
        assert 'rel="next"' in answer.headers.get("link", "") or "per_page" not in step["http"]["path"]


def test_every_request_that_saves_nothing_names_why() -> None:
    assert {case["id"] for case in CASES if case["kind"] == "http-200-and-nothing-saved"} == set(NAMED)
