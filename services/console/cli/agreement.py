"""``agreement``: how far an assignment's graders agree, as it stands or stood."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from services.agreement.coefficients import REASON_TEXTS, Statistic
from services.agreement.intraclass import IntraclassCorrelation
from services.agreement.ratings import collect_ratings
from services.agreement.report import agreement_csv, agreement_document, get_assignment_ref
from services.agreement.statistics import Agreement, Difference, GraderPair, compute_agreement
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
    found, about = compute_agreement(collect_ratings(course, assignment), allowed), get_assignment_ref(assignment)
    if as_json:
        print_json(agreement_document(about, found))
    elif as_csv:
        typer.echo(agreement_csv(about, found), nl=False)
    else:
        show(out(), found)


def show(console: Console, found: Agreement) -> None:
    """The figures as text: of the assignment, of each grader, and of each two where there are more."""
    tolerance = "tolerance" if found.tolerance is None else f"{format_number(found.tolerance)} points"
    shared = f"{found.shared_submission_count} marked by several"
    facts = {
        "marks": f"{count(found.rating_count, 'mark')} on {count(found.submission_count, 'work')}, {shared}",
        "equal": _share(found.exact_rate),
        f"within {tolerance}": _share(found.within_tolerance_rate),
        "weighted kappa": _number(found.weighted_kappa),
        "alpha": _number(found.krippendorff_alpha),
        "ICC(A,1)": f"{_number(found.intraclass_correlation.statistic)}{_interval(found.intraclass_correlation)}",
    }
    show_facts(console, facts)
    if not found.graders:
        return
    made = table("grader", "marks", "chosen", "from the others", "from what was decided", right=("marks", "chosen"))
    for grader in found.graders:
        decided = _difference(grader.difference_from_decided)
        row(
            made,
            grader.user_id,
            grader.rating_count,
            grader.selected_count,
            _difference(grader.difference_from_others),
            decided,
        )
    console.print(made)
    console.print(Text("Mean differences in points ± standard deviation, over so many works.", style="dim"))
    if len(found.pairs) > 1:
        _show_pairs(console, found.pairs)


def _show_pairs(console: Console, pairs: Sequence[GraderPair]) -> None:
    made = table("grader", "other grader", "works", "kappa", "ICC(A,1)", right=("works", "kappa"))
    for pair in pairs:
        kappa = None if pair.weighted_kappa.value is None else f"{pair.weighted_kappa.value:.2f}"
        found = pair.intraclass_correlation
        correlation = None if found.statistic.value is None else f"{found.statistic.value:.2f}{_interval(found)}"
        row(made, pair.first, pair.second, pair.submission_count, kappa, correlation)
    console.print(made)


def _share(figure: Statistic) -> str:
    return _none(figure) if figure.value is None else f"{figure.value:.0%} of {count(figure.count, 'pair')} of marks"


def _number(figure: Statistic) -> str:
    return _none(figure) if figure.value is None else f"{figure.value:.2f} over {count(figure.count, 'work')}"


def _interval(found: IntraclassCorrelation) -> str:
    return "" if found.interval is None else f" (95 %: {found.interval[0]:.2f} to {found.interval[1]:.2f})"


def _none(figure: Statistic) -> str:
    return "none" if figure.reason is None else f"none: {REASON_TEXTS[figure.reason]}"


def _difference(difference: Difference) -> str | None:
    mean, deviation = difference.mean, difference.standard_deviation
    if mean.value is None:
        return None
    spread = "" if deviation.value is None else f" ± {deviation.value:.2f}"
    return f"{mean.value:+.2f}{spread} ({mean.count})"
