"""Agreement between graders over HTTP: what the log says of their marks, now and then, for auditors alone."""

from dataclasses import dataclass
from typing import Any

import pytest

from schemas.agreement import Agreement
from tests.cases.adapter import World, small_course
from tests.conftest import System
from tests.processes.client import Client

Json = dict[str, Any]
MARKS = (
    ("ta1", "s1", 6),
    ("ta2", "s1", 8),
    *((user, work, score) for work, score in (("s2", 5), ("s3", 3)) for user in ("ta1", "ta2")),
)


@dataclass
class Marked:
    """An essay of ten points: of ta1 and ta2, s1 has 6 and 8, s2 5 and 5, s3 3 and 3; then the 8 becomes a 6."""

    gateway: Client
    path: str
    users: dict[str, int]
    before: int

    async def ask(self, user: str, query: str = "") -> Any:
        return await self.gateway.ask("GET", self.path + query, self.users[user])


@pytest.fixture(scope="module")
async def marked(running: System, gateway: Client) -> Marked:
    world = World()
    steps = [{"do": "enroll", "user": "s3", "role": "student"}, *small_course()]
    steps += [
        {"do": "grade", "assignment": "a1", "actor": actor, "student": student, "score": score}
        for actor, student, score in MARKS
    ]
    auditor = {"user_id": world.user("auditor"), "permissions": ["view_audit_trail"]}
    commands = [world.command("upsert_admins", {"admins": [auditor]})]
    commands += [command for step in steps for command in world.given(step)]
    change = {"do": "grade", "assignment": "a1", "actor": "ta2", "student": "s1", "score": 6}
    versions = []
    for command in [*commands, *world.given(change)]:
        verdict = await running.outside.verdict(command)
        assert verdict["status"] == "accepted", verdict
        versions.append(verdict["stream_version"])
    path = f"/api/moderation/v1/assignments/{world.assignment('a1')}/agreement"
    return Marked(gateway, path, world.users, versions[-2])


async def test_figures_are_served_now_and_as_of_a_version(marked: Marked) -> None:
    now = await marked.ask("auditor")
    then = await marked.ask("auditor", f"?version={marked.before}&tolerance=1.5")

    for answer in (now, then):
        assert answer.status_code == 200, answer.text
        Agreement.model_validate(answer.json())
    assert now.json()["exact_rate"]["value"] == 1
    assert (then.json()["exact_rate"]["value"], then.json()["tolerance"]) == (pytest.approx(2 / 3, abs=1e-6), 1.5)
    # Mean squares then: between works 8, between graders 2 / 3, residual 2 / 3.
    assert now.json()["intraclass_correlation"] == {"value": 1, "interval": None, "count": 3, "reason": None}
    assert then.json()["intraclass_correlation"]["value"] == pytest.approx((8 - 2 / 3) / (8 + 2 / 3), abs=1e-6)
    assert then.json()["version"] == marked.before
    strict, generous = then.json()["graders"]
    assert (strict["user_id"], generous["user_id"]) == (marked.users["ta1"], marked.users["ta2"])
    mean = generous["difference_from_others"]["mean"]
    assert (mean["value"], mean["count"]) == (pytest.approx(2 / 3, abs=1e-6), 3)
    assert not any(str(marked.users[student]) in now.text for student in ("s1", "s2", "s3"))


async def test_the_same_figures_leave_as_csv_and_as_metrics(marked: Marked) -> None:
    table = await marked.ask("auditor", "?format=csv")
    metrics = await marked.ask("auditor", "?format=prometheus")

    assert table.headers["content-type"] == "text/csv; charset=utf-8"
    assert ",exact_rate,,,1.0,3," in table.text
    assert ",intraclass_correlation,,,1.0,3," in table.text
    assert metrics.headers["content-type"].startswith("text/plain")
    assert 'figure="exact_rate",grader="",other_grader=""} 1.0' in metrics.text
    regular = (await marked.gateway.ask("GET", "/metrics")).text
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
async def test_who_may_not_see_them_or_asks_wrongly_is_told(user: str, query: str, status: int, marked: Marked) -> None:
    assert (await marked.ask(user, query)).status_code == status


async def test_an_assignment_that_does_not_exist_has_no_figures(marked: Marked) -> None:
    answer = await marked.gateway.ask(
        "GET", "/api/moderation/v1/assignments/4040404/agreement", marked.users["auditor"]
    )
    assert answer.status_code == 404
