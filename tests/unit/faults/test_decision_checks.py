"""The checker finds decisions that the log before them does not demand."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.system.faults.checker.observations import Run
from tests.unit.faults.observed_run import clean_run, find
from tests.unit.faults.planting import decide_otherwise


def change_the_verdict(run: Run, command_id: str, **changes: Any) -> None:
    row = next(row for row in run.verdicts if row.command_id == command_id)
    decide_otherwise(run, row, **changes)


def refuse_a_valid_command(run: Run) -> None:
    change_the_verdict(run, "post", status="rejected", reason="not_found")


def refuse_after_an_unseen_publication(run: Run) -> None:
    change_the_verdict(run, "post", status="rejected", reason="not_published")


def accept_before_the_publication(run: Run) -> None:
    change_the_verdict(run, "early", status="accepted", reason=None)


def miss_a_selection(run: Run) -> None:
    created = next(event for event in run.events if event.command_id == "grade twice")
    run.events[run.events.index(created)] = replace(created, type="provisional_grade_selected")


def refuse_a_schedule_before_its_time(run: Run) -> None:
    late = next(record for record in run.commands if "publish_at" in record.value)
    run.commands[run.commands.index(late)] = replace(late, value=late.value.replace("2026", "2027"))


def take_a_repeated_command_for_another(run: Run) -> None:
    again = next(row for row in run.verdicts if row.body["duplicate"])
    decide_otherwise(run, again, duplicate=False, status="rejected", reason="command_id_reused", events=0)


PLANTED = {
    refuse_a_valid_command: {"I11"},
    refuse_after_an_unseen_publication: {"I11"},
    accept_before_the_publication: {"I11"},
    miss_a_selection: {"I11"},
    refuse_a_schedule_before_its_time: {"I11"},
    take_a_repeated_command_for_another: {"I11"},
}


@pytest.mark.parametrize(("plant", "invariants"), PLANTED.items(), ids=lambda value: getattr(value, "__name__", ""))
def test_planted_fault_is_found_by_its_invariant(plant: Callable[[Run], None], invariants: set[str]) -> None:
    run = clean_run()
    plant(run)
    assert find(run) == invariants


def test_command_id_that_is_used_for_another_command_may_be_refused() -> None:
    run = clean_run()
    take_a_repeated_command_for_another(run)
    repeated = next(row for row in run.verdicts if row.body["reason"] == "command_id_reused")
    record = next(r for r in run.commands if (r.source, r.partition, r.offset) == repeated.place)
    run.commands[run.commands.index(record)] = replace(record, value=record.value.replace("{}", '{"score": 6}'))
    assert find(run) == set()
