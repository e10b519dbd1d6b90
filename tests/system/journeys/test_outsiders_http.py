"""A caller without a role in the course gets the same answer from an operation for any course or id."""

from typing import Any

import pytest

from tests.fixtures.canvas.adapter import World
from tests.fixtures.canvas.course_client import CourseClient, moderated_course_commands
from tests.fixtures.curious_grader import render
from tests.fixtures.gateway_client import GatewayClient
from tests.fixtures.openapi_requests import build_requests, load_operations
from tests.fixtures.system import System

Json = dict[str, Any]
STRANGER = "a stranger"
NOBODY = "999999999"


@pytest.fixture(scope="module")
async def course_client(running_system: System, gateway: GatewayClient) -> CourseClient:
    client = CourseClient(World(), running_system, gateway)
    await client.send_accepted(*moderated_course_commands(client.world))
    return client


def known_and_unknown_values(client: CourseClient) -> Json:
    """Return values of which the first ones exist in the course and the last one nowhere."""
    world = client.world
    student = world.user_id("s1")
    return {
        "course_id": [world.course_id],
        "assignment_id": [world.assignment_id("a1"), NOBODY],
        "user_id": [student, "sis_login_id:s1@x.org", "sis_user_id:SIS s1", NOBODY, "sis_login_id:nobody@x.org"],
        "student_id": [student, NOBODY],
        "student_ids": [[student], [NOBODY]],
        "anonymous_id": ["zzzzz"],
        "provisional_grade_id": ["1", NOBODY],
        "provisional_grade_ids": [["1"]],
        "submission": [{"posted_grade": "5"}, {"posted_grade": "5", "provisional": True}],
    }


async def test_outsider_gets_one_answer_from_each_operation(course_client: CourseClient) -> None:
    world, gateway = course_client.world, course_client.gateway
    answers: dict[str, set[str]] = {}
    for operation in load_operations():
        for request in build_requests(operation, known_and_unknown_values(course_client)):
            options: Json = {"params": request.params} | ({} if request.body is None else {"json": request.body})
            answer = await gateway.request(request.method, request.path, int(world.user_id(STRANGER)), **options)
            answers.setdefault(operation.operation_id, set()).add(render(answer))
    assert len(answers) > 20
    assert {name: told for name, told in answers.items() if len(told) > 1} == {}
    statuses = {name: next(iter(told))[:3] for name, told in answers.items() if name != "get_current_user"}
    # A malformed request gets 400 from every caller, before anything is looked up.
    assert set(statuses.values()) <= {"400", "403", "404"}, statuses
