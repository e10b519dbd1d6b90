"""canvasapi from PyPI runs unchanged against the gateway."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from canvasapi import Canvas
from canvasapi.assignment import Assignment
from canvasapi.exceptions import BadRequest, Forbidden, InvalidAccessToken, ResourceDoesNotExist
from canvasapi.submission import Submission

from tests.fixtures.canvas.adapter import World
from tests.fixtures.gateway_client import GatewayClient
from tests.fixtures.system import LMS_URL, System

pytestmark = pytest.mark.filterwarnings("ignore:Canvas may respond unexpectedly when making requests to HTTP URLs")
Json = dict[str, Any]
STUDENTS = [f"s{number}" for number in range(12)]


@dataclass
class CanvasApiCourse:
    """A course of twelve with one moderated assignment, and canvasapi for each of its people."""

    world: World
    gateway: GatewayClient

    def canvas(self, name: str) -> Canvas:
        token = self.gateway.bearer(int(self.world.user_id(name))).removeprefix("Bearer ")
        return Canvas(self.gateway.url, token)

    def assignment(self, name: str) -> Assignment:
        course = self.canvas(name).get_course(self.world.course_id)
        assignment: Assignment = course.get_assignment(int(self.world.assignment_id("a1")))
        return assignment

    def submission(self, name: str, student: str) -> Submission:
        submission: Submission = self.assignment(name).get_submission(int(self.world.user_id(student)))
        return submission


@pytest.fixture
async def desk(running_system: System, gateway: GatewayClient) -> CanvasApiCourse:
    world = World()
    steps: list[Json] = [{"do": "enroll", "user": "fg", "role": "teacher"}]
    steps += [{"do": "enroll", "user": name, "role": "ta"} for name in ("ta1", "ta2")]
    steps += [{"do": "enroll", "user": name, "role": "student"} for name in STUDENTS]
    steps += [
        {"do": "assignment", "id": "a1", "moderated_grading": True, "grader_count": 2, "final_grader": "fg",
         "points_possible": 10, "grading_type": "points"},
        {"do": "set_moderation_set", "assignment": "a1", "students": []},
    ]  # fmt: skip
    commands = [command for step in steps for command in world.given(step)]
    names = [{"user_id": world.user_id(name), "name": f"Student {name}"} for name in STUDENTS]
    commands.append(world.command("upsert_users", {"users": names}))
    for command in commands:
        await running_system.client.send(command)
    for command in commands:
        assert (await running_system.client.wait_for_verdict(command["command_id"]))["status"] == "accepted"
    return CanvasApiCourse(world, gateway)


async def run_in_thread(work: Callable[[], Any]) -> Any:
    """Run blocking canvasapi calls in a thread."""
    return await asyncio.to_thread(work)


async def test_canvasapi_runs_a_complete_moderation(desk: CanvasApiCourse) -> None:
    def season() -> None:
        moderator, grader = desk.assignment("fg"), desk.assignment("ta1")
        ids = [int(desk.world.user_id(name)) for name in STUDENTS]

        chosen = list(moderator.select_students_for_moderation(student_ids=ids))
        assert [user.id for user in chosen] == ids
        # canvasapi asks for pages of 100 unless told otherwise: it follows our Link header through pages of five.
        listed = list(moderator.get_students_selected_for_moderation(per_page=5))
        assert [(user.id, user.name) for user in listed] == [
            (number, f"Student {name}") for number, name in zip(ids, STUDENTS, strict=True)
        ]

        assert grader.get_provisional_grades_status(ids[0]) is True
        edited = desk.submission("ta1", "s0").edit(
            submission={"posted_grade": "8.50", "provisional": True}, comment={"text_comment": "See page 3 & 4"}
        )
        own = edited.provisional_grades[0]
        assert (own["score"], own["grade"], own["final"], own["scorer_id"]) == (8.5, "8.5", False, grader_id)
        assert own["submission_comments"][0]["comment"] == "See page 3 & 4"
        assert own["speedgrader_url"].startswith(f"{LMS_URL}/courses/{desk.world.course_id}/gradebook/speed_grader?")
        desk.submission("ta2", "s0").edit(submission={"posted_grade": "6", "provisional": True})
        desk.submission("ta1", "s1").edit(submission={"posted_grade": "9", "provisional": True})
        final = desk.submission("fg", "s0").edit(
            submission={"posted_grade": "7", "provisional": True, "final": True}, comment={"text_comment": "between"}
        )
        assert [grade["final"] for grade in final.provisional_grades] == [False, False, True]
        assert [c["comment"] for c in final.provisional_grades[2]["submission_comments"]] == ["between"]

        picked = moderator.selected_provisional_grade(own["provisional_grade_id"])
        assert picked["selected_provisional_grade_id"] == own["provisional_grade_id"]
        second = desk.submission("fg", "s1").edit(submission={"posted_grade": "10", "provisional": True})
        wanted = [final.provisional_grades[2]["provisional_grade_id"], *(
            grade["provisional_grade_id"] for grade in second.provisional_grades[:1]
        )]  # fmt: skip
        bulk = moderator._requester.request(
            "PUT",
            f"courses/{desk.world.course_id}/assignments/{moderator.id}/provisional_grades/bulk_select",
            provisional_grade_ids=wanted,
        )
        assert [row["selected_provisional_grade_id"] for row in bulk.json()] == wanted
        assert moderator.publish_provisional_grades()["message"] == "OK"
        with pytest.raises(BadRequest):
            grader.get_provisional_grades_status(ids[0])

    grader_id = int(desk.world.user_id("ta1"))
    await run_in_thread(season)


async def test_canvasapi_reads_the_anonymous_status(desk: CanvasApiCourse, running_system: System) -> None:
    anonymous = desk.world.command("configure_assignment", {"anonymous_grading": True}, "a1")
    stated = desk.world.command(
        "record_submission", {"student_id": desk.world.user_id("s0"), "anonymous_id": "12345"}, "a1"
    )
    for command in (anonymous, stated):
        assert (await running_system.client.send_and_wait(command))["status"] == "accepted"
    assert await run_in_thread(lambda: desk.assignment("ta1").show_provisonal_grades_for_student(12345)) is True
    with pytest.raises(ResourceDoesNotExist):
        await run_in_thread(lambda: desk.assignment("ta1").show_provisonal_grades_for_student(99999))


async def test_canvasapi_reads_the_course_and_its_users(desk: CanvasApiCourse) -> None:
    def look() -> None:
        canvas = desk.canvas("ta1")
        assert canvas.get_current_user().id == int(desk.world.user_id("ta1"))
        course = canvas.get_course(desk.world.course_id)
        assert (course.id, course.enrollments[0]["type"]) == (desk.world.course_id, "ta")
        assert [assignment.name for assignment in course.get_assignments()] == ["a1"]
        assert str(course.get_assignment(int(desk.world.assignment_id("a1")))).startswith("a1")
        students = list(course.get_users(enrollment_type=["student"], per_page=5))
        assert [user.name for user in students] == sorted(f"Student {name}" for name in STUDENTS)
        assert len(list(course.get_users())) == len(STUDENTS) + 3
        gradeable = list(course.get_assignment(int(desk.world.assignment_id("a1"))).get_gradeable_students())
        assert [user.id for user in gradeable] == [int(desk.world.user_id(name)) for name in STUDENTS]
        assert course.get_user(gradeable[0].id).name == "Student s0"

    await run_in_thread(look)


async def test_canvasapi_raises_its_own_errors_for_rejections(desk: CanvasApiCourse) -> None:
    with pytest.raises(Forbidden):
        await run_in_thread(lambda: list(desk.assignment("ta1").get_students_selected_for_moderation()))
    with pytest.raises(ResourceDoesNotExist):
        await run_in_thread(lambda: desk.assignment("fg").selected_provisional_grade(1))
    with pytest.raises(InvalidAccessToken):
        await run_in_thread(lambda: Canvas(desk.gateway.url, "abc").get_course(desk.world.course_id))
    graded = {"posted_grade": "very good", "provisional": True}
    with pytest.raises(BadRequest) as refused:
        await run_in_thread(lambda: desk.submission("ta1", "s0").edit(submission=graded))
    assert "Assignment::GradeError" in str(refused.value)
