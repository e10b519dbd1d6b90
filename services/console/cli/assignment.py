"""``state`` and ``history``: what an assignment is and was, and how it came to be so."""

from datetime import UTC, datetime
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.text import Text

from services.console.cli.options import TIME, TIMES, identifier
from services.console.cli.runner import (
    AsJson,
    Connection,
    NotThere,
    RootAccount,
    of_log,
    out,
    plain,
    print_json,
    row,
    show_facts,
    table,
    time_text,
)
from services.console.event_summary import happening
from services.eventlog.store import Stored
from services.eventlog.stream_loader import as_of
from services.eventlog.stream_reader import Reader
from services.moderation.assignment import Assignment
from services.moderation.course import Course
from services.moderation.state_document import state_document
from services.moderation.upcasters import upcast

Json = dict[str, Any]
ROWS = 50
ROWS_MAX = 10_000
VERSION_MAX = 1_000_000_000
AssignmentId = Annotated[int, typer.Argument(parser=identifier, metavar="ASSIGNMENT_ID", help="The assignment's id.")]


Version = Annotated[int | None, typer.Option(min=1, max=VERSION_MAX, help="As its stream stood at this version.")]
At = Annotated[
    datetime | None, typer.Option(formats=TIMES, metavar=TIME, help="As it stood at this time; UTC by default.")
]


def state(
    assignment_id: AssignmentId,
    version: Version = None,
    at: At = None,
    root_account: RootAccount = 1,
    as_json: AsJson = False,
) -> None:
    """An assignment as it stands, or as it stood at a version or time."""
    found = state_document(*stood(assignment_id, version, at, root_account))
    if as_json:
        print_json(found)
    else:
        _show_state(out(), found)


def stood(assignment_id: int, version: int | None, at: datetime | None, root_account: int) -> tuple[Course, Assignment]:
    """A course and an assignment of it as they stand or stood. Exits where there was none."""
    if version is not None and at is not None:
        raise typer.BadParameter("give --version or --at, not both")
    then = at.replace(tzinfo=UTC) if at is not None and at.tzinfo is None else at

    async def look(connection: Connection) -> tuple[Course, Assignment]:
        found = await as_of(Reader(connection), root_account, assignment_id, version=version, at=then)
        if found is None:
            raise NotThere(f"no assignment {assignment_id} in root account {root_account}{_when(version, then)}")
        return found

    return of_log(look)


def _when(version: int | None, at: datetime | None) -> str:
    if version is not None:
        return f" at version {version}"
    return "" if at is None else f" at {time_text(at)}"


def _show_state(console: Console, found: Json) -> None:
    settings = found["settings"]
    title = Text.assemble((plain(settings["name"]), "bold"), (f" · version {found['version']}", "dim"))
    console.print(title, soft_wrap=True)
    published = found["grades_published_at"]
    points = settings["points_possible"]
    facts = {
        "assignment": f"{found['assignment_id']} of course {found['course_id']}",
        "grading": settings["grading_type"] if points is None else f"{settings['grading_type']}, {points:g} points",
        "moderation": _moderation(settings),
        "graders": ", ".join(str(grader["user_id"]) for grader in found["moderation_graders"]) or "none yet",
        "published": published or "not yet",
    }
    show_facts(console, facts)
    if settings["deleted"]:
        console.print(Text("  deleted", style="red"))
    _show_students(console, found)


def _moderation(settings: Json) -> str:
    if not settings["moderated_grading"]:
        return "off"
    final = settings["final_grader_id"]
    return f"up to {settings['grader_count']} graders, final grader {final or 'nobody'}"


def _show_students(console: Console, found: Json) -> None:
    """A row a student: every mark with its grader, a line each, the chosen one ticked; and the gradebook's."""
    marks: dict[int, list[Json]] = {}
    for grade in found["provisional_grades"]:
        marks.setdefault(grade["student_id"], []).append(grade)
    chosen = {member["student_id"]: member["selected_provisional_grade_id"] for member in found["moderation_set"]}
    gradebook = {submission["student_id"]: _gradebook(submission) for submission in found["submissions"]}
    made = table("student", "provisional grades, ✓ chosen", "gradebook", right=("student",))
    students = sorted({*marks, *chosen, *gradebook})
    shown = [student for student in students if student in marks or gradebook.get(student) is not None]
    for student in shown:
        lines = [
            f"{'✓' if grade['provisional_grade_id'] == chosen.get(student) else ' '} {_mark(grade)}"
            for grade in marks.get(student, ())
        ]
        row(made, student, "\n".join(lines) or "  –", gradebook.get(student))
    if shown:
        console.print(made)
    rest = len(students) - len(shown)
    if rest:
        console.print(Text(f"  {rest} student{'' if rest == 1 else 's'} without any grade", style="dim"))


def _mark(grade: Json) -> str:
    entered = "cleared" if grade["grade"] is None else grade["grade"]
    text = "remark" if grade["graded_at"] is None else entered
    return f"{text} by {grade['scorer_id']}{', final' if grade['final'] else ''}"


def _gradebook(submission: Json) -> str | None:
    if submission["excused"]:
        return "excused"
    if submission["grade"] is None:
        return None
    return f"{submission['grade']}{', posted' if submission['posted_at'] else ''}"


def history(
    assignment_id: AssignmentId,
    after: Annotated[
        int, typer.Option(min=0, max=VERSION_MAX, help="Only events after this version of its stream.")
    ] = 0,
    limit: Annotated[int, typer.Option(min=1, max=ROWS_MAX, help="At most so many events.")] = ROWS,
    root_account: RootAccount = 1,
    as_json: AsJson = False,
) -> None:
    """What happened to an assignment, by whom and by which command, oldest first."""

    async def look(connection: Connection) -> tuple[list[Stored], int]:
        reader = Reader(connection)
        streams = await reader.streams(root_account, None, assignment_id)
        if not streams:
            raise NotThere(f"no assignment {assignment_id} in root account {root_account}")
        found = await reader.page(streams[0].number, after, after + limit)
        more = await reader.page(streams[0].number, after + limit, after + limit + 1)
        return found, len(more)

    found, more = of_log(look)
    events = [_event(stored) for stored in found]
    if as_json:
        print_json({"events": events, "more": bool(more)})
        return
    console = out()
    console.print(_timeline(events))
    if more:
        again = f"--after {after + limit}"
        console.print(Text(f"There is more: the same with {again}.", style="dim"))


def _event(stored: Stored) -> Json:
    metadata = orjson.loads(stored.metadata)
    return {
        "id": metadata["id"],
        "event_type": stored.type,
        "type_version": stored.type_version,
        "position": stored.position,
        "command_id": metadata["command_id"],
        **orjson.loads(stored.data),
    }


def _timeline(events: list[Json]) -> Any:
    made = table("version", "time (UTC)", "by", "student", "what happened", right=("version",), fold="what happened")
    day = None
    for event in events:
        date, time = event["recorded_at"].rstrip("Z").split("T")
        if date != day:
            row(made, "", date, "", "", "", style="bold")
            day = date
        payload = upcast(event["event_type"], event["type_version"], event["payload"])
        what = happening(event["event_type"], {**event, "payload": payload})
        row(made, event["stream_version"], time, event["user_id"], event["student_id"], what)
    return made
