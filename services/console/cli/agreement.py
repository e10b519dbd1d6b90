"""``agreement``: how far an assignment's graders agree, as it stands or stood."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from services.agreement.coefficients import REASONS, Figure
from services.agreement.intraclass import Intraclass
from services.agreement.ratings import marking_of
from services.agreement.report import about_of, agreement_csv, agreement_document
from services.agreement.statistics import Agreement, Difference, Pair, agreement
from services.console.cli.assignment import AssignmentId, At, Version, stood
from services.console.cli.runner import AsJson, RootAccount, out, print_json, row, show_facts, table
from services.console.pipeline_status import count
from services.moderation.grade_conversion import SCORE_MAX, format_number

Tolerance = Annotated[
    float | None, typer.Option(min=0, max=float(SCORE_MAX), help="In points; 5 % of the points possible unless said.")
]


def agreement_of(
    assignment_id: AssignmentId,
    version: Version = None,
    at: At = None,
    tolerance: Tolerance = None,
    root_account: RootAccount = 1,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print every figure as a line of CSV.")] = False,
    as_json: AsJson = False,
) -> None:
    """How far an assignment's graders agree; what each figure is taken over stands beside it."""
    course, assignment = stood(assignment_id, version, at, root_account)
    allowed = None if tolerance is None else Decimal(repr(tolerance))
    found, about = agreement(marking_of(course, assignment), allowed), about_of(assignment)
    if as_json:
        print_json(agreement_document(about, found))
    elif as_csv:
        typer.echo(agreement_csv(about, found), nl=False)
    else:
        show(out(), found)


def show(console: Console, found: Agreement) -> None:
    """The figures as text: of the assignment, of each grader, and of each two where there are more."""
    tolerance = "tolerance" if found.tolerance is None else f"{format_number(found.tolerance)} points"
    shared = f"{found.works_shared} marked by several"
    facts = {
        "marks": f"{count(found.marks, 'mark')} on {count(found.works, 'work')}, {shared}",
        "equal": _share(found.exact),
        f"within {tolerance}": _share(found.within_tolerance),
        "weighted kappa": _number(found.kappa),
        "alpha": _number(found.alpha),
        "ICC(A,1)": f"{_number(found.intraclass.figure)}{_interval(found.intraclass)}",
    }
    show_facts(console, facts)
    if not found.graders:
        return
    made = table("grader", "marks", "chosen", "from the others", "from what was decided", right=("marks", "chosen"))
    for grader in found.graders:
        decided = _difference(grader.from_decided)
        row(made, grader.user_id, grader.marks, grader.selected, _difference(grader.from_others), decided)
    console.print(made)
    console.print(Text("Mean differences in points ± standard deviation, over so many works.", style="dim"))
    if len(found.pairs) > 1:
        _show_pairs(console, found.pairs)


def _show_pairs(console: Console, pairs: Sequence[Pair]) -> None:
    made = table("grader", "other grader", "works", "kappa", "ICC(A,1)", right=("works", "kappa"))
    for pair in pairs:
        kappa = None if pair.kappa.value is None else f"{pair.kappa.value:.2f}"
        found = pair.intraclass
        correlation = None if found.figure.value is None else f"{found.figure.value:.2f}{_interval(found)}"
        row(made, pair.first, pair.second, pair.works, kappa, correlation)
    console.print(made)


def _share(figure: Figure) -> str:
    return _none(figure) if figure.value is None else f"{figure.value:.0%} of {count(figure.count, 'pair')} of marks"


def _number(figure: Figure) -> str:
    return _none(figure) if figure.value is None else f"{figure.value:.2f} over {count(figure.count, 'work')}"


def _interval(found: Intraclass) -> str:
    return "" if found.interval is None else f" (95 %: {found.interval[0]:.2f} to {found.interval[1]:.2f})"


def _none(figure: Figure) -> str:
    return "none" if figure.reason is None else f"none: {REASONS[figure.reason]}"


def _difference(difference: Difference) -> str | None:
    mean, deviation = difference.mean, difference.deviation
    if mean.value is None:
        return None
    spread = "" if deviation.value is None else f" ± {deviation.value:.2f}"
    return f"{mean.value:+.2f}{spread} ({mean.count})"
