"""The checker finds wrong answers of gateways: to grades, to reads after a verdict, and the states at the end."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.fixtures.in_memory_course import ANN, TA1, TA2, moderated_course
from tests.fixtures.in_memory_gateway import CANVAS_PATH, InMemoryGateway
from tests.system.faults.checker.observations import Run
from tests.system.faults.http_load import read_score
from tests.unit.faults.observed_run import clean_run, find

GRADED = {"assignment": "1/1800"}


def the_state(run: Run, assignment: str = "1/1000") -> dict[str, Any]:
    state = run.states[assignment]
    assert state is not None
    return state


def serve_a_stale_state(run: Run) -> None:
    the_state(run)["provisional_grades"][0]["score"] = 6


def serve_no_selection(run: Run) -> None:
    the_state(run)["moderation_set"][0]["selected_provisional_grade_id"] = None


def serve_no_grade_of_a_student(run: Run) -> None:
    the_state(run)["submissions"].pop()


def serve_a_score_without_a_publication(run: Run) -> None:
    the_state(run, "1/1800")["submissions"][1]["score"] = 5


def serve_a_grade_of_a_student_who_has_none(run: Run) -> None:
    the_state(run)["submissions"].append({"student_id": 34, "score": 7, "grade": "7"})


def serve_a_selection_without_an_event(run: Run) -> None:
    the_state(run, "1/1800")["moderation_set"][0]["selected_provisional_grade_id"] = 9


def serve_no_row_of_a_student_with_a_selection(run: Run) -> None:
    the_state(run)["moderation_set"].clear()


def serve_another_grade_over_http(run: Run) -> None:
    the_state(run, "1/1800")["provisional_grades"][0]["score"] = 6


def read_no_state_of_what_was_graded_over_http(run: Run) -> None:
    del run.states["1/1800"]


def serve_no_state(run: Run) -> None:
    run.states["1/1000"] = None


def read_no_state(run: Run) -> None:
    run.states = {}


def answer_a_read(run: Run, status: int) -> None:
    line = {"kind": "state_not_served", "at": 199, "started_at": 198, "assignment": "1000", "body": ""}
    run.history.append({**line, "status": status})


def answer_a_read_with_an_error(run: Run) -> None:
    answer_a_read(run, 500)


def answer_a_read_as_if_nothing_were_there(run: Run) -> None:
    answer_a_read(run, 404)


def the_attempt(run: Run, status: int) -> dict[str, Any]:
    return next(line for line in run.lines("http_attempt") if line["status"] == status)


def answer_a_lost_verdict(run: Run) -> None:
    run.history.append({"kind": "http", "at": 99, "number": 6, "status": 200, **GRADED, "score": 6, "body": ""})


def answer_another_score(run: Run) -> None:
    next(run.lines("http"))["score"] = 4


def answer_no_score(run: Run) -> None:
    next(run.lines("http"))["score"] = None


def answer_a_grade_with_an_error(run: Run) -> None:
    next(run.lines("http")).update(status=500, body="An error occurred.")


def deny_a_grade_that_was_recorded(run: Run) -> None:
    the_attempt(run, 503)["request_id"] = "first request"


def name_another_pending_command(run: Run) -> None:
    the_attempt(run, 202)["command_id"] = "another"


def send_a_key_under_two_ids(run: Run) -> None:
    again = next(record for record in run.commands if "last request" in record.value)
    run.commands[run.commands.index(again)] = replace(again, value=again.value.replace("over http", "another"))


PLANTED = {
    serve_a_stale_state: {"I10"},
    serve_no_selection: {"I10"},
    serve_no_grade_of_a_student: {"I10"},
    serve_a_score_without_a_publication: {"I10"},
    serve_a_grade_of_a_student_who_has_none: {"I10"},
    serve_a_selection_without_an_event: {"I10"},
    serve_no_row_of_a_student_with_a_selection: {"I10"},
    serve_another_grade_over_http: {"I10"},
    read_no_state_of_what_was_graded_over_http: {"I10"},
    serve_no_state: {"I10"},
    read_no_state: {"I10"},
    answer_a_read_with_an_error: {"I13"},
    answer_a_read_as_if_nothing_were_there: {"I13"},
    answer_a_lost_verdict: {"I1"},
    answer_another_score: {"I1"},
    answer_no_score: {"I1"},
    answer_a_grade_with_an_error: {"I11"},
    deny_a_grade_that_was_recorded: {"I1"},
    name_another_pending_command: {"I2"},
    send_a_key_under_two_ids: {"I2"},
}


@pytest.mark.parametrize(("plant", "invariants"), PLANTED.items(), ids=lambda value: getattr(value, "__name__", ""))
def test_planted_fault_is_found_by_its_invariant(plant: Callable[[Run], None], invariants: set[str]) -> None:
    run = clean_run()
    plant(run)
    assert find(run) == invariants


async def test_score_of_the_grader_is_read_from_the_answer_of_a_gateway() -> None:
    memory = moderated_course()
    memory.grade(TA1, ANN, 7)
    form = {"submission[posted_grade]": "123", "submission[provisional]": "true"}
    answer = await InMemoryGateway(memory).request("PUT", f"{CANVAS_PATH}/submissions/{ANN}", TA2, data=form)
    assert answer.status_code == 200, answer.text
    assert read_score(answer.text) == 123


@pytest.mark.parametrize("body", ["", "[]", "{}", '{"provisional_grades": []}', '{"provisional_grades": [{}]}'])
def test_answer_without_a_grade_has_no_score(body: str) -> None:
    assert read_score(body) is None
