"""The examiners' operations that Canvas does not have, over HTTP and Kafka."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.fixtures.canvas.adapter import World
from tests.fixtures.canvas.course_client import CourseClient, moderated_course_commands
from tests.fixtures.canvas.http_adapter import AUDITOR
from tests.fixtures.gateway_client import GatewayClient
from tests.fixtures.system import System

Json = dict[str, Any]


class Examiners(CourseClient):
    """A course with one moderated assignment, and requests about it to the service's own paths."""

    async def ask(self, method: str, path: str, name: str = "fg", status: int = 200, **options: Any) -> Any:
        assignment = self.world.assignment_id("a1")
        return await self.request(
            method, f"/api/moderation/v1/assignments/{assignment}/{path}", name, status, **options
        )

    async def read_reason(self, path: str, name: str = "fg", **options: Any) -> str | None:
        """Send a request about the assignment that is refused, and return the header that names the reason."""
        full_path = f"/api/moderation/v1/assignments/{self.world.assignment_id('a1')}/{path}"
        answer = await self.gateway.request("POST", full_path, int(self.world.user_id(name)), **options)
        reason: str | None = answer.headers.get("x-moderation-reason")
        return reason

    async def mark(self, name: str, student: str, score: float) -> None:
        form = {"submission": {"score": score, "provisional": True}}
        await self.request("PUT", f"submissions/{self.world.user_id(student)}", name, json=form)


def in_days(days: int) -> str:
    at = datetime.now(UTC) + timedelta(days=days)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


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


async def test_marks_are_adjudicated_and_another_policy_is_tried_first(examiners: Examiners) -> None:
    for grader, score in (("ta1", 6), ("ta2", 9)):
        await examiners.mark(grader, "s0", score)
    policy = {"result": "mean", "within_points": "1"}
    refused = await examiners.ask(
        "POST", "set_adjudication_policy", status=400, json={"adjudication": {"result": "mode"}}
    )
    assert "result" in refused["message"]
    assert (await examiners.ask("GET", "adjudication", status=400))["message"]
    strict = await examiners.ask("POST", "set_adjudication_policy", json={"adjudication": policy})
    assert strict["adjudication"]["rounding"] == {"step": "0.01", "mode": "half_up"}
    await examiners.ask("POST", "adjudicate_provisional_grades", "ta1", 403, json={})

    done = await examiners.ask("POST", "adjudicate_provisional_grades", json={})
    by_student = {row["student_id"]: row for row in done["students"]}
    first = by_student[int(examiners.world.user_id("s0"))]
    assert (first["outcome"], first["failed"]) == ("needs_moderator", ["within_points"])
    assert done["counts"]["waiting"] == 5

    foretold = await examiners.ask("GET", "adjudication", params={"policy": json.dumps({"result": "mean"})})
    assert await examiners.ask("GET", "adjudication", "ta1", 403)
    row = next(row for row in foretold["students"] if row["student_id"] == first["student_id"])
    assert (row["score"], row["current_score"], row["differs"]) == ("7.5", None, True)
    await examiners.ask(
        "POST", "set_adjudication_policy", data={"adjudication[result]": "mean", "adjudication[marks]": "2"}
    )
    again = await examiners.ask(
        "POST", "adjudicate_provisional_grades", data={"student_ids[]": str(first["student_id"])}
    )
    assert again["students"] == [{name: row[name] for name in first}]
    state = await examiners.ask("GET", "state", AUDITOR)
    assert [(r["outcome"], r["stale"]) for r in state["adjudications"]].count(("agreed", False)) == 1


async def test_hidden_students_are_adjudicated_by_anonymous_id(examiners: Examiners) -> None:
    await examiners.configure(anonymous_grading=True, adjudication={"result": "highest"})
    foretold = await examiners.ask("GET", "adjudication")
    assert not any("student_id" in row for row in foretold["students"])
    wanted = foretold["students"][2]["anonymous_id"]
    done = await examiners.ask("POST", "adjudicate_provisional_grades", json={"student_ids": [wanted]})
    assert [row["anonymous_id"] for row in done["students"]] == [wanted]
    await examiners.ask("POST", "adjudicate_provisional_grades", status=404, json={"student_ids": [1]})
    explained = await examiners.ask("GET", f"students/{wanted}/explanation")
    assert explained["anonymous_id"] == wanted
    assert "student_id" not in explained
    hidden = examiners.world.user_id("s0")
    await examiners.ask("GET", f"students/{hidden}/explanation", status=404)


async def test_hidden_students_are_hidden_in_earlier_states_too(examiners: Examiners) -> None:
    await examiners.configure(adjudication={"result": "highest"})
    by_name = {
        "allocations": [{"grader_id": examiners.world.user_id("ta1"), "student_ids": [examiners.world.user_id("s0")]}]
    }
    await examiners.ask("POST", "allocate_submissions", json=by_name)
    for grader in ("ta1", "ta2"):
        await examiners.mark(grader, "s0", 7)
    version = (await examiners.ask("GET", "state", AUDITOR))["version"]
    assert any(
        "student_id" in row for row in (await examiners.ask("GET", f"adjudication?version={version}"))["students"]
    )

    await examiners.configure(anonymous_grading=True, adjudication={"result": "highest"})

    for path in ("adjudication", "allocation"):
        then = await examiners.ask("GET", f"{path}?version={version}")
        assert then["students"]
        assert [row for row in then["students"] if "student_id" in row] == []


async def test_graders_are_hidden_from_a_new_final_grader_in_earlier_states_too(examiners: Examiners) -> None:
    ta1, student = examiners.world.user_id("ta1"), examiners.world.user_id("s0")
    named = {"allocations": [{"grader_id": ta1, "student_ids": [student]}]}
    await examiners.ask("POST", "allocate_submissions", json=named)
    version = (await examiners.ask("GET", "state", AUDITOR))["version"]

    new_final_grader = examiners.world.user_id("ta2")
    await examiners.configure(final_grader_id=new_final_grader, grader_names_visible_to_final_grader=False)

    for path in ("allocation", f"allocation?version={version}"):
        shown = await examiners.ask("GET", path, "ta2")
        assert (shown["graders"], shown["students"]) == (None, [{"student_id": int(student), "grader_ids": None}])
        audited = await examiners.ask("GET", path, AUDITOR)
        assert audited["students"] == [{"student_id": int(student), "grader_ids": [int(ta1)]}]


async def test_revising_and_withdrawing_a_grade_each_emit_a_grade_change(examiners: Examiners) -> None:
    student = int(examiners.world.user_id("s0"))
    await examiners.mark("ta1", "s0", 7)
    revision = {"student_id": student, "posted_grade": "9", "reason": "Appeal: question 4."}
    early = await examiners.ask("POST", "revise_published_grade", status=400, json=revision)
    assert early["message"] == "Grades of this assignment have not been published"
    assert await examiners.read_reason("revise_published_grade", json=revision) == "not_published"
    assert await examiners.read_reason("revise_published_grade", "ta1", json=revision) == "unauthorized"
    await examiners.request("POST", "provisional_grades/publish", "fg")
    wrong = {**revision, "posted_grade": "?"}
    assert await examiners.read_reason("revise_published_grade", json=wrong) == "invalid_score"
    assert await examiners.read_reason("plan_publication") is None

    revised = await examiners.ask("POST", "revise_published_grade", json=revision)
    withdrawn = await examiners.ask(
        "POST", "withdraw_published_grade", data={"student_id": student, "reason": "Mistaken."}
    )

    assignment = int(examiners.world.assignment_id("a1"))
    own = {"assignment_id": assignment, "student_id": student, "excused": False}
    assert revised == {**own, "score": 9, "grade": "9", "entered_score": 9, "points_deducted": None}
    assert withdrawn == {**own, "score": None, "grade": None, "entered_score": None, "points_deducted": None}
    state = await examiners.ask("GET", "state", AUDITOR)
    submission = next(row for row in state["submissions"] if row["student_id"] == student)
    assert (submission["score"], submission["workflow_state"]) == (None, "unsubmitted")
    events = await examiners.ask("GET", "events?per_page=100", AUDITOR)
    told = [(event["event_type"], event["payload"]["reason"]) for event in events if "reason" in event["payload"]]
    assert told == [("grade_revised", "Appeal: question 4."), ("grade_withdrawn", "Mistaken.")]

    explained = await examiners.ask("GET", f"students/{student}/explanation")
    assert explained["sentence"].startswith("The grade 9 was withdrawn on ")
    changes = explained["trail"]
    assert [(row["event_type"], row["record"] is not None) for row in changes] == [
        ("provisional_grade_created", False), ("grade_published", True), ("grades_posted", False),
        ("grade_revised", True), ("grade_withdrawn", True),
    ]  # fmt: skip
    assert changes[3]["details"]["reason"] == "Appeal: question 4."
    await examiners.ask("GET", f"students/{student}/explanation", "ta1", 403)
    await examiners.ask("GET", f"students/{examiners.world.user_id('ta1')}/explanation", status=404)


async def test_a_publication_is_scheduled_replaced_and_cancelled(examiners: Examiners) -> None:
    await examiners.mark("ta1", "s0", 7)
    digest = (await examiners.ask("GET", "publication_plan"))["digest"]
    user = int(examiners.world.user_id("fg"))
    first = {"publish_at": in_days(1), "plan_digest": digest}
    assert await examiners.read_reason("cancel_scheduled_publication") == "not_scheduled"
    assert await examiners.read_reason("schedule_publication", json={"publish_at": in_days(-1)}) == "invalid_schedule"
    assert await examiners.read_reason("schedule_publication", json={"publish_at": in_days(401)}) == "invalid_schedule"
    assert await examiners.read_reason("schedule_publication", "ta1", json=first) == "unauthorized"
    await examiners.ask("POST", "schedule_publication", status=400, json={"plan_digest": digest})
    await examiners.ask("POST", "schedule_publication", status=400, json={"publish_at": "tomorrow"})
    other_plan = {**first, "plan_digest": f"sha256:{'0' * 64}"}
    assert await examiners.read_reason("schedule_publication", json=other_plan) == "plan_outdated"

    scheduled = await examiners.ask("POST", "schedule_publication", json=first)
    assert scheduled | first == scheduled | {"user_id": user}
    assert await examiners.ask("POST", "schedule_publication", json=first) == scheduled
    state = await examiners.ask("GET", "state", AUDITOR)
    shown = {**first, "user_id": user, "would_publish": True, "reason": None, "refused_with": None}
    assert state["scheduled_publication"] == shown
    await examiners.mark("ta1", "s0", 8)
    moved = (await examiners.ask("GET", "state", AUDITOR))["scheduled_publication"]
    assert moved == {**shown, "would_publish": False, "reason": "plan_outdated"}
    then = await examiners.ask("GET", "state", AUDITOR, params={"version": state["version"]})
    assert then["scheduled_publication"] == shown

    second = await examiners.ask("POST", "schedule_publication", data={"publish_at": in_days(2)})
    assert second["schedule_id"] != scheduled["schedule_id"]
    assert await examiners.ask("POST", "cancel_scheduled_publication") == second
    assert (await examiners.ask("GET", "state", AUDITOR))["scheduled_publication"] is None
    events = await examiners.ask("GET", "events", AUDITOR, params={"per_page": 100})
    names = [event["event_type"] for event in events if "schedule" in event["event_type"]]
    assert names == ["publication_scheduled", "publication_scheduled", "publication_schedule_cancelled"]


async def test_a_slot_without_a_grade_is_released_for_another_grader(examiners: Examiners) -> None:
    await examiners.configure(grader_count=1)
    comment = {"comment": {"text_comment": "Read."}, "submission": {"provisional": True}}
    await examiners.request("PUT", f"submissions/{examiners.world.user_id('s0')}", "ta1", json=comment)
    grader = int(examiners.world.user_id("ta1"))

    released = await examiners.ask("POST", "release_grader_slot", json={"grader_id": grader})

    assert released == {"assignment_id": int(examiners.world.assignment_id("a1")), "grader_id": grader}
    await examiners.mark("ta2", "s0", 7)
    state = await examiners.ask("GET", "state", AUDITOR)
    assert [row["slot_taken"] for row in state["moderation_graders"]] == [False, True]
    in_use = {"grader_id": int(examiners.world.user_id("ta2"))}
    await examiners.ask("POST", "release_grader_slot", status=409, json=in_use)


async def test_a_sample_is_drawn_for_a_hand_picked_set(examiners: Examiners) -> None:
    for name, score in (("s0", 2), ("s1", 6), ("s2", 8)):
        await examiners.mark("ta1", name, score)
    assert await examiners.read_reason("draw_moderation_sample", json={"at_least": 1}) == "invalid_sample"
    await examiners.configure(moderation_set="selected")
    await examiners.ask("POST", "draw_moderation_sample", status=400, json={"at_least": 1.5})
    await examiners.ask("POST", "draw_moderation_sample", status=400, json={"percent": 101})
    await examiners.ask("POST", "draw_moderation_sample", "ta1", 403, json={"at_least": 1})

    failing = await examiners.ask("POST", "draw_moderation_sample", data={"include[]": "failing"})

    student = int(examiners.world.user_id("s0"))
    assert failing["students"] == [{"student_id": student, "reasons": ["failing"], "added": True}]
    drawn = await examiners.ask("POST", "draw_moderation_sample", data={"percent": "50", "square_root": "true"})
    assert (drawn["students_with_mark"], drawn["sample_size"], drawn["added"]) == (3, 2, 1)
    state = await examiners.ask("GET", "state", AUDITOR)
    assert {row["student_id"]: row["sample_reasons"] for row in state["moderation_set"]} == {
        row["student_id"]: row["reasons"] for row in drawn["students"]
    }


async def test_allocated_submissions_are_kept_for_their_graders(examiners: Examiners) -> None:
    ta1, ta2, first, second = (int(examiners.world.user_id(name)) for name in ("ta1", "ta2", "s0", "s1"))
    even = {"evenly": {"grader_ids": [ta1, ta2], "marks": 1}}
    await examiners.ask("POST", "allocate_submissions", "ta1", 403, json=even)
    assert await examiners.read_reason("allocate_submissions", json={}) == "invalid_allocation"
    dealt = await examiners.ask("POST", "allocate_submissions", json=even)
    counts = [row["allocated"] for row in dealt["graders"]]
    assert sum(counts) == len(dealt["students"])
    assert max(counts) - min(counts) <= 1

    named = [{"grader_id": ta1, "student_ids": [first]}, {"grader_id": ta2, "student_ids": [second]}]
    await examiners.ask("POST", "allocate_submissions", json={"allocations": named, "enforced": True})
    refused = await examiners.request(
        "PUT", f"submissions/{second}", "ta1", 403, json={"submission": {"score": 7, "provisional": True}}
    )
    assert "allocated to other graders" in refused["errors"][0]["message"]
    await examiners.mark("ta1", "s0", 7)

    shown = await examiners.ask("GET", "allocation")
    state = await examiners.ask("GET", "state", AUDITOR)
    assert state["allocation"] == {name: shown[name] for name in ("enforced", "graders", "students")}
    own = next(row for row in shown["graders"] if row["grader_id"] == ta1)
    assert (own["entered"], own["remaining"]) == (1, own["allocated"] - 1)
    before = await examiners.ask("GET", f"allocation?version={state['version'] - 1}")
    assert [row["entered"] for row in before["graders"]] == [0, 0]
    await examiners.ask("GET", "allocation", "ta1", 403)
    await examiners.configure(anonymous_grading=True)
    hidden = await examiners.ask("GET", "allocation")
    wanted = hidden["students"][0]["anonymous_id"]
    named = [{"grader_id": ta2, "student_ids": [wanted]}]
    renamed = await examiners.ask("POST", "allocate_submissions", json={"allocations": named})
    assert {row["anonymous_id"]: row["grader_ids"] for row in renamed["students"]}[wanted] == [ta2]
    await examiners.ask(
        "POST", "allocate_submissions", status=404, json={"allocations": [{"grader_id": ta2, "student_ids": [first]}]}
    )
