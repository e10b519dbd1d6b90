"""Why a student has a grade: one sentence, then the events that led to it."""

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import Response

from services.console.web.dependencies import ConsoleDependencies, parse_id, record_page
from services.console.web.moderation_view import ModerationView, RequestedView
from services.console.web.policy_text import describe_comparison, describe_policy
from services.eventlog.access_records import HIDDEN_STUDENT
from services.eventlog.grade_trail import load_trail
from services.eventlog.stream_reader import StreamReader
from services.moderation import ids
from services.moderation.explanation import Explanation
from services.moderation.revision import ALL_STATES

router = APIRouter()
COUNTS = frozenset({"missing", "points_deducted"})
"""Details of which 0 means that there is nothing to name; a score of 0 is one."""


@router.get("/assignments/{root_account}/{assignment}/students/{student}")
async def explanation_page(
    request: Request,
    dependencies: ConsoleDependencies,
    view: RequestedView,
    student: str,
) -> Response:
    """Explain a student's grade; ``student`` is the anonymous id while the assignment hides students."""
    student_id = _find_student(view, student)
    target = {**view.target, "student": student}
    if view.is_anonymous:
        target[HIDDEN_STUDENT] = student_id
    await record_page(request, view.user, "explanation page", target)
    trail = await load_trail(StreamReader(dependencies.pool), view.assignment, student_id)
    explanation = Explanation(view.course, view.assignment, view.actor_id, as_auditor=view.as_auditor)
    document = explanation.document(student_id, trail)
    times = {entry.version: entry.at for entry in trail}
    return dependencies.templates.render_page(
        request,
        "explanation.html",
        view=view,
        state=view.assignment,
        student=student,
        document=document,
        trail=[(row, times[row["version"]]) for row in document["trail"]],
        describe=lambda row: _describe(view, row["details"]),
    )


def _find_student(view: ModerationView, text: str) -> int:
    """Return the student. Raises HTTPException (404) for one that the user does not see."""
    is_anonymous = view.is_anonymous
    student_id = (
        ids.find_student_by_anonymous_id(view.course, view.assignment, text) if is_anonymous else parse_id(text)
    )
    if student_id is None or not view.course.is_visible_student(student_id, view.sections, ALL_STATES):
        raise HTTPException(404, "This assignment has no such student, or you do not see the student's section.")
    return student_id


def _describe(view: ModerationView, details: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Return names and values of an event's details; a pair is a value before and after."""
    lines: list[tuple[str, Any]] = []
    for name, value in details.items():
        is_nothing = value is None or value is False or value == [] or (value == 0 and name in COUNTS)
        if is_nothing or name == "policy_version":
            continue
        match name:
            case "policy":
                lines.append(("policy", f"{describe_policy(value)} (version {details['policy_version']})"))
            case "marks":
                marks = [f"{mark['score']:.15g} by {view.name_grader(mark['scorer'])}" for mark in value]
                lines.append(("marks", ", ".join(marks)))
            case "comparisons":
                lines.extend(("comparison", describe_comparison(comparison)) for comparison in value)
            case "scorer":
                lines.append(
                    ("grader", view.name_grader({"scorer_id": value["user_id"]} if "user_id" in value else value))
                )
            case "failed":
                pass
            case _:
                lines.append((name.replace("_", " "), value))
    return lines
