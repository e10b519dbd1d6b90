"""A course, its assignments and its users over HTTP, for users with a role in the course."""

import pytest

from tests.fixtures.canvas.adapter import World
from tests.fixtures.canvas.course_client import ROLES_BY_NAME, STUDENTS, CourseClient, moderated_course_commands
from tests.fixtures.gateway_client import GatewayClient
from tests.fixtures.system import LMS_URL, System

STRANGER = "a stranger"


@pytest.fixture
async def course_client(running_system: System, gateway: GatewayClient) -> CourseClient:
    client = CourseClient(World(), running_system, gateway)
    world = client.world
    settings = {"name": "Second", "points_possible": 5, "grading_type": "points", "moderated_grading": False}
    await client.send_accepted(
        *moderated_course_commands(world),
        world.command("upsert_course", {"name": "History", "account_id": 7}),
        world.command("configure_assignment", {**settings, "assigned_to": [world.user_id("s0")]}, "a2"),
    )
    return client


async def test_course_is_shown_to_users_with_a_role_in_it(course_client: CourseClient) -> None:
    world = course_client.world
    path = f"/api/v1/courses/{world.course_id}"
    seen = await course_client.request("GET", path, "fg")
    assert {name: seen[name] for name in ("id", "name", "course_code", "account_id", "sis_course_id")} == {
        "id": world.course_id, "name": "History", "course_code": "History", "account_id": 7,
        "sis_course_id": f"HIST {world.course_id}",
    }  # fmt: skip
    assert [row["role"] for row in seen["enrollments"]] == ["TeacherEnrollment"]
    student = await course_client.request("GET", f"/api/v1/courses/sis_course_id:HIST {world.course_id}", "s1")
    assert ("sis_course_id" in student, student["enrollments"][0]["type"]) == (False, "student")
    for tail in ("", "/assignments", f"/assignments/{world.assignment_id('a1')}", "/users", "/users/self"):
        await course_client.request("GET", path + tail, STRANGER, 403)
    await course_client.request("GET", "/api/v1/courses/999999999", "fg", 404)


async def test_assignments_are_listed_with_their_settings(course_client: CourseClient) -> None:
    world = course_client.world
    path, first, second = f"/api/v1/courses/{world.course_id}/assignments", *map(world.assignment_id, ("a1", "a2"))
    rows = await course_client.request("GET", path, "ta1")
    assert [row["id"] for row in rows] == [int(first), int(second)]
    one = await course_client.request("GET", f"{path}/{first}", "ta1")
    assert one == rows[0]
    assert (one["moderated_grading"], one["grader_count"], one["final_grader_id"], one["grades_published"]) == (
        True, 3, int(world.user_id("fg")), False,
    )  # fmt: skip
    assert one["html_url"] == f"{LMS_URL}/courses/{world.course_id}/assignments/{first}"
    assert [row["id"] for row in await course_client.request("GET", path, "s1")] == [int(first)]
    assert [row["id"] for row in await course_client.request("GET", path, "s0")] == [int(first), int(second)]
    await course_client.request("GET", f"{path}/{second}", "s1", 403)
    await course_client.configure(deleted=True)
    assert [row["id"] for row in await course_client.request("GET", path, "ta1")] == [int(second)]
    await course_client.request("GET", f"{path}/{first}", "ta1", 404)


async def test_users_are_listed_by_role_state_and_name(course_client: CourseClient) -> None:
    world = course_client.world
    path = f"/api/v1/courses/{world.course_id}/users"

    async def names(query: str, name: str = "fg") -> list[str]:
        return [row["name"] for row in await course_client.request("GET", f"{path}?per_page=100{query}", name)]

    assert await names("") == sorted(f"Named {name}" for name in ROLES_BY_NAME)
    assert await names("&enrollment_type[]=student") == [f"Named {name}" for name in STUDENTS]
    assert await names("&enrollment_type[]=ta&enrollment_type[]=teacher") == [
        "Named fg", "Named ta1", "Named ta2", "Named ta3",
    ]  # fmt: skip
    assert await names("&search_term=s3%40X") == ["Named s3"]
    assert await names("&search_term=s3%40X", "s1") == []
    assert await names(f"&user_ids[]={world.user_id('s2')}") == ["Named s2"]
    inactive = {"user_id": world.user_id("s4"), "type": "StudentEnrollment", "state": "inactive"}
    await course_client.send_accepted(world.command("upsert_enrollments", {"enrollments": [inactive]}))
    assert "Named s4" not in await names("")
    assert await names("&enrollment_state[]=inactive") == ["Named s4"]
    refused = await course_client.request("GET", f"{path}?enrollment_role=StudentEnrollment", "fg", 400)
    assert "enrollment_role" in refused["message"]
    include = {"include[]": "enrollments"}
    one = await course_client.request("GET", f"{path}/{world.user_id('s1')}", "fg", params=include)
    assert (one["login_id"], one["enrollments"][0]["enrollment_state"]) == ("s1@x.org", "active")
    assert "login_id" not in await course_client.request("GET", f"{path}/{world.user_id('s1')}", "s2")
    await course_client.request("GET", f"{path}/999999999", "fg", 404)
    own = await course_client.request("GET", "/api/v1/users/self", "s1")
    assert (own["id"], own["name"]) == (int(world.user_id("s1")), "Named s1")
    unknown = await course_client.request("GET", "/api/v1/users/self", STRANGER)
    assert (unknown["id"], unknown["name"]) == (int(world.user_id(STRANGER)), None)
