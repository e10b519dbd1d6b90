"""Build the values that a relay publishes of an event, and the state that a gateway serves of an assignment."""

from collections.abc import Mapping, Sequence
from typing import Any

Json = dict[str, Any]
URN = "urn:instructure:canvas"
NAMESPACE = "com.instructure.canvas"


def event_value(root_account: int, course: int, assignment: int, version: int, payload: Json) -> Json:
    """Build an event's value; of a student's event the payload names the student."""
    student = payload.get("student_id")
    return {
        "root_account_id": str(root_account),
        "course_id": str(course),
        "assignment_id": str(assignment),
        "student_id": student and str(student),
        "submission_id": student and f"7{student}",
        "stream_version": version,
        "payload": payload,
    }


def live_event(event: Json) -> Json:
    """Build Canvas's event from the value of an event that published a grade."""
    payload = event["payload"]
    ids = {name: event[name] for name in ("student_id", "assignment_id", "submission_id")}
    (old_score, score), (old_grade, grade) = payload["score"], payload["grade"]
    values = {"score": score, "old_score": old_score, "grade": grade, "old_grade": old_grade}
    body = {**ids, **values, "grader_id": payload["scorer_id"]}
    return {"metadata": {"context_id": event["course_id"]}, "body": body}


def grade_envelope(event: Json, caliper_id: str) -> Json:
    """Build the Caliper envelope of the same event."""
    payload, submission = event["payload"], f"{URN}:submission:{event['submission_id']}"
    attempt = {
        "id": submission,
        "assignee": {"id": f"{URN}:user:{event['student_id']}"},
        "assignable": {"id": f"{URN}:assignment:{event['assignment_id']}"},
    }
    score = {
        "id": submission,
        "scoreGiven": float(payload["score"][1]),
        "scoredBy": f"{URN}:user:{payload['scorer_id']}",
        "extensions": {NAMESPACE: {"grade": payload["grade"][1]}},
    }
    group = {"id": f"{URN}:course:{event['course_id']}"}
    return {"data": [{"id": f"urn:uuid:{caliper_id}", "object": attempt, "generated": score, "group": group}]}


def served_grade(number: int, student: int, scorer: int, score: int) -> Json:
    """Build the row of a provisional grade in a state."""
    ids = {"provisional_grade_id": number, "student_id": student, "scorer_id": scorer}
    return {**ids, "score": score, "grade": str(score)}


def served_state(
    version: int,
    students: Sequence[int],
    grades: Sequence[Json],
    selections: Mapping[int, int] = {},
    published_score: int | None = None,
) -> Json:
    """Build a state; ``published_score``: of every student, None before the publication."""
    grade = None if published_score is None else str(published_score)
    return {
        "version": version,
        "grades_published_at": grade and "now",
        "provisional_grades": list(grades),
        "moderation_set": [{"student_id": s, "selected_provisional_grade_id": selections.get(s)} for s in students],
        "submissions": [{"student_id": s, "score": published_score, "grade": grade} for s in students],
    }
