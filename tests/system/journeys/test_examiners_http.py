"""What examiners do beyond Canvas, over HTTP and Kafka."""

from typing import Any

import pytest

from tests.fixtures.canvas.adapter import World
from tests.fixtures.canvas.course_client import CourseClient, moderated_course_commands
from tests.fixtures.canvas.http_adapter import AUDITOR
from tests.fixtures.gateway_client import GatewayClient
from tests.fixtures.system import System

Json = dict[str, Any]


class Examiners(CourseClient):
    """A course with one moderated assignment, and requests to the service's own paths about it."""

    async def ask(self, method: str, path: str, name: str = "fg", status: int = 200, **options: Any) -> Any:
        assignment = self.world.assignment_id("a1")
        return await self.request(
            method, f"/api/moderation/v1/assignments/{assignment}/{path}", name, status, **options
        )

    async def mark(self, name: str, student: str, score: float) -> None:
        form = {"submission": {"score": score, "provisional": True}}
        await self.request("PUT", f"submissions/{self.world.user_id(student)}", name, json=form)


@pytest.fixture
async def examiners(running_system: System, gateway: GatewayClient) -> Examiners:
    client = Examiners(World(), running_system, gateway)
    await client.send_accepted(*moderated_course_commands(client.world))
    return client


async def test_a_publication_follows_its_plan_or_is_refused(examiners: Examiners) -> None:
    await examiners.mark("ta1", "s0", 7)
    await examiners.mark("ta1", "s1", 8)
    plan = await examiners.ask("GET", "publication_plan")
    assert plan == await examiners.ask("POST", "plan_publication")
    assert [row["score"] for row in plan["students"]] == [[None, 7], [None, 8]]
    await examiners.ask("GET", "publication_plan", "ta1", 403)

    # Another client changes a mark between the plan and the publication.
    await examiners.mark("ta1", "s1", 9)
    refused = await examiners.request(
        "POST", "provisional_grades/publish", "fg", 409, json={"plan_digest": plan["digest"]}
    )
    again = await examiners.ask("GET", "publication_plan", AUDITOR)
    assert again["digest"] in refused["message"]
    assert again["reason"] == "unauthorized"

    published = await examiners.request(
        "POST", "provisional_grades/publish", "fg", data={"plan_digest": again["digest"]}
    )
    assert published == {"message": "OK"}
    own = await examiners.request("GET", f"submissions/{examiners.world.user_id('s1')}", "fg")
    assert own["score"] == 9
    assert (await examiners.ask("GET", "publication_plan"))["reason"] == "already_published"
