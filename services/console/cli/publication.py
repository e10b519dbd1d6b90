"""``plan``, ``publish``, ``schedule`` and ``cancel``: a publication by the user of MODERATOR_TOKEN."""

import re
from typing import Annotated, Any

import typer
from rich.console import Console

from schemas.fields import DIGEST_PATTERN
from services.console.cli.assignment import AssignmentIdArgument
from services.console.cli.gateway_requests import Target, change_assignment, publish_assignment, read_assignment
from services.console.cli.options import JsonOption, parse_id_option
from services.console.cli.output import add_row, build_table, print_fields, print_json, stdout_console
from services.console.wording import pluralize
from services.runtime.command_line import ExitCode

Json = dict[str, Any]


def parse_digest_option(text: str) -> str:
    """Parse the digest of a plan. Raises typer.BadParameter."""
    if re.fullmatch(DIGEST_PATTERN, text) is None:
        raise typer.BadParameter(
            f"{text} is not the digest of a plan; nothing was changed. A digest is sha256: and 64 digits or letters"
            " from a to f: copy all of the one that moderated-grading plan ASSIGNMENT_ID prints"
        )
    return text


DigestOption = Annotated[
    str,
    typer.Option(
        "--plan", parser=parse_digest_option, metavar="DIGEST", help="Digest that the plan command printed, all of it."
    ),
]
OptionalDigestOption = Annotated[
    str | None,
    typer.Option(
        "--plan",
        parser=parse_digest_option,
        metavar="DIGEST",
        help="Publish this plan or nothing; any plan by default.",
    ),
]


def plan(assignment_id: AssignmentIdArgument, as_json: JsonOption = False) -> None:
    """Show planned grades, changes and blocked students; exit code 1 if the plan cannot be published."""
    document = read_assignment(Target(assignment_id), "publication_plan")
    if as_json:
        print_json(document)
    else:
        _print_plan(stdout_console(), document)
    if not document["publishable"]:
        raise typer.Exit(ExitCode.FINDING)


def publish(
    assignment_id: AssignmentIdArgument,
    course: Annotated[int, typer.Option(parser=parse_id_option, metavar="ID", help="The assignment's course.")],
    digest: DigestOption,
    as_json: JsonOption = False,
) -> None:
    """Publish the plan with this digest; if a grade or choice has changed since, nothing is published."""
    result = publish_assignment(course, assignment_id, digest)
    if as_json:
        print_json(result)
    else:
        typer.echo(f"The grades of assignment {assignment_id} are published.")


def schedule(
    assignment_id: AssignmentIdArgument,
    publish_at: Annotated[
        str, typer.Argument(metavar="TIME", help="When, with an offset, such as 2026-01-31T12:00:00Z.")
    ],
    digest: OptionalDigestOption = None,
    as_json: JsonOption = False,
) -> None:
    """Set the time at which the service publishes; replaces an earlier schedule."""
    data = {"publish_at": publish_at} if digest is None else {"publish_at": publish_at, "plan_digest": digest}
    result = change_assignment(Target(assignment_id), "schedule_publication", data)
    if as_json:
        print_json(result)
    else:
        typer.echo(f"Assignment {assignment_id} will be published at {result['publish_at']}.")


def cancel(assignment_id: AssignmentIdArgument, as_json: JsonOption = False) -> None:
    """Cancel a scheduled publication."""
    result = change_assignment(Target(assignment_id), "cancel_scheduled_publication", {})
    if as_json:
        print_json(result)
    else:
        typer.echo(f"Assignment {assignment_id} is no longer scheduled for publication.")


def get_student(row: Json) -> Any:
    """Return the student of a row: the anonymous id while the assignment hides students."""
    return row.get("student_id", row.get("anonymous_id"))


def format_change(old: Any, new: Any) -> str:
    """Format a value before and after; an unchanged value once."""
    shown = ["–" if value is None else f"{value:g}" if isinstance(value, float) else str(value) for value in (old, new)]
    return shown[0] if old == new else " → ".join(shown)


def _print_plan(console: Console, document: Json) -> None:
    counts = document["counts"]
    fields = {
        "digest": document["digest"],
        "publishable": "yes" if document["publishable"] else f"no: {document['reason']}",
        "would publish": f"{pluralize(counts['published'], 'grade')}, {counts['changed']} changed",
        "blocked": counts["blocked"] or None,
        "without grade": counts["without_grade"] or None,
    }
    print_fields(console, fields)
    if document["students"]:
        table = build_table("student", "grade", "score", "by", "chosen by", right=("score",))
        for row in document["students"]:
            grader = row.get("scorer_id") or row.get("anonymous_grader_id")
            grade, score = format_change(*row["grade"]), format_change(*row["score"])
            add_row(table, get_student(row), grade, score, grader, row["chosen_by"].replace("_", " "))
        console.print(table)
    if document["blocked"]:
        table = build_table("blocked student", "reason", "provisional grades", fold="provisional grades")
        for row in document["blocked"]:
            add_row(table, get_student(row), row["reason"], ", ".join(map(str, row["provisional_grade_ids"])))
        console.print(table)
