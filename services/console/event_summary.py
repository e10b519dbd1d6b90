"""Summarizes events in one line each, with ids but without names and comment texts."""

from collections.abc import Mapping, Sequence
from typing import Any

Json = Mapping[str, Any]
LISTED_MAX = 3
TEXT_CHARACTERS_MAX = 24


def summarize_event(event_type: str, data: Json) -> str:
    """Summarize an event. ``data``: its value on the events topic, with the payload upcast to the current version."""
    payload = data["payload"]
    match event_type:
        case "provisional_grade_created":
            return f"graded {_format_grade(payload)}{', final' if payload['final'] else ''}"
        case "provisional_grade_updated":
            old, new = payload.get("grade", (None, None))
            return (
                f"regraded {_format_value(new)}, was {_format_value(old)}"
                if "grade" in payload
                else "regraded without a change"
            )
        case "provisional_comment_created" | "submission_comment_recorded":
            comment = payload["comment"]
            return "commented (erased)" if comment is None else f"commented ({len(comment)} characters)"
        case "person_erased":
            return f"erased person {payload['user_id']}"
        case "provisional_grade_adjudicated":
            score = payload["score"]
            return (
                f"adjudicated: {payload['outcome'].replace('_', ' ')}{'' if score is None else f', {score:g} points'}"
            )
        case "provisional_grade_selected":
            return f"selected grade {payload['id']}"
        case "grade_published":
            old, new = payload["grade"]
            return f"published {_format_value(new)}, was {_format_value(old)}"
        case "grade_revised" | "grade_withdrawn":
            old, new = payload["grade"]
            verb = event_type.removeprefix("grade_")
            return f"{verb} {_format_value(old)}, {'excused' if payload['excused'][1] else _format_value(new)} now"
        case "grader_slot_taken":
            return "took a grader's slot"
        case "grader_slot_released":
            return f"released the slot of grader {payload['grader_id']}"
        case "students_selected_for_moderation":
            verb = "sampled for" if payload.get("sampled") else "added to"
            return f"{verb} the moderation set: {_format_ids(payload['student_ids'])}"
        case "submissions_allocated":
            students = [row["student_id"] for row in payload["allocations"]]
            enforced = "enforced" if payload["enforced"] else "not enforced"
            return f"allocated {_format_ids(students)}, {enforced}" if students else f"allocation {enforced}"
        case "grades_posted":
            return "published the assignment"
        case "publication_scheduled":
            plan = "" if payload["plan_digest"] is None else ", only if the plan is unchanged"
            return f"scheduled the publication for {payload['publish_at']}{plan}"
        case "publication_schedule_cancelled":
            return f"cancelled the publication scheduled for {payload['publish_at']}"
        case "submission_posted":
            return f"posted {_format_grade(payload)} to the student"
        case "submission_hidden":
            return f"hid {_format_grade(payload)} from the student"
        case "submission_updated" | "assignment_updated" | "course_updated":
            return _format_changes(payload)
        case "users_updated" | "enrollments_updated" | "admins_updated":
            (rows,) = payload.values()
            return f"{event_type.removesuffix('_updated')}: {_format_ids([row['user_id'] for row in rows])}"
        case "assignment_created":
            return "created the assignment"
    return f"set {', '.join(name for name, value in payload.items() if value is not None) or 'nothing'}"


def _format_grade(payload: Json) -> str:
    score, grade = payload["score"], payload["grade"]
    if score is None:
        return "nothing" if grade is None else str(grade)
    return str(grade) if grade == f"{score:g}" else f"{grade} ({score:g} points)"


def _format_changes(payload: Json) -> str:
    return ", ".join(_format_change(name, change) for name, change in payload.items())


def _format_change(name: str, change: Any) -> str:
    if not isinstance(change, list) or len(change) != 2:
        return name
    old, new = change
    return f"{name} {_format_value(new)}" if old is None else f"{name} {_format_value(old)} → {_format_value(new)}"


def _format_value(value: Any) -> str:
    match value:
        case None:
            return "none"
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:g}"
        case list() | dict():
            return f"{len(value)} items"
    text = str(value)
    return text if len(text) <= TEXT_CHARACTERS_MAX else text[: TEXT_CHARACTERS_MAX - 1] + "…"


def _format_ids(ids: Sequence[str]) -> str:
    more = f" and {len(ids) - LISTED_MAX} more" if len(ids) > LISTED_MAX else ""
    return ", ".join(ids[:LISTED_MAX]) + more
