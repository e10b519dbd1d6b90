"""A seed repeats a fault run; its report lists the injected faults, recovery times and violations."""

import http.client
import random
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.faults import fault_run, http_load, servers
from tests.system.faults.__main__ import parse_arguments, schedule
from tests.system.faults.cells import load_cells
from tests.system.faults.checker.observations import Violation
from tests.system.faults.counted_load import longest_gaps
from tests.system.faults.evidence import new_folder
from tests.system.faults.fault_run import RETIRED, FaultRun, Skipped
from tests.system.faults.http_load import HttpLoad
from tests.system.faults.installation import Installation
from tests.system.faults.load import Load
from tests.system.faults.outcome import Outcome, Recovery
from tests.system.faults.release_goals import GOALS, SECONDS_MAX, describe_missed, until_goals_are_met
from tests.system.faults.report import BEGIN, END, format_report, replace_report
from tests.system.faults.servers import Servers
from tests.unit.faults import never_ready


def test_same_seed_chooses_the_same_cells() -> None:
    cells = list(load_cells().values())
    first, second = ([cell.name for cell in schedule(cells, None, random.Random(5))] for _ in range(2))
    assert first == second != [cell.name for cell in schedule(cells, None, random.Random(6))]
    assert sorted(first) == sorted(load_cells())


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultRun]:
    """A run whose servers are not started, with an installation that has no process yet."""
    monkeypatch.setattr(servers, "STATE", tmp_path)
    new = FaultRun(Servers(), tmp_path, 5)
    new.installation = Installation("shared", "127.0.0.1:1", "", tmp_path / "shared")
    yield new
    new.installation.close()


@pytest.mark.parametrize("draws", [1, 50])
def test_what_a_cell_chooses_does_not_depend_on_how_much_earlier_ones_drew(run: FaultRun, draws: int) -> None:
    chosen: list[float] = []
    run.inject("busy", lambda run: chosen.extend(run.chance.random() for _ in range(draws)))
    run.inject("later", lambda run: chosen.append(run.chance.random()))
    assert chosen[draws:] == [random.Random("5 cell 2").random()]


@pytest.mark.parametrize(
    "error", [subprocess.TimeoutExpired("handler", 60), http.client.IncompleteRead(b""), TimeoutError("not settled")]
)
def test_failure_is_noted_and_the_run_goes_on(run: FaultRun, error: Exception) -> None:
    with run.noting_failures():
        raise error
    (noted,) = run.outcome.errors
    assert type(error).__name__ in noted
    assert type(error).__name__ in (run.folder / "errors.txt").read_text()
    assert not run.outcome.is_clean


def start_never_ready(run: FaultRun, name: str) -> None:
    process = run.installation.add(name)
    process.module = never_ready.__name__
    process.start()


def test_cell_has_failed_while_a_process_never_becomes_ready(run: FaultRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fault_run, "READY_SECONDS_MAX", 3)
    start_never_ready(run, "handler")
    run.inject("kill_pair", lambda run: None)
    (error,) = run.outcome.errors
    assert error.startswith("kill_pair: TimeoutError: not within 3 s: handler-1 is ready")
    assert error.endswith(f"handler-1 {never_ready.REASON}")


def test_cell_that_leaves_a_process_ended_has_failed_unless_it_has_retired_it(run: FaultRun) -> None:
    process = run.installation.add("relay")
    run.inject("kill_relay", lambda run: None)
    assert run.outcome.errors == ["kill_relay: RuntimeError: not started again: relay-1"]
    process.name = RETIRED
    run.inject("rebalance", lambda run: None)
    assert len(run.outcome.errors) == 1


def test_run_has_failed_if_one_of_the_gateways_accepts_no_grade_at_the_end(
    run: FaultRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_load, "PROBE_SECONDS_MAX", 2)
    run.http = HttpLoad(Load(run.installation, 5, 1), 5)
    start_never_ready(run, "gateway")
    run.ask_gateways()
    assert run.outcome.errors == ["TimeoutError: not within 2 s: an answer of gateway-1"]
    assert 503 in {line["status"] for line in run.installation.history.lines if line["kind"] == "http_attempt"}


def test_run_that_is_repeated_keeps_the_evidence_of_the_first(tmp_path: Path) -> None:
    folders = [new_folder(tmp_path / "faults" / "7") for _ in range(3)]
    assert [folder.name for folder in folders] == ["7", "7-2", "7-3"]


@pytest.mark.parametrize(
    ("violations", "errors", "unchecked", "sentence"),
    [
        (0, 0, 0, "**No violation.**"),
        (0, 1, 0, "**No violation, 1 error.**"),
        (2, 3, 0, "**2 violations, 3 errors.**"),
        (0, 1, 1, "**Not checked: 1 of the installations, 1 error.**"),
        (1, 0, 2, "**Not checked: 2 of the installations, 1 violation.**"),
    ],
)
def test_report_promises_no_more_than_was_checked(violations: int, errors: int, unchecked: int, sentence: str) -> None:
    outcome = Outcome(5, violations=[Violation("I1", "lost")] * violations, errors=["an error"] * errors)
    outcome.unchecked = ["shared: not all could be read"] * unchecked
    text = format_report(outcome, "deploy/faults --seed 5")
    assert f"over HTTP. {sentence}" in text
    assert ("Not checked:\n\n- shared: not all could be read" in text) == bool(unchecked)


def test_drills_come_first_and_are_not_chosen_again() -> None:
    cells = [cell for cell in load_cells().values() if cell.kind in ("drills", "brokers")]
    drills = [cell.name for cell in cells if cell.kind == "drills"]
    for minutes in (None, 0.001):
        chosen = [cell.name for cell in schedule(cells, minutes, random.Random(5))]
        assert chosen[: len(drills)] == drills
        assert not set(drills) & set(chosen[len(drills) :])


def test_longest_gap_is_counted_in_the_stage_in_which_it_ends() -> None:
    stages = [("no fault", 0.0), ("broker killed", 10.0), ("standby promoted", 20.0)]
    arrivals = [1.0, 2.5, 9.0, 10.5, 19.0, 26.0, 27.0]
    assert longest_gaps(arrivals, stages) == {"no fault": 6.5, "broker killed": 8.5, "standby promoted": 7.0}


def test_run_before_a_release_ends_when_every_goal_is_met() -> None:
    injected: Counter[str] = Counter()
    cells = list(load_cells().values())
    for cell in until_goals_are_met(cells, injected, lambda: 2_000 * injected.total(), random.Random(5)):
        injected.update({fault: 1 for goal in GOALS if cell.name in goal.cells for fault in goal.faults[:1]})
    outcome = Outcome(5, faults=injected, recoveries=[Recovery(cell, 5.0, None) for cell in SECONDS_MAX])
    assert describe_missed(outcome, 2_000 * injected.total(), [], []) == []
    injected["broker killed"] = 49
    assert describe_missed(outcome, 99_999, [], []) == [
        "broker killed fewer than 50 times",
        "99,999 commands, fewer than 100,000",
    ]


def test_release_fails_if_a_cell_was_skipped_or_its_turn_did_not_come(run: FaultRun) -> None:
    def skip(run: FaultRun) -> None:
        raise Skipped("no tmpfs can be mounted")

    cells = ["fill_disk", "kill_handler", "shift_clock"]
    run.inject("kill_handler", lambda run: None)
    run.inject("fill_disk", skip)
    run.outcome.faults = {fault: goal.times for goal in GOALS for fault in goal.faults}
    run.outcome.recoveries = [Recovery(cell, seconds_max, None) for cell, seconds_max in SECONDS_MAX.items()]
    assert run.outcome.is_clean
    assert describe_missed(run.outcome, 100_000, cells, cells[:2]) == [
        "shift_clock: not run, and a release runs every cell",
        "fill_disk: no tmpfs can be mounted; a release runs every cell",
    ]


def test_release_fails_if_one_recovery_in_twenty_is_slower_than_the_target() -> None:
    outcome = Outcome(5, faults={fault: goal.times for goal in GOALS for fault in goal.faults})
    recoveries = [Recovery(cell, seconds_max, None) for cell, seconds_max in SECONDS_MAX.items()]
    recoveries += [Recovery("pause_broker", 60, None)] * 20
    handlers = [Recovery("kill_handler", 4.0, None)] * 18 + [Recovery("kill_handler", 9.0, None)]
    outcome.recoveries = [*recoveries, *handlers]
    assert describe_missed(outcome, 100_000, [], []) == []
    outcome.recoveries += handlers[-1:]
    assert describe_missed(outcome, 100_000, [], []) == [
        "kill_handler: 95% of 21 recoveries took up to 9.0 s, the target is 5 s"
    ]
    outcome.recoveries = recoveries[1:]
    assert describe_missed(outcome, 100_000, [], []) == ["kill_handler: no recovery was measured"]


def test_every_cell_says_in_a_sentence_what_it_injects() -> None:
    cells = load_cells()
    assert len(cells) >= 35
    assert [cell.name for cell in cells.values() if not cell.description.endswith(".")] == []


def test_unknown_cell_is_refused_before_anything_is_started(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse_arguments(["kill_handler", "kill_nothing"])
    assert "unknown: kill_nothing; nothing was started. deploy/faults --list" in capsys.readouterr().err


def test_page_that_cannot_take_the_report_is_refused_before_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.md"
    page.write_text("No marker.\n")

    for path in (page, tmp_path / "missing.md"):
        with pytest.raises(SystemExit):
            parse_arguments(["--report", str(path)])
        assert f"{path} is no page with the lines" in capsys.readouterr().err


def test_process_that_ends_by_itself_is_an_error_of_the_run() -> None:
    outcome = Outcome(5)
    outcome.note_exits([{"kind": "started", "process": "relay-1"}, {"kind": "ended", "process": "relay-1"}])
    assert outcome.is_clean
    outcome.note_exits([{"kind": "exit", "process": "relay-1", "code": 1}] * 2)
    assert not outcome.is_clean
    assert "- relay-1 ended by itself with code 1, 2 times" in format_report(outcome, "deploy/faults")


def test_report_replaces_the_one_on_the_page(tmp_path: Path) -> None:
    outcome = Outcome(5, seconds=600, commands=12_000, requests=90, faults={"handler killed": 3})
    outcome.recoveries = [Recovery("kill_postgres", seconds, 2.0) for seconds in (4.0, 3.0, 9.0)]
    outcome.violations = [Violation("I1", "acknowledged and without an outcome", "commands 3 @ 7", "a")]
    outcome.notes = ["six_hundred_commands: 600 commands, 600 verdicts"]
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nformer\n{END}\nafter\n")
    replace_report(page, format_report(outcome, "deploy/faults --seed 5"))
    text = page.read_text()
    assert "`deploy/faults --seed 5`: 3 faults in 10 minutes,\n12,000 commands over Kafka, 90 grades" in text
    assert "**1 violation.**" in text
    assert "| handler killed | 3 |" in text
    assert "| kill_postgres | 3 | ≤ 5 | 4.0 | 9.0 | 9.0 | 2.0 | 2.0 |" in text
    assert "- I1 commands 3 @ 7 command a: acknowledged and without an outcome" in text
    assert "Drills:\n\n- six_hundred_commands: 600 commands, 600 verdicts" in text
    assert (text.startswith("before\n"), text.endswith("after\n"), "former" in text) == (True, True, False)
