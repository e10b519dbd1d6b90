"""``agreement``: statistics of the agreement between an assignment's graders."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from services.agreement import LibrariesMissing
from services.agreement.coefficients import REASON_TEXTS, Statistic
from services.agreement.figures import Agreement, Difference, GraderPair
from services.agreement.intraclass import IntraclassCorrelation
from services.agreement.ratings import collect_ratings
from services.agreement.report import agreement_csv, agreement_document, get_assignment_ref
from services.agreement.statistics import compute_agreement
from services.console.cli.access_reason import AccessReasonOption
from services.console.cli.assignment import AssignmentIdArgument, AtOption, VersionOption, load_state
from services.console.cli.options import JsonOption, RootAccountOption
from services.console.cli.output import add_row, build_table, print_fields, print_json, stdout_console
from services.console.wording import pluralize
from services.moderation.grade_conversion import SCORE_MAX, format_number
from services.runtime.command_line import ExitCode, exit_with

ToleranceOption = Annotated[
    float | None, typer.Option(min=0, max=float(SCORE_MAX), help="In points; 5 % of the points possible by default.")
]


def report_agreement(
    assignment_id: AssignmentIdArgument,
    version: VersionOption = None,
    at: AtOption = None,
    tolerance: ToleranceOption = None,
    root_account: RootAccountOption = 1,
    reason: AccessReasonOption = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV, a statistic per line.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show how far an assignment's graders agree, and over how many grades each statistic is computed."""
    course, assignment = load_state("agreement", assignment_id, version, at, root_account, reason)
    tolerance_points = None if tolerance is None else Decimal(repr(tolerance))
    try:
        result = compute_agreement(collect_ratings(course, assignment), tolerance_points)
    except LibrariesMissing as error:
        exit_with(ExitCode.USAGE, str(error))
    assignment_ref = get_assignment_ref(assignment)
    if as_json:
        print_json(agreement_document(assignment_ref, result))
    elif as_csv:
        typer.echo(agreement_csv(assignment_ref, result), nl=False)
    else:
        print_agreement(stdout_console(), result)


def print_agreement(console: Console, result: Agreement) -> None:
    """Print the statistics of the assignment, of each grader, and of each pair if there are several."""
    tolerance = "tolerance" if result.tolerance is None else f"{format_number(result.tolerance)} points"
    submission_text = pluralize(result.submission_count, "submission")
    submissions_text = f"{submission_text}, {result.shared_submission_count} with two or more"
    fields = {
        "grades": f"{pluralize(result.rating_count, 'grade')} on {submissions_text}",
        "identical": _format_share(result.exact_rate),
        f"within {tolerance}": _format_share(result.within_tolerance_rate),
        "weighted kappa": _format_number(result.weighted_kappa),
        "alpha": _format_number(result.krippendorff_alpha),
        "ICC(A,1)": (
            f"{_format_number(result.intraclass_correlation.statistic)}"
            f"{_format_interval(result.intraclass_correlation)}"
        ),
    }
    print_fields(console, fields)
    if not result.graders:
        return
    grader_table = build_table(
        "grader", "grades", "selected", "from the others", "from the final", right=("grades", "selected")
    )
    for grader in result.graders:
        from_final_score = _format_difference(grader.difference_from_decided)
        add_row(
            grader_table,
            grader.user_id,
            grader.rating_count,
            grader.selected_count,
            _format_difference(grader.difference_from_others),
            from_final_score,
        )
    console.print(grader_table)
    console.print(Text("Mean difference in points ± standard deviation (number of submissions).", style="dim"))
    if len(result.pairs) > 1:
        _print_pairs(console, result.pairs)


def _print_pairs(console: Console, pairs: Sequence[GraderPair]) -> None:
    pair_table = build_table(
        "grader", "other grader", "submissions", "kappa", "ICC(A,1)", right=("submissions", "kappa")
    )
    for pair in pairs:
        kappa = None if pair.weighted_kappa.value is None else f"{pair.weighted_kappa.value:.2f}"
        icc = pair.intraclass_correlation
        correlation = None if icc.statistic.value is None else f"{icc.statistic.value:.2f}{_format_interval(icc)}"
        add_row(pair_table, pair.first, pair.second, pair.submission_count, kappa, correlation)
    console.print(pair_table)


def _format_share(statistic: Statistic) -> str:
    return (
        _format_missing(statistic)
        if statistic.value is None
        else f"{statistic.value:.0%} of {pluralize(statistic.count, 'pair')} of grades"
    )


def _format_number(statistic: Statistic) -> str:
    return (
        _format_missing(statistic)
        if statistic.value is None
        else f"{statistic.value:.2f} over {pluralize(statistic.count, 'submission')}"
    )


def _format_interval(icc: IntraclassCorrelation) -> str:
    return "" if icc.interval is None else f" (95 %: {icc.interval[0]:.2f} to {icc.interval[1]:.2f})"


def _format_missing(statistic: Statistic) -> str:
    return "none" if statistic.reason is None else f"none: {REASON_TEXTS[statistic.reason]}"


def _format_difference(difference: Difference) -> str | None:
    mean, deviation = difference.mean, difference.standard_deviation
    if mean.value is None:
        return None
    spread = "" if deviation.value is None else f" ± {deviation.value:.2f}"
    return f"{mean.value:+.2f}{spread} ({mean.count})"
