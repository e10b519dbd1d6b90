"""A late policy from the LMS's fact to the published grade, on every topic and over HTTP."""

from typing import Any

import pytest

from tests.fixtures.canvas.field_cases import FieldCourse
from tests.fixtures.gateway_client import GatewayClient
from tests.fixtures.system import System
from tests.system.journeys.test_field_cases import read_grade_changes, read_outputs

Json = dict[str, Any]
MODERATOR, GRADER, LATE, PUNCTUAL = 11, 21, 31, 32
TEN_PERCENT_A_DAY = {
    "late_submission_deduction_enabled": True, "late_submission_deduction": 10, "late_submission_interval": "day",
    "late_submission_minimum_percent_enabled": False, "late_submission_minimum_percent": 0,
}  # fmt: skip
SECONDS_LATE = 25 * 3_600


def submission(student: int, seconds_late: int) -> Json:
    data = {"student_id": student, "submitted_at": "2026-01-02T09:00:00Z", "seconds_late": seconds_late}
    return {"kafka": {"type": "record_submission", "data": data}}


def provisional_grade(student: int, score: int) -> Json:
    path = f"/api/v1/courses/{{c}}/assignments/{{a}}/submissions/{student}"
    form = {"submission[posted_grade]": str(score), "submission[provisional]": "true"}
    return {"http": {"method": "PUT", "path": path, "user": GRADER, "form": form}}


@pytest.fixture
async def course(running_system: System, gateway: GatewayClient) -> FieldCourse:
    """Create a course with one submission a day and an hour late, one in time, both graded with 85 of 100."""
    course = FieldCourse(running_system, gateway)
    steps = [submission(LATE, SECONDS_LATE), submission(PUNCTUAL, 0)]
    steps += [provisional_grade(student, 85) for student in (LATE, PUNCTUAL)]
    await course.set_up({"course": {"late_policy": TEN_PERCENT_A_DAY}, "assignment": {}, "steps": steps})
    return course


async def test_publication_deducts_points_and_shows_the_entered_score(course: FieldCourse) -> None:
    publication = {"type": "publish_provisional_grades", "data": {}, "actor": MODERATOR}
    verdict = await course.send_command(publication)
    published = {}
    for student in (LATE, PUNCTUAL):
        [body] = await read_grade_changes(course.system, verdict, student)
        published[student] = (body["score"], body["grade"])
    assert published == {LATE: (65.0, "65"), PUNCTUAL: (85.0, "85")}
    scores = [
        event["generated"]["scoreGiven"]
        for envelope in await read_outputs(course.system, "caliper", verdict)
        for event in envelope["data"]
    ]
    assert sorted(scores) == [65.0, 85.0]
    events = [event for event in await read_outputs(course.system, "events", verdict) if event["student_id"]]
    deductions = {
        event["student_id"]: [float(event["payload"][name] or 0) for name in ("entered_score", "points_deducted")]
        for event in events
    }
    assert deductions == {str(LATE): [85, 20], str(PUNCTUAL): [85, 0]}


async def test_gradebook_over_http_shows_the_deduction_after_publication(course: FieldCourse) -> None:
    publish = {"method": "POST", "path": "/api/v1/courses/{c}/assignments/{a}/provisional_grades/publish"}
    assert (await course.send_request({**publish, "user": MODERATOR})).status_code == 200
    path = f"/api/v1/courses/{{c}}/assignments/{{a}}/submissions/{LATE}"
    shown = (await course.send_request({"method": "GET", "path": path, "user": MODERATOR})).json()
    names = ("score", "grade", "entered_score", "entered_grade", "points_deducted", "late", "seconds_late")
    assert [shown[name] for name in names] == [65, "65", 85, "85", 20, True, SECONDS_LATE]


async def test_later_lms_fact_about_lateness_emits_no_grade_change(course: FieldCourse) -> None:
    await course.send_command({"type": "publish_provisional_grades", "data": {}, "actor": MODERATOR})
    fact = {"student_id": LATE, "late_policy_status": "none", "score": 85, "grade": "85"}
    verdict = await course.send_command({"type": "record_submission", "data": fact})
    assert verdict["status"] == "accepted"
    assert not await read_outputs(course.system, "live-events", verdict)
