"""``agreement``: the figures of graders in a terminal, for scripts, and as CSV."""

import io

from rich.console import Console

from schemas.agreement import Agreement
from services.agreement.ratings import collect_ratings
from services.agreement.statistics import compute_agreement
from services.console.cli.agreement import print_agreement
from tests.cli.conftest import CommandLine, Season
from tests.moderation.memory import ANN, BEN, CAT, COURSE, ESSAY, TA1, TA2, TA3, office


async def test_the_figures_of_an_assignment_are_told_in_words_in_json_and_as_csv(
    cli: CommandLine, season: Season
) -> None:
    text = await cli.run("agreement", season.essay, "--tolerance", "2")
    document = await cli.here("agreement", season.essay, "--json")
    table = await cli.here("agreement", season.essay, "--csv")
    before = await cli.here("agreement", season.essay, "--version", "1")
    wrong = await cli.here("agreement", season.essay, "--tolerance", "-1")

    figures = Agreement.model_validate(document.json())
    assert (figures.marks, figures.exact_rate.value, figures.tolerance) == (2, 0, 0.5)
    assert text.code == 0, text.err
    assert "within 2 points  100% of 1 pair of marks" in text.out
    assert "none: one work alone tells nothing of spread or chance" in text.out
    assert "none: fewer than three works were marked by all these graders" in text.out
    strict = next(line for line in text.out.splitlines() if line.split()[:1] == [season.world.user("ta1")])
    assert strict.split() == [season.world.user("ta1"), "1", "0", "-2.00", "(1)", "-2.00", "(1)"]
    assert f"{season.essay},{figures.version},exact_rate,,,0.0,1," in table.out.splitlines()
    assert "none: no work was marked by two graders" in before.out
    assert (before.code, wrong.code) == (0, 2)
    assert max(map(len, text.out.splitlines())) <= 80


def test_where_there_are_three_graders_each_two_are_compared_too() -> None:
    memory = office(grader_count=3)
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
