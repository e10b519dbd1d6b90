"""Adding students to a hand-picked moderation set, while its students are hidden and while they are named."""

from typing import Any

import pytest

from services.moderation import ids
from tests.fixtures.in_memory_course import ANN, COURSE, ESSAY, FINAL_GRADER, TA1, moderated_course
from tests.fixtures.in_memory_gateway import CANVAS_PATH, InMemoryGateway

Json = dict[str, Any]
PATH = f"{CANVAS_PATH}/moderated_students"


def build_gateway(*, hidden: bool) -> InMemoryGateway:
    return InMemoryGateway(moderated_course(moderation_set="selected", anonymous_grading=hidden))


@pytest.mark.parametrize("hidden", [False, True])
@pytest.mark.parametrize(
    "sent", [{}, {"json": {"student_ids": None}}, {"json": {"student_ids": []}}, {"data": {"student_ids[]": ""}}]
)
async def test_list_without_students_is_refused_as_in_canvas_with_a_verdict(hidden: bool, sent: Json) -> None:
    gateway = build_gateway(hidden=hidden)

    answer = await gateway.request("POST", PATH, FINAL_GRADER, **sent)

    assert (answer.status_code, answer.json()) == (400, [])
    assert answer.headers["x-moderation-reason"] == "missing_student_ids"
    assert len(gateway.verdicts) == 1


@pytest.mark.parametrize("student_ids", [[ANN], [str(ANN)], ["zzzzz"], [None], [["a"]], {"0": "a"}, 7])
async def test_hidden_students_are_added_only_by_anonymous_id(student_ids: Any) -> None:
    gateway = build_gateway(hidden=True)

    answer = await gateway.request("POST", PATH, FINAL_GRADER, json={"student_ids": student_ids})

    assert answer.status_code == 400
    assert "anonymous ids" in answer.json()["message"]
    assert gateway.verdicts == []


async def test_hidden_student_is_added_by_anonymous_id_and_not_named() -> None:
    gateway = build_gateway(hidden=True)
    memory = gateway.memory
    anonymous_id = ids.anonymous_id(memory.courses[COURSE], memory.assignments[ESSAY], ANN)

    refused = await gateway.request("POST", PATH, FINAL_GRADER, json={"student_ids": [anonymous_id, ANN]})
    assert (refused.status_code, gateway.verdicts) == (400, [])
    for student_ids in ([anonymous_id], ["", anonymous_id], anonymous_id):
        answer = await gateway.request("POST", PATH, FINAL_GRADER, json={"student_ids": student_ids})
        assert [row["anonymous_id"] for row in answer.json()] == [anonymous_id]
        assert str(ANN) not in answer.text
    assert (await gateway.request("POST", PATH, TA1, json={"student_ids": [anonymous_id]})).status_code == 403
    assert memory.selections().keys() == {ANN}


async def test_hidden_students_are_answered_in_the_order_of_their_anonymous_ids() -> None:
    gateway = build_gateway(hidden=True)
    memory = gateway.memory
    for student in range(100, 120):
        memory.enroll(student, "Student")
    course, essay = memory.courses[COURSE], memory.assignments[ESSAY]
    anonymous_ids = [ids.anonymous_id(course, essay, student) for student in range(100, 120)]
    assert anonymous_ids != sorted(anonymous_ids)

    answer = await gateway.request("POST", PATH, FINAL_GRADER, json={"student_ids": anonymous_ids})

    assert [row["anonymous_id"] for row in answer.json()] == sorted(anonymous_ids)
