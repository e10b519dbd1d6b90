"""``state`` and ``history``: an assignment at a version or time, and its events."""

from datetime import UTC, datetime
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.text import Text

from schemas.fields import format_time
from services.console.cli.access_reason import AccessReasonOption, require_access_reason
from services.console.cli.options import TIME_FORMATS, TIME_METAVAR, JsonOption, RootAccountOption, parse_id_option
from services.console.cli.output import add_row, build_table, print_fields, print_json, stdout_console
from services.console.cli.runner import Connection, with_connection
from services.console.event_summary import summarize_event
from services.console.wording import pluralize
from services.eventlog.access_records import record_access
from services.eventlog.aggregates import load_as_of
from services.eventlog.schedules import find_refusal
from services.eventlog.stored_events import StoredEvent
from services.eventlog.stream_reader import StreamReader
from services.moderation.assignment import Assignment
from services.moderation.course import Course
from services.moderation.state_document import state_document
from services.moderation.upcasters import upcast
from services.runtime.command_line import NotFound, escape_unprintable

Json = dict[str, Any]
EVENTS_DEFAULT = 50
EVENTS_MAX = 10_000
VERSION_MAX = 1_000_000_000
AssignmentIdArgument = Annotated[
    int, typer.Argument(parser=parse_id_option, metavar="ASSIGNMENT_ID", help="The assignment's id.")
]


VersionOption = Annotated[int | None, typer.Option(min=1, max=VERSION_MAX, help="State at this version of its stream.")]
AtOption = Annotated[
    datetime | None,
    typer.Option(
        formats=TIME_FORMATS,
        metavar=TIME_METAVAR,
        help="State at this time; UTC by default. Of the last seconds, decisions may be missing.",
    ),
]


def state(
    assignment_id: AssignmentIdArgument,
    version: VersionOption = None,
    at: AtOption = None,
    root_account: RootAccountOption = 1,
    reason: AccessReasonOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show an assignment, now or at a version or time."""
    course, assignment = load_state("state", assignment_id, version, at, root_account, reason)

    async def read_refusal(connection: Connection) -> str | None:
        return await find_refusal(StreamReader(connection), assignment, version=version, at=_as_utc(at))

    refused_with = None if assignment.scheduled_publication is None else with_connection(read_refusal, of_account=True)
    document = state_document(course, assignment, refused_with=refused_with)
    if as_json:
        print_json(document)
    else:
        _print_state(stdout_console(), document)


def load_state(
    command: str, assignment_id: int, version: int | None, at: datetime | None, root_account: int, reason: str | None
) -> tuple[Course, Assignment]:
    """Load an assignment and its course, now or at a version or time, for a command. Exits if there was none."""
    why = require_access_reason(reason)
    if version is not None and at is not None:
        raise typer.BadParameter("use --version or --at, not both")
    at_utc = _as_utc(at)

    async def read_state(connection: Connection) -> tuple[Course, Assignment]:
        target = {"root_account": root_account, "assignment": assignment_id}
        await record_access(connection, "cli", command, target, reason=why)
        loaded = await load_as_of(StreamReader(connection), root_account, assignment_id, version=version, at=at_utc)
        if loaded is None:
            raise _not_found(assignment_id, root_account, _format_moment(version, at_utc))
        return loaded

    return with_connection(read_state, of_account=True)


def _not_found(assignment_id: int, root_account: int, moment: str = "") -> NotFound:
    remedy = f"; moderated-grading history {assignment_id} lists its versions and times" if moment else ""
    return NotFound(
        f"no assignment {assignment_id} in root account {root_account}{moment}: check the id and --root-account{remedy}"
    )


def _as_utc(at: datetime | None) -> datetime | None:
    return at.replace(tzinfo=UTC) if at is not None and at.tzinfo is None else at


def _format_moment(version: int | None, at: datetime | None) -> str:
    if version is not None:
        return f" at version {version}"
    return "" if at is None else f" at {format_time(at)}"


def _print_state(console: Console, document: Json) -> None:
    settings = document["settings"]
    title = Text.assemble((escape_unprintable(settings["name"]), "bold"), (f" · version {document['version']}", "dim"))
    console.print(title, soft_wrap=True)
    published = document["grades_published_at"]
    points = settings["points_possible"]
    fields = {
        "assignment": f"{document['assignment_id']} of course {document['course_id']}",
        "grading": settings["grading_type"] if points is None else f"{settings['grading_type']}, {points:g} points",
        "moderation": _describe_moderation(settings),
        "graders": ", ".join(str(grader["user_id"]) for grader in document["moderation_graders"]) or "none yet",
        "published": published or "not yet",
    }
    if document["scheduled_publication"] is not None:
        fields["scheduled"] = _describe_schedule(document["scheduled_publication"])
    print_fields(console, fields)
    if settings["deleted"]:
        console.print(Text("  deleted", style="red"))
    _print_students(console, document)


def _describe_moderation(settings: Json) -> str:
    if not settings["moderated_grading"]:
        return "off"
    final_grader_id = settings["final_grader_id"]
    return f"up to {settings['grader_count']} graders, final grader {final_grader_id or 'none'}"


def _describe_schedule(schedule: Json) -> str:
    when = f"for {schedule['publish_at']} by user {schedule['user_id']}"
    if schedule["refused_with"] is not None:
        return f"{when}: refused with {schedule['refused_with']}"
    return when if schedule["would_publish"] else f"{when}: would be refused with {schedule['reason']} now"


def _print_students(console: Console, document: Json) -> None:
    """Print a row per student: provisional grades with their graders, the selected one ticked; and the final grade."""
    grades_by_student: dict[int, list[Json]] = {}
    for grade in document["provisional_grades"]:
        grades_by_student.setdefault(grade["student_id"], []).append(grade)
    selected_grade_ids = {
        member["student_id"]: member["selected_provisional_grade_id"] for member in document["moderation_set"]
    }
    gradebook_grades = {
        submission["student_id"]: _format_gradebook_grade(submission) for submission in document["submissions"]
    }
    student_table = build_table("student", "provisional grades, ✓ selected", "gradebook", right=("student",))
    students = sorted({*grades_by_student, *selected_grade_ids, *gradebook_grades})
    shown = [
        student for student in students if student in grades_by_student or gradebook_grades.get(student) is not None
    ]
    for student in shown:
        lines = [
            f"{'✓' if grade['provisional_grade_id'] == selected_grade_ids.get(student) else ' '} "
            f"{_format_provisional_grade(grade)}"
            for grade in grades_by_student.get(student, ())
        ]
        add_row(student_table, student, "\n".join(lines) or "  –", gradebook_grades.get(student))
    if shown:
        console.print(student_table)
    ungraded_count = len(students) - len(shown)
    if ungraded_count:
        console.print(Text(f"  {pluralize(ungraded_count, 'student')} without a grade", style="dim"))


def _format_provisional_grade(grade: Json) -> str:
    entered = "cleared" if grade["grade"] is None else grade["grade"]
    text = "comment" if grade["graded_at"] is None else entered
    return f"{text} by {grade['scorer_id']}{', final' if grade['final'] else ''}"


def _format_gradebook_grade(submission: Json) -> str | None:
    if submission["excused"]:
        return "excused"
    if submission["grade"] is None:
        return None
    return f"{submission['grade']}{', posted' if submission['posted_at'] else ''}"


def history(
    assignment_id: AssignmentIdArgument,
    after: Annotated[int, typer.Option(min=0, max=VERSION_MAX, help="Only events after this version.")] = 0,
    limit: Annotated[int, typer.Option(min=1, max=EVENTS_MAX, help="Maximum number of events.")] = EVENTS_DEFAULT,
    root_account: RootAccountOption = 1,
    reason: AccessReasonOption = None,
    as_json: JsonOption = False,
) -> None:
    """List an assignment's events with users and times, oldest first."""
    why = require_access_reason(reason)

    async def read_events(connection: Connection) -> tuple[list[StoredEvent], int]:
        target = {"root_account": root_account, "assignment": assignment_id}
        await record_access(connection, "cli", "history", target, reason=why)
        reader = StreamReader(connection)
        streams = await reader.streams(root_account, None, assignment_id)
        if not streams:
            raise _not_found(assignment_id, root_account)
        stored_events = await reader.events_page(streams[0].number, after, after + limit)
        next_events = await reader.events_page(streams[0].number, after + limit, after + limit + 1)
        return stored_events, len(next_events)

    stored_events, more_count = with_connection(read_events, of_account=True)
    events = [_event_json(stored) for stored in stored_events]
    if as_json:
        print_json({"events": events, "more": bool(more_count)})
        return
    console = stdout_console()
    console.print(_build_timeline(events))
    if more_count:
        console.print(Text(f"For more events add --after {after + limit}.", style="dim"))


def _event_json(stored: StoredEvent) -> Json:
    metadata = orjson.loads(stored.metadata)
    return {
        "id": metadata["id"],
        "event_type": stored.type,
        "type_version": stored.type_version,
        "position": stored.position,
        "command_id": metadata["command_id"],
        **orjson.loads(stored.data),
    }


def _build_timeline(events: list[Json]) -> Any:
    timeline = build_table("version", "time (UTC)", "user", "student", "event", right=("version",), fold="event")
    day = None
    for event in events:
        date, time = event["recorded_at"].rstrip("Z").split("T")
        if date != day:
            add_row(timeline, "", date, "", "", "", style="bold")
            day = date
        payload = upcast(event["event_type"], event["type_version"], event["payload"])
        summary = summarize_event(event["event_type"], {**event, "payload": payload})
        add_row(timeline, event["stream_version"], time, event["user_id"], event["student_id"], summary)
    return timeline
