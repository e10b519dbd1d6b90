"""The checker finds verdicts that are not their command's own, and repeated commands that get another one."""

from typing import Any

import pytest

from tests.system.faults.checker import check
from tests.system.faults.checker.observations import LogVerdict, Run
from tests.unit.faults.observed_run import clean_run, find
from tests.unit.faults.planting import decide_otherwise


def the_duplicate(run: Run) -> LogVerdict:
    return next(row for row in run.verdicts if row.body["duplicate"])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(
            ("assignment_id", "9"),
            ("status", "rejected"),
            ("reason", "unauthorized"),
            ("events", 0),
            ("stream_version", 9),
        ),
        *(("result", {"provisional_grade_id": "2"}), ("decided_at", "2026-02-01T00:00:00+00:00"), ("message", None)),
    ],
)
def test_repeated_command_that_gets_another_verdict_is_found(name: str, value: Any) -> None:
    run = clean_run()
    first = next(row for row in run.verdicts if row.command_id == the_duplicate(run).command_id)
    decide_otherwise(run, first, message="OK")
    decide_otherwise(run, the_duplicate(run), message="OK")
    assert check(run) == []
    decide_otherwise(run, the_duplicate(run), **{name: value})
    assert find(run) == {"I2"}


def test_repeated_command_that_gets_the_verdict_of_another_one_is_found() -> None:
    run = clean_run()
    duplicate = the_duplicate(run)
    other = next(row for row in run.verdicts if row.command_id == "grade 32")
    decide_otherwise(run, duplicate, **{**other.body, "command_id": duplicate.command_id, "duplicate": True})
    assert find(run) == {"I2"}


def test_verdict_with_the_id_of_another_command_is_found() -> None:
    run = clean_run()
    row = next(row for row in run.verdicts if row.command_id == "post")
    decide_otherwise(run, row, command_id="early")
    assert find(run) == {"I2"}
