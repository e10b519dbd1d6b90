"""The checker finds wrong answers of gateways: to grades, to reads after a verdict, and the states at the end."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.system.faults.checker.observations import Run
from tests.unit.faults.observed_run import clean_run, find


def the_state(run: Run) -> dict[str, Any]:
    state = run.states["1/1000"]
    assert state is not None
    return state


def serve_a_stale_state(run: Run) -> None:
    the_state(run)["provisional_grades"][0]["score"] = 6


def serve_no_selection(run: Run) -> None:
    the_state(run)["moderation_set"][0]["selected_provisional_grade_id"] = None


def serve_no_grade_of_a_student(run: Run) -> None:
    the_state(run)["submissions"].pop()


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
    run.history.append({"kind": "http", "at": 99, "number": 6, "status": 200, "body": ""})


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
    serve_no_state: {"I10"},
    read_no_state: {"I10"},
    answer_a_read_with_an_error: {"I13"},
    answer_a_read_as_if_nothing_were_there: {"I13"},
    answer_a_lost_verdict: {"I1"},
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
