"""Commands after public bug reports of gradebooks, over Kafka; their effects on the topics and over HTTP."""

from typing import Any

import pytest

from tests.fixtures.canvas.field_cases import FIELD_CASES, PEOPLE, FieldCourse
from tests.fixtures.gateway_client import GatewayClient
from tests.fixtures.system import System

Json = dict[str, Any]
CASES = [case for case in FIELD_CASES if "http" not in case["check"]]


async def read_outputs(system: System, output: str, verdict: Json) -> list[Json]:
    """Return the records that a command caused on an output topic."""
    await system.client.wait_until_read(output)
    return [value for _, value in system.client.outputs_by_command.get((output, verdict["command_id"]), ())]


async def read_grade_changes(system: System, verdict: Json, student_id: int) -> list[Json]:
    """Return the bodies of the grade changes that a command caused for one student."""
    bodies = (value["body"] for value in await read_outputs(system, "live-events", verdict))
    return [body for body in bodies if body["student_id"] == str(student_id)]


async def check_published_grade(course: FieldCourse, verdict: Json, expected: Json) -> None:
    """Check the grade on both topics of published grades, and in the gateway's answer."""
    student = expected["student"]
    bodies = await read_grade_changes(course.system, verdict, student)
    assert [(body["grade"], body["score"]) for body in bodies] == [(expected["grade"], expected["score"])]
    scores = [
        event["generated"].get("scoreGiven")
        for envelope in await read_outputs(course.system, "caliper", verdict)
        for event in envelope["data"]
    ]
    assert scores == [expected["score"]]
    path = f"/api/v1/courses/{{c}}/assignments/{{a}}/submissions/{student}"
    answer = await course.send({"http": {"method": "GET", "path": path, "user": 11}})
    assert (answer.json()["grade"], answer.json()["score"]) == (expected["grade"], expected["score"])


async def check_posting(course: FieldCourse, verdict: Json, case: Json) -> None:
    """Check that posting tells a grade change of those who have a grade only, and an event of every student."""
    assert verdict["status"] == "accepted", verdict
    commands = [step["kafka"] for step in case["setup"]["steps"]]
    graded = [c["data"]["student_id"] for c in commands if c["type"] == "record_provisional_grade"]
    assert case["check"]["no_live"]["student"] not in graded
    changes = await read_outputs(course.system, "live-events", verdict)
    assert [change["body"]["student_id"] for change in changes] == list(map(str, graded))
    events = await course.system.client.wait_for_outputs("events", verdict["command_id"], verdict["events"])
    posted = sorted(event["student_id"] for kind, event in events if kind == "submission_posted")
    assert posted == [str(user) for user, role in PEOPLE if role == "StudentEnrollment"]


@pytest.mark.cases("bug reports over Kafka")
@pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES])
async def test_command_of_a_bug_report_is_decided_and_published_correctly(
    case: Json, running_system: System, gateway: GatewayClient
) -> None:
    course, check = FieldCourse(running_system, gateway), case["check"]
    await course.set_up(case["setup"])
    for step in case["input"]:
        verdict = await course.send(step)
    if "verdict" in check:
        assert {name: verdict[name] for name in check["verdict"]} == check["verdict"]
    elif "verdict_result_ids" in check:
        assert all(isinstance(row["id"], str) for row in verdict["result"])
        assert verdict["result"]
    elif "no_live" in check:
        await check_posting(course, verdict, case)
    else:
        await check_published_grade(course, verdict, check["live"])
