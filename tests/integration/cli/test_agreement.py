"""``agreement`` prints the graders' statistics as text, JSON and CSV."""

import io
from pathlib import Path

from rich.console import Console

from schemas.agreement import Agreement
from services.agreement.ratings import collect_ratings
from services.agreement.statistics import compute_agreement
from services.console.cli.agreement import print_agreement
from tests.fixtures.in_memory_course import ANN, BEN, CAT, COURSE, ESSAY, TA1, TA2, TA3, moderated_course
from tests.integration.cli.conftest import CommandLine, GradedCourse


async def test_agreement_is_printed_as_text_json_and_csv(cli: CommandLine, graded_course: GradedCourse) -> None:
    text = await cli.run_in_process("agreement", graded_course.assignment_id, "--tolerance", "2")
    document = await cli.run_in_process("agreement", graded_course.assignment_id, "--json")
    csv = await cli.run_in_process("agreement", graded_course.assignment_id, "--csv")
    before = await cli.run_in_process("agreement", graded_course.assignment_id, "--version", "1")
    wrong = await cli.run_in_process("agreement", graded_course.assignment_id, "--tolerance", "-1")

    agreement = Agreement.model_validate(document.json())
    assert (agreement.marks, agreement.exact_rate.value, agreement.tolerance) == (2, 0, 0.5)
    assert text.exit_code == 0, text.stderr
    assert "within 2 points  100% of 1 pair of grades" in text.stdout
    assert "none: one work alone shows neither spread nor chance" in text.stdout
    assert "none: fewer than three works were marked by all these graders" in text.stdout
    row = next(line for line in text.stdout.splitlines() if line.split()[:1] == [graded_course.world.user_id("ta1")])
    assert row.split() == [graded_course.world.user_id("ta1"), "1", "0", "-2.00", "(1)", "-2.00", "(1)"]
    assert f"{graded_course.assignment_id},{agreement.version},exact_rate,,,0.0,1," in csv.stdout.splitlines()
    assert "none: no work was marked by two graders" in before.stdout
    assert (before.exit_code, wrong.exit_code) == (0, 2)
    assert max(map(len, text.stdout.splitlines())) <= 80


async def test_missing_library_ends_the_command_with_the_remedy(
    cli: CommandLine, graded_course: GradedCourse, tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['pycm'] = None\n")

    result = await cli.run("agreement", graded_course.assignment_id, PYTHONPATH=str(tmp_path))

    assert (result.exit_code, result.stdout) == (2, "")
    assert "run pip install 'moderated-grading[agreement]'" in result.stderr


def test_agreement_of_three_graders_includes_pairwise_rows() -> None:
    memory = moderated_course(grader_count=3)
    for student, (one, other) in {ANN: (5, 7), BEN: (3, 4), CAT: (9, 8)}.items():
        memory.grade(TA1, student, one)
        memory.grade(TA2, student, other)
    memory.grade(TA3, ANN, 6)
    text = io.StringIO()

    print_agreement(
        Console(file=text, width=80),
        compute_agreement(collect_ratings(memory.courses[COURSE], memory.assignments[ESSAY])),
    )

    lines = text.getvalue().splitlines()
    (pair,) = [line.split() for line in lines if line.split()[:2] == [str(TA1), str(TA2)]]
    assert (pair[2], pair[4:6]) == ("3", ["0.85", "(95"])
    assert "…" not in text.getvalue()
