"""The checker, the report and the check of a saved run name each invariant for which there was nothing to check."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy.local.paths import ROOT
from tests.system.faults.checker import check
from tests.system.faults.checker.inputs import INPUTS, find_missing_inputs
from tests.system.faults.checker.observations import Run
from tests.system.faults.outcome import Outcome
from tests.system.faults.report import format_report
from tests.unit.faults.observed_run import clean_run

NOT_REDELIVERED = "I12: nothing was delivered again on purpose"


def take_snapshots_only_at_the_end(run: Run) -> None:
    del run.snapshots[:-1]
    run.history = [line for line in run.history if line["kind"] != "watched"]


def read_no_state(run: Run) -> None:
    run.states = {}
    run.history = [line for line in run.history if line["kind"] not in ("state", "http")]


def read_states_only_before_verdicts(run: Run) -> None:
    for line in run.lines("state"):
        line["started_at"] = 0


def sample_no_process(run: Run) -> None:
    run.history = [line for line in run.history if line["kind"] not in ("watched", "sample")]


def send_nothing_over_http(run: Run) -> None:
    run.history = [line for line in run.history if line["kind"] not in ("http", "http_attempt")]


def read_no_topic(run: Run) -> None:
    run.readers, run.uncommitted, run.states = {}, {}, {}
    run.history = [line for line in run.history if line["kind"] not in ("http", "state")]


TAKEN_AWAY: dict[Callable[[Run], None], set[str]] = {
    take_snapshots_only_at_the_end: {"I8"},
    read_no_state: {"I10", "I13"},
    read_states_only_before_verdicts: {"I13"},
    sample_no_process: {"I16"},
    send_nothing_over_http: {"I1, I2, I11 over HTTP"},
    read_no_topic: {"I1, I2, I4-I7, I14 on topics", "I10", "I13"},
}


@pytest.mark.parametrize("take_away", TAKEN_AWAY, ids=lambda function: function.__name__)
def test_run_names_what_it_had_nothing_to_check_of(take_away: Callable[[Run], None]) -> None:
    run = clean_run()
    assert find_missing_inputs(run) == [NOT_REDELIVERED]
    take_away(run)
    assert check(run) == []
    named = {text.partition(":")[0] for text in find_missing_inputs(run)}
    assert named == {"I12"} | TAKEN_AWAY[take_away]


def test_run_of_nothing_names_every_input() -> None:
    assert find_missing_inputs(Run()) == list(INPUTS)


def test_report_names_it_by_cell_and_is_clean() -> None:
    outcome = Outcome(5)
    for cell in ("add_partitions", "install_twice", "add_partitions"):
        outcome.note_missing_inputs(cell, [NOT_REDELIVERED])
    outcome.note_missing_inputs("the shared installation", [])
    text = format_report(outcome, "deploy/faults --seed 5")
    assert f"\n- add_partitions, install_twice: {NOT_REDELIVERED}\n" in text
    assert "shared" not in text
    assert outcome.is_clean


def test_saved_run_that_is_checked_again_names_it(tmp_path: Path) -> None:
    run = clean_run()
    sample_no_process(run)
    run.save(tmp_path)
    command = [sys.executable, "-m", "tests.system.faults.checker", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        f"not checked: {NOT_REDELIVERED}",
        "not checked: I16: no sample",
        "0 violations",
    ]
