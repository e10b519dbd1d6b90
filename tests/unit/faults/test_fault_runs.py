"""A seed repeats a fault run; its report lists the injected faults, recovery times and violations."""

import random
from collections import Counter
from pathlib import Path

import pytest

from tests.system.faults.__main__ import parse_arguments, schedule
from tests.system.faults.cells import load_cells
from tests.system.faults.checker.observations import Violation
from tests.system.faults.counted_load import longest_gaps
from tests.system.faults.fault_run import Outcome, Recovery
from tests.system.faults.release_goals import GOALS, describe_missed, until_goals_are_met
from tests.system.faults.report import BEGIN, END, format_report, replace_report


def test_same_seed_chooses_the_same_cells() -> None:
    cells = list(load_cells().values())
    first, second = ([cell.name for cell in schedule(cells, None, random.Random(5))] for _ in range(2))
    assert first == second != [cell.name for cell in schedule(cells, None, random.Random(6))]
    assert sorted(first) == sorted(load_cells())


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
    assert describe_missed(injected, 2_000 * injected.total()) == []
    injected["broker killed"] = 49
    assert describe_missed(injected, 99_999) == [
        "broker killed fewer than 50 times",
        "99,999 commands, fewer than 100,000",
    ]


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


def test_report_replaces_the_one_on_the_page(tmp_path: Path) -> None:
    outcome = Outcome(5, seconds=600, commands=12_000, requests=90, faults={"handler killed": 3})
    outcome.recoveries = [Recovery("kill_postgres", seconds, 2.0) for seconds in (4.0, 3.0, 9.0)]
    outcome.violations = [Violation("I1", "acknowledged and without an outcome", "commands 3 @ 7", "a")]
    outcome.notes = ["six_hundred_commands: 600 commands, 600 verdicts"]
    outcome.exits = ["relay-1 ended by itself with code 1"] * 2
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nformer\n{END}\nafter\n")
    replace_report(page, format_report(outcome, "deploy/faults --seed 5"))
    text = page.read_text()
    assert "`deploy/faults --seed 5`: 3 faults in 10 minutes,\n12,000 commands over Kafka, 90 grades" in text
    assert "**1 violations.**" in text
    assert "| handler killed | 3 |" in text
    assert "| kill_postgres | 3 | 4.0 | 9.0 | 9.0 | 2.0 | 2.0 |" in text
    assert "- I1 commands 3 @ 7 command a: acknowledged and without an outcome" in text
    assert "- relay-1 ended by itself with code 1, 2 times" in text
    assert "Drills:\n\n- six_hundred_commands: 600 commands, 600 verdicts" in text
    assert (text.startswith("before\n"), text.endswith("after\n"), "former" in text) == (True, True, False)
