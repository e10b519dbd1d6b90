"""uw-restclients-canvas, the University of Washington's client, runs unchanged against the gateway.

Its typed models read fields that Canvas always sends, and it requests the next page by the whole URL of the link.
"""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from commonconf.backends import use_configparser_backend
from restclients_core.exceptions import DataFailureException
from uw_canvas import Canvas
from uw_canvas.assignments import Assignments
from uw_canvas.courses import Courses
from uw_canvas.models import Assignment, CanvasCourse, CanvasUser, Submission
from uw_canvas.submissions import Submissions
from uw_canvas.users import Users

from tests.fixtures.canvas.adapter import World
from tests.fixtures.canvas.course_client import ROLES_BY_NAME, STUDENTS, CourseClient, moderated_course_commands
from tests.fixtures.canvas.http_adapter import assignment_path
from tests.fixtures.gateway_client import GatewayClient
from tests.fixtures.system import LMS_URL, System

Json = dict[str, Any]
GRADE = {"submission": {"posted_grade": "8.5", "provisional": True}, "comment": {"text_comment": "well argued"}}


@dataclass
class WashingtonClient:
    """The client's calls for the people of a course with one moderated assignment; they block."""

    course: CourseClient
    settings: Path

    @property
    def course_id(self) -> int:
        return self.course.world.course_id

    @property
    def assignment_path(self) -> str:
        return assignment_path(self.course.world, "a1")

    def user_id(self, name: str) -> int:
        return int(self.course.world.user_id(name))

    def sign_in(self, name: str) -> None:
        """Make the next calls those of one person, by the settings file that users of the client write."""
        token = self.course.gateway.bearer(self.user_id(name)).removeprefix("Bearer ")
        self.settings.write_text(
            "[canvas]\nRESTCLIENTS_CANVAS_DAO_CLASS=Live\n"
            f"RESTCLIENTS_CANVAS_HOST={self.course.gateway.url}\nRESTCLIENTS_CANVAS_OAUTH_BEARER={token}\n"
        )
        use_configparser_backend(str(self.settings), "canvas")

    def list_assignments(self) -> list[Assignment]:
        assignments: list[Assignment] = Assignments().get_assignments(self.course_id)
        return assignments

    def list_submissions(self) -> list[Submission]:
        submissions: list[Submission] = Submissions().get_submissions_by_course_and_assignment(
            self.course_id, self.course.world.assignment_id("a1")
        )
        return submissions

    def put(self, path: str, body: Json) -> Json:
        answer: Json = Canvas()._put_resource(f"{self.assignment_path}/{path}", body)
        return answer


@pytest.fixture
async def client(running_system: System, gateway: GatewayClient, tmp_path: Path) -> WashingtonClient:
    course = CourseClient(World(), running_system, gateway)
    course_facts = course.world.command("upsert_course", {"name": "History", "account_id": "7"})
    await course.send_accepted(*moderated_course_commands(course.world), course_facts)
    return WashingtonClient(course, tmp_path / "settings.cfg")


async def test_uw_canvas_reads_the_course_and_its_users(client: WashingtonClient) -> None:
    def look() -> None:
        client.sign_in("ta1")
        assert Users().get_user("self").user_id == client.user_id("ta1")
        for course in (
            Courses().get_course(client.course_id), Courses().get_course_by_sis_id(f"HIST {client.course_id}")
        ):  # fmt: skip
            assert isinstance(course, CanvasCourse)
            assert (course.course_id, course.name, course.account_id) == (client.course_id, "History", 7)
            assert (course.is_public, course.course_url) == (None, f"{LMS_URL}/courses/{client.course_id}")

        (assignment,) = client.list_assignments()
        assert (assignment.name, assignment.points_possible, assignment.has_submissions) == ("a1", 10, False)
        assert (assignment.integration_id, assignment.integration_data) == (None, {})

        users: list[CanvasUser] = Users().get_users_for_course(client.course_id, {"include": ["enrollments"]})
        assert {user.name for user in users} == {f"Named {name}" for name in ROLES_BY_NAME}
        enrollment = users[0].enrollments[0]
        assert enrollment.course_url == f"{LMS_URL}/courses/{client.course_id}"

    await asyncio.to_thread(look)


async def test_uw_canvas_follows_absolute_page_links(client: WashingtonClient) -> None:
    def list_by_two() -> list[Json]:
        client.sign_in("ta1")
        users: list[Json] = Canvas()._get_resource(f"/api/v1/courses/{client.course_id}/users", {"per_page": 2})
        return users

    listed = await asyncio.to_thread(list_by_two)
    assert [user["name"] for user in listed] == sorted(f"Named {name}" for name in ROLES_BY_NAME)


async def test_uw_canvas_runs_a_moderation_to_its_publication(client: WashingtonClient) -> None:
    def moderate() -> None:
        student = client.user_id("s1")
        client.sign_in("ta1")
        graded = client.put(f"submissions/{student}", GRADE)
        provisional_grade = graded["provisional_grades"][0]
        assert (provisional_grade["grade"], provisional_grade["scorer_id"]) == ("8.5", client.user_id("ta1"))
        with pytest.raises(DataFailureException) as refused:
            client.put(f"provisional_grades/{provisional_grade['provisional_grade_id']}/select", {})
        assert refused.value.status == 403

        client.sign_in("fg")
        selected = client.put(f"provisional_grades/{provisional_grade['provisional_grade_id']}/select", {})
        assert selected["student_id"] == student
        published = Canvas()._post_resource(f"{client.assignment_path}/provisional_grades/publish", {})
        assert published == {"message": "OK"}

        submissions = client.list_submissions()
        scores = [submission.score for submission in submissions]
        assert scores == [8.5 if name == "s1" else None for name in STUDENTS]
        lms_path = client.assignment_path.removeprefix("/api/v1")
        assert submissions[1].preview_url == f"{LMS_URL}{lms_path}/submissions/{student}?preview=1"

    await asyncio.to_thread(moderate)
