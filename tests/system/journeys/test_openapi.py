"""The gateway conforms to its OpenAPI document, checked by schemathesis with valid and invalid requests."""

import asyncio
import itertools
import sys
from pathlib import Path
from typing import Any

import pytest

from services.gateway.openapi_document import OPENAPI_FILE
from tests.fixtures.canvas.adapter import World
from tests.fixtures.gateway_client import GatewayClient
from tests.fixtures.system import System

Json = dict[str, Any]
EXAMPLES = 8
ASSIGNMENTS = [f"a{number}" for number in range(8)]
STUDENTS = [f"s{number}" for number in range(4)]
STATE_DEPENDENT_OPERATIONS = (
    "show_provisional_grade_status",
    "show_provisional_grade_status_for_anonymous_student",
    "select_provisional_grade",
    "select_students_for_moderation",
    "publish_provisional_grades",
    "grade_or_comment_submission",
    "grade_or_comment_submission_by_anonymous_id",
    "adjudicate_provisional_grades",
    "get_adjudication",
    "set_adjudication_policy",
    "release_grader_slot",
    "draw_moderation_sample",
    "schedule_publication",
    "cancel_scheduled_publication",
    "allocate_submissions",
    "revise_published_grade",
    "withdraw_published_grade",
    # version and at together
    "get_allocation",
    "get_assignment_state",
    "get_assignment_agreement",
)
CONFIGURATION_TEMPLATE = """
[phases.examples]
enabled = false

[generation]
max-examples = {examples}
deterministic = {deterministic}

# A list of too many items may exceed the body's size first, and an Idempotency-Key is used for one request alone.
[checks.negative_data_rejection]
expected-statuses = [400, 401, 403, 404, 405, 406, 409, 413, 415, 422, 428, 429]

[checks.positive_data_acceptance]
expected-statuses = ["2xx", 401, 403, 404, 409, 413, 422, 429]

# 400, 409 and 422 for the current state follow from no schema.
[[operations]]
include-operation-id = [{ruled}]
checks.positive_data_acceptance.expected-statuses = [200, 202, 400, 401, 403, 404, 409, 422]

[parameters]
{parameters}

[dictionaries]
{dictionaries}
"""


async def create_test_data(system: System, gateway: GatewayClient) -> dict[str, list[Any]]:
    """Create a course with several assignments, partly graded; return existing values by parameter name."""
    world = World()
    steps: list[Json] = [
        {"do": "enroll", "user": "fg", "role": "teacher"},
        {"do": "enroll", "user": "ta", "role": "ta"},
    ]
    steps += [{"do": "enroll", "user": name, "role": "student"} for name in STUDENTS]
    steps += [
        {"do": "assignment", "id": name, "moderated_grading": True, "grader_count": 2, "final_grader": "fg",
         "points_possible": 10, "grading_type": "points", "anonymous_grading": name == "a0"}
        for name in ASSIGNMENTS
    ]  # fmt: skip
    commands = [command for step in steps for command in world.given(step)]
    admin = {"user_id": world.user_id("fg"), "permissions": ["view_audit_trail"]}
    commands.append(world.command("upsert_admins", {"admins": [admin]}))
    graded = [
        world.operation({"operation": "grade", "actor": "ta", "assignment": assignment, "student": student, "score": 5,
                         "comment": "well"})
        for assignment, student in itertools.product(ASSIGNMENTS, STUDENTS[:3])
    ]  # fmt: skip
    for command in (*commands, *graded):
        await system.client.send(command)
    verdicts = [await system.client.wait_for_verdict(command["command_id"]) for command in (*commands, *graded)]
    assert {verdict["status"] for verdict in verdicts} == {"accepted"}
    caller, anonymous = int(world.user_id("fg")), world.assignment_id("a0")
    state = await gateway.request("GET", f"/api/moderation/v1/assignments/{anonymous}/state", caller)
    return {
        "caller": [caller],
        "anonymous_id": [row["anonymous_id"] for row in state.json()["submissions"]],
        "course_id": [str(world.course_id)],
        "assignment_id": list(map(str, world.assignments.values())),
        "user_id": [world.user_id(name) for name in STUDENTS],
        "student_id": [int(world.user_id(name)) for name in STUDENTS],
        "provisional_grade_id": [str(v["result"]["provisional_grade_id"]) for v in verdicts[-len(graded) :]],
        "command_id": [command["command_id"] for command in graded],
    }


def build_configuration(known_values: dict[str, list[Any]], examples: int) -> str:
    """Use existing values most of the time: unknown ones only give 404. More examples than usual depend on the seed."""
    path = ("course_id", "assignment_id", "user_id", "provisional_grade_id", "command_id")
    places = [
        *((name, "path") for name in path),
        ("student_id", "query"),
        *(("anonymous_id", p) for p in ("path", "query")),
    ]
    return CONFIGURATION_TEMPLATE.format(
        examples=examples,
        deterministic="true" if examples == EXAMPLES else "false",
        ruled=", ".join(f'"{name}"' for name in STATE_DEPENDENT_OPERATIONS),
        parameters="\n".join(
            f'"{place}.{name}" = {{dictionary = "{name}", probability = 0.85}}' for name, place in places
        ),
        dictionaries="\n".join(f"{name} = {{values = {known_values[name]!r}}}" for name in dict(places)),
    )


async def test_gateway_conforms_to_its_openapi_document(
    running_system: System, gateway: GatewayClient, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    known = await create_test_data(running_system, gateway)
    file = tmp_path / "schemathesis.toml"
    file.write_text(build_configuration(known, int(pytestconfig.getoption("--schema-examples"))))
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "schemathesis.cli",
        "--config-file",
        str(file),
        "run",
        str(OPENAPI_FILE),
        "--url",
        gateway.url,
        "--header",
        f"Authorization: {gateway.bearer(known['caller'][0])}",
        "--seed",
        str(1 + int(pytestconfig.getoption("--seed"))),
        "--suppress-health-check",
        "too_slow",
        "--no-color",
        "--continue-on-failure",
        "--generation-database",
        "none",
        "--no-shrink",
        cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()
