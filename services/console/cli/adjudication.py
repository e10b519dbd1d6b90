"""``adjudicate`` and ``explain``: derive grades from marks, and explain a student's grade."""

import json
from typing import Annotated, Any
from urllib.parse import quote

import typer
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from services.console.cli.assignment import AssignmentIdArgument
from services.console.cli.gateway_requests import Target, change_assignment, read_assignment
from services.console.cli.options import JsonOption
from services.console.cli.output import add_row, build_table, print_fields, print_json, stdout_console
from services.console.cli.publication import get_student
from services.runtime.command_line import escape_unprintable

Json = dict[str, Any]
POLICY_EXAMPLE = '{"marks": 2, "within_points": "3", "result": "mean"}'


def adjudicate(
    assignment_id: AssignmentIdArgument,
    what_if: Annotated[
        typer.FileText | None,
        typer.Option(
            metavar="FILE",
            help="A policy as JSON (- for standard input): show its outcome, change nothing."
            f" Example: {POLICY_EXAMPLE}",
        ),
    ] = None,
    student: Annotated[
        list[str] | None, typer.Option(help="Only this student of the moderation set; may be repeated.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Adjudicate the marks by the assignment's policy, or show the outcome of another policy."""
    if what_if is None:
        data = {} if not student else {"student_ids": student}
        target = Target(assignment_id, students=tuple(student or ()))
        document = change_assignment(target, "adjudicate_provisional_grades", data)
    elif student:
        raise typer.BadParameter("--what-if is about the whole moderation set: leave out --student")
    else:
        target = Target(assignment_id, f" with the policy in {what_if.name}")
        document = read_assignment(target, "adjudication", policy=_read_policy(what_if))
    if as_json:
        print_json(document)
    else:
        _print_adjudication(stdout_console(), document)


def explain(
    assignment_id: AssignmentIdArgument,
    student: Annotated[
        str, typer.Argument(metavar="STUDENT", help="The student's id; the anonymous id while students are hidden.")
    ],
    as_json: JsonOption = False,
) -> None:
    """Explain a student's grade in one sentence, then list the events that led to it."""
    target = Target(assignment_id, students=(student,))
    document = read_assignment(target, f"students/{quote(student, safe='')}/explanation")
    if as_json:
        print_json(document)
        return
    console = stdout_console()
    console.print(document["sentence"], markup=False, soft_wrap=True)
    for row in document["trail"]:
        what, who = row["event_type"].replace("_", " "), _format_person(row["actor"]) or "the LMS"
        details = ", ".join(f"{name} {_format(value)}" for name, value in row["details"].items())
        # Two lines instead of a table's row, which has no room for details on a narrow terminal.
        console.print(
            Text.assemble((f"  {row['version']:>7}  ", "dim"), escape_unprintable(f"{row['at']}  {what} by {who}")),
            soft_wrap=True,
        )
        if details:
            console.print(Padding(Text(escape_unprintable(details), "dim"), (0, 0, 0, 11)))


def _read_policy(file: typer.FileText) -> str:
    """Return the file's text, which the gateway checks. Raises typer.BadParameter if it is not JSON."""
    try:
        text = file.read()
        json.loads(text)
    except (ValueError, RecursionError) as error:
        raise typer.BadParameter(
            f"{file.name} is not JSON: {error}. Correct the file; a policy looks like {POLICY_EXAMPLE}"
        ) from None
    return text


def _print_adjudication(console: Console, document: Json) -> None:
    print_fields(console, {name.replace("_", " "): count for name, count in document["counts"].items() if count})
    is_what_if = "policy" in document
    table = build_table("student", "outcome", "score", *(("now", "differs") if is_what_if else ()), "because of")
    for row in document["students"]:
        missing = f"{row['missing']} more needed" if row["missing"] else None
        reasons = ", ".join([*row["failed"], *([missing] if missing else [])]) or None
        current = (row["current_score"], "yes" if row["differs"] else None) if is_what_if else ()
        add_row(table, get_student(row), row["outcome"].replace("_", " "), row["score"], *current, reasons)
    console.print(table)


def _format_person(person: Json | None) -> str | None:
    return None if person is None else next((str(value) for value in person.values() if value is not None), "a grader")


def _format(value: Any) -> str:
    if isinstance(value, list):
        return " → ".join(map(_format, value)) if len(value) == 2 else f"({len(value)})"
    if isinstance(value, dict):
        return _format_person(value) or "–" if value.keys() <= {"user_id", "anonymous_grader_id"} else f"({len(value)})"
    return "–" if value is None else str(value)
