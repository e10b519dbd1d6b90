"""An adjudication policy is set and cleared over HTTP as on Kafka: only null or an empty field clears it."""

from typing import Any

import pytest

from tests.fixtures.in_memory_course import ESSAY, FINAL_GRADER, STRANGER, TA1, moderated_course
from tests.fixtures.in_memory_gateway import OWN_PATH, InMemoryGateway

Json = dict[str, Any]
PATH = f"{OWN_PATH}/set_adjudication_policy"


@pytest.fixture
async def gateway() -> InMemoryGateway:
    gateway = InMemoryGateway(moderated_course())
    answer = await gateway.request("POST", PATH, FINAL_GRADER, json={"adjudication": {"result": "mean"}})
    assert (answer.status_code, answer.json()["adjudication"]["result"]) == (200, "mean")
    return gateway


@pytest.mark.parametrize("sent", [{"json": {"adjudication": None}}, {"data": {"adjudication": ""}}])
async def test_null_or_an_empty_field_clears_the_policy(gateway: InMemoryGateway, sent: Json) -> None:
    answer = await gateway.request("POST", PATH, FINAL_GRADER, **sent)

    assert (answer.status_code, answer.json()["adjudication"]) == (200, None)
    assert gateway.memory.assignments[ESSAY].adjudication is None


async def test_empty_policy_is_refused_by_the_name_of_its_missing_field_and_clears_nothing(
    gateway: InMemoryGateway,
) -> None:
    answer = await gateway.request("POST", PATH, FINAL_GRADER, json={"adjudication": {}})

    assert answer.status_code == 400
    assert "result" in answer.json()["message"]
    assert gateway.memory.assignments[ESSAY].adjudication is not None


async def test_empty_division_of_students_is_refused_by_the_names_of_its_missing_fields() -> None:
    gateway = InMemoryGateway(moderated_course())
    named = [{"grader_id": TA1, "student_ids": []}]

    answer = await gateway.request(
        "POST", f"{OWN_PATH}/allocate_submissions", FINAL_GRADER, json={"allocations": named, "evenly": {}}
    )

    assert answer.status_code == 400
    assert "evenly.marks" in answer.json()["message"]


async def test_form_sends_the_number_of_marks_as_a_text(gateway: InMemoryGateway) -> None:
    form = {"adjudication[result]": "highest", "adjudication[marks]": "3"}

    answer = await gateway.request("POST", PATH, FINAL_GRADER, data=form)

    assert (answer.status_code, answer.json()["adjudication"]["marks"]) == (200, 3)


@pytest.mark.parametrize("caller", [FINAL_GRADER, TA1])
@pytest.mark.parametrize("marks", ["9" * 5_000, "٣", "²", "-2", "2.0", ""])
async def test_text_that_is_no_short_number_of_marks_is_refused(
    gateway: InMemoryGateway, caller: int, marks: str
) -> None:
    form = {"adjudication[result]": "highest", "adjudication[marks]": marks}

    answer = await gateway.request("POST", PATH, caller, data=form)

    assert answer.status_code == 400, answer.text
    assert "marks" in answer.json()["message"]


async def test_outsider_learns_nothing_from_an_invalid_policy(gateway: InMemoryGateway) -> None:
    answer = await gateway.request("POST", PATH, STRANGER, json={"adjudication": {}})

    assert answer.status_code == 404
