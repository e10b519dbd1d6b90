"""Agreement between graders over HTTP, now and in the past, for auditors only."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from schemas.agreement import Agreement
from tests.fixtures.canvas.adapter import World, small_course_steps
from tests.fixtures.gateway_client import GatewayClient
from tests.fixtures.system import System
from tests.fixtures.token_issuer import TokenIssuer

Json = dict[str, Any]
SCORES = (
    ("ta1", "s1", 6),
    ("ta2", "s1", 8),
    *((user, work, score) for work, score in (("s2", 5), ("s3", 3)) for user in ("ta1", "ta2")),
)


@dataclass
class GradedEssay:
    """An essay of ten points: of ta1 and ta2, s1 has 6 and 8, s2 5 and 5, s3 3 and 3; then the 8 becomes a 6."""

    gateway: GatewayClient
    path: str
    users: dict[str, int]
    version_before: int

    async def request(self, user: str, query: str = "") -> Any:
        return await self.gateway.request("GET", self.path + query, self.users[user])


@pytest.fixture(scope="module")
async def graded_essay(running_system: System, gateway: GatewayClient) -> GradedEssay:
    world = World()
    steps = [{"do": "enroll", "user": "s3", "role": "student"}, *small_course_steps()]
    steps += [
        {"do": "grade", "assignment": "a1", "actor": actor, "student": student, "score": score}
        for actor, student, score in SCORES
    ]
    auditor = {"user_id": world.user_id("auditor"), "permissions": ["view_audit_trail"]}
    commands = [world.command("upsert_admins", {"admins": [auditor]})]
    commands += [command for step in steps for command in world.given(step)]
    change = {"do": "grade", "assignment": "a1", "actor": "ta2", "student": "s1", "score": 6}
    versions = []
    for command in [*commands, *world.given(change)]:
        verdict = await running_system.client.send_and_wait(command)
        assert verdict["status"] == "accepted", verdict
        versions.append(verdict["stream_version"])
    path = f"/api/moderation/v1/assignments/{world.assignment_id('a1')}/agreement"
    return GradedEssay(gateway, path, world.users, versions[-2])


async def test_agreement_is_served_for_the_current_and_an_earlier_version(graded_essay: GradedEssay) -> None:
    now = await graded_essay.request("auditor")
    then = await graded_essay.request("auditor", f"?version={graded_essay.version_before}&tolerance=1.5")

    for answer in (now, then):
        assert answer.status_code == 200, answer.text
        Agreement.model_validate(answer.json())
    assert now.json()["exact_rate"]["value"] == 1
    assert (then.json()["exact_rate"]["value"], then.json()["tolerance"]) == (pytest.approx(2 / 3, abs=1e-6), 1.5)
    # Mean squares then: between works 8, between graders 2 / 3, residual 2 / 3.
    assert now.json()["intraclass_correlation"] == {"value": 1, "interval": None, "count": 3, "reason": None}
    assert then.json()["intraclass_correlation"]["value"] == pytest.approx((8 - 2 / 3) / (8 + 2 / 3), abs=1e-6)
    assert then.json()["version"] == graded_essay.version_before
    strict, generous = then.json()["graders"]
    assert (strict["user_id"], generous["user_id"]) == (graded_essay.users["ta1"], graded_essay.users["ta2"])
    mean = generous["difference_from_others"]["mean"]
    assert (mean["value"], mean["count"]) == (pytest.approx(2 / 3, abs=1e-6), 3)
    assert not any(str(graded_essay.users[student]) in now.text for student in ("s1", "s2", "s3"))


async def test_agreement_is_served_as_csv_and_as_metrics(graded_essay: GradedEssay) -> None:
    table = await graded_essay.request("auditor", "?format=csv")
    metrics = await graded_essay.request("auditor", "?format=prometheus")

    assert table.headers["content-type"] == "text/csv; charset=utf-8"
    assert ",exact_rate,,,1.0,3," in table.text
    assert ",intraclass_correlation,,,1.0,3," in table.text
    assert metrics.headers["content-type"].startswith("text/plain")
    assert 'figure="exact_rate",grader="",other_grader=""} 1.0' in metrics.text
    regular = (await graded_essay.gateway.request("GET", "/metrics")).text
    assert "moderation_agreement" not in regular


@pytest.mark.parametrize(
    ("user", "query", "status"),
    [
        ("fg", "", 403),
        ("ta1", "", 403),
        ("auditor", "?tolerance=-1", 400),
        ("auditor", "?tolerance=nan", 400),
        ("auditor", "?tolerance=1e999", 400),
        ("auditor", "?format=xml", 400),
        ("auditor", "?version=1&at=2026-01-31T12:00:00Z", 400),
        ("auditor", "?version=99999", 404),
    ],
)
async def test_unauthorized_and_invalid_requests_are_rejected(
    user: str, query: str, status: int, graded_essay: GradedEssay
) -> None:
    assert (await graded_essay.request(user, query)).status_code == status


async def test_gateway_without_the_libraries_answers_501_and_serves_the_rest(
    graded_essay: GradedEssay, running_system: System, issuer: TokenIssuer, tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['pycm'] = None\n")
    process = running_system.create_gateway(issuer, PYTHONPATH=str(tmp_path))
    process.start()
    await process.wait_until_ready()
    client = GatewayClient(process.url, issuer)

    agreement = await client.request("GET", graded_essay.path, graded_essay.users["auditor"])
    state = await client.request("GET", graded_essay.path.replace("agreement", "state"), graded_essay.users["auditor"])

    await client.http.aclose()
    process.stop()
    assert (agreement.status_code, state.status_code) == (501, 200)
    assert "pip install 'moderated-grading[agreement]'" in agreement.json()["message"]


async def test_missing_assignment_returns_404(graded_essay: GradedEssay) -> None:
    answer = await graded_essay.gateway.request(
        "GET", "/api/moderation/v1/assignments/4040404/agreement", graded_essay.users["auditor"]
    )
    assert answer.status_code == 404
