"""Events to the payload that is stored and published, and back.

Where Canvas audits the same fact the payload is Canvas's: plain values when created, ``[old, new]`` for what changed.
Ids are decimal strings, scores JSON numbers, times RFC 3339 in milliseconds.
"""

import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any

from services.moderation import events
from services.moderation.events import Event
from services.moderation.grading_scheme import Scheme


def number(value: Decimal | None) -> int | float | None:
    """A score as JSON: whole numbers without a fraction. Exact for the 15 digits a score has."""
    if value is None:
        return None
    whole = int(value)
    return whole if whole == value else float(value)


def exact(value: float | None) -> Decimal | None:
    """The reverse of :func:`number`."""
    if value is None:
        return None
    return _decimal(repr(value))


@lru_cache(maxsize=4_096)
def _decimal(text: str) -> Decimal:
    return Decimal(text)


@lru_cache(maxsize=256)  # The decisions of a batch have one time, which is written several times in each.
def time(value: datetime | None) -> str | None:
    """RFC 3339, UTC, milliseconds."""
    return None if value is None else value.isoformat(timespec="milliseconds")[:23] + "Z"


@lru_cache(maxsize=256)
def seconds(value: datetime | None) -> str | None:
    """As Canvas's API writes a time."""
    return None if value is None else value.isoformat(timespec="seconds")[:19] + "Z"


@lru_cache(maxsize=4_096)
def moment(text: str | None) -> datetime | None:
    """The reverse of :func:`time`."""
    return None if text is None else datetime.fromisoformat(text).astimezone(UTC)


def _banded(value: Scheme) -> list[list[Any]]:
    return [[band, number(bound)] for band, bound in value]


def _scheme(value: list[list[Any]]) -> Scheme:
    return tuple((band, Decimal(repr(bound))) for band, bound in value)


def _id_texts(value: frozenset[int]) -> list[str]:
    return [str(student) for student in sorted(value)]


def _ids(value: list[str]) -> frozenset[int]:
    return frozenset(int(student) for student in value)


# How a field is written and read, by its name; a field that is not here is written as it is.
_FORMS: Mapping[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    **dict.fromkeys(
        ("account_id", "final_grader_id", "submission_id", "grader_id", "scorer_id", "user_id", "section_id"),
        (str, int),
    ),
    **dict.fromkeys(("points_possible", "score"), (number, exact)),
    **dict.fromkeys(("submitted_at", "graded_at", "posted_at", "created_at"), (time, moment)),
    "grading_scheme": (_banded, _scheme),
    "assigned_to": (_id_texts, _ids),
}
_NO_PERMISSIONS: Mapping[str, bool] = {}
_WRITTEN = {name: written for name, (written, _) in _FORMS.items()}
# The same few texts stand in every row of a state: each is held once.
_READ = {name: read for name, (_, read) in _FORMS.items()} | dict.fromkeys(("grade", "type", "state"), sys.intern)
_READ["permissions"] = lambda stated: stated or _NO_PERMISSIONS


def _out(name: str, value: Any) -> Any:
    written = _WRITTEN.get(name)
    return value if value is None or written is None else written(value)


def _in(name: str, value: Any) -> Any:
    read = _READ.get(name)
    return value if value is None or read is None else read(value)


def _plain(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _out(name, value) for name, value in fields.items()}


# Most of an assignment's events are changes of grades: in these two a call for each value took half of the time.
def _changed(changes: events.Changes) -> dict[str, Any]:
    changed = {}
    for name, (old, new) in changes.items():
        written = _WRITTEN.get(name)
        if written is None:
            changed[name] = [old, new]
        else:
            changed[name] = [None if old is None else written(old), None if new is None else written(new)]
    return changed


def _read(fields: Mapping[str, Any], *left_out: str) -> dict[str, Any]:
    return {name: _in(name, value) for name, value in fields.items() if name not in left_out}


def _read_changes(fields: Mapping[str, Any], *left_out: str) -> dict[str, tuple[Any, Any]]:
    changes = {}
    for name, pair in fields.items():
        if name in left_out:
            continue
        old, new = pair
        read = _READ.get(name)
        if read is None:
            changes[name] = (old, new)
        else:
            changes[name] = (None if old is None else read(old), None if new is None else read(new))
    return changes


def to_payload(event: Event) -> dict[str, Any]:
    """JSON-able payload of an event; ids of student and submission stand in the envelope."""
    match event:
        case events.ProvisionalGradeCreated():
            payload: dict[str, Any] = {
                "id": str(event.provisional_grade_id),
                "score": number(event.score),
                "grade": event.grade,
                "graded_at": time(event.graded_at),
                "final": event.final,
                "source_provisional_grade_id": None,
                "graded_anonymously": event.graded_anonymously,
                "scorer_id": str(event.scorer_id),
            }
            if event.rubric_assessment is not None:
                payload["rubric_assessment"] = event.rubric_assessment
            return payload
        case events.ProvisionalGradeUpdated():
            return {"id": str(event.provisional_grade_id), **_changed(event.changes)}
        case events.ProvisionalCommentCreated():
            return {
                "id": str(event.comment_id),
                "comment": event.comment,
                "author_id": str(event.author_id),
                "provisional_grade_id": str(event.provisional_grade_id),
            }
        case events.ProvisionalGradeSelected():
            return {"id": str(event.provisional_grade_id), "student_id": str(event.student_id)}
        case events.GradePublished():
            return {
                "provisional_grade_id": str(event.provisional_grade_id),
                "scorer_id": str(event.scorer_id),
                "score": [number(event.score[0]), number(event.score[1])],
                "grade": list(event.grade),
                "graded_at": time(event.graded_at),
                "graded_anonymously": event.graded_anonymously,
                "was_graded": event.was_graded,
            }
        case events.GraderSlotTaken():
            return {"grader_id": str(event.grader_id), "anonymous_id": event.anonymous_id}
        case events.SubmissionUpdated() | events.CourseUpdated():
            return _changed(event.changes)
        case events.GradesPosted():
            return {"grades_published_at": [None, time(event.grades_published_at)]}
        case events.SubmissionPosted():
            return {**_grade(event), "posted_at": time(event.posted_at)}
        case events.SubmissionHidden():
            return _grade(event)
        case events.StudentsSelectedForModeration():
            return {"student_ids": [str(student) for student in event.student_ids]}
        case events.SubmissionRecorded():
            return _plain(event.stated)
        case events.SubmissionCommentRecorded():
            return {"author_id": str(event.author_id), "comment": event.comment, "created_at": time(event.created_at)}
        case events.AssignmentCreated():
            return _plain(event.settings)
        case events.AssignmentUpdated():
            kept = {"kept_in_moderation_set": [str(student) for student in event.kept]} if event.kept else {}
            return {**_changed(event.changes), **kept}
        case events.UsersUpdated():
            return {"users": [_plain(row) for row in event.users]}
        case events.EnrollmentsUpdated():
            return {"enrollments": [_plain(row) for row in event.enrollments]}
        case events.AdminsUpdated():
            return {"admins": [_plain(row) for row in event.admins]}


def _grade(event: events.SubmissionPosted | events.SubmissionHidden) -> dict[str, Any]:
    grader = None if event.grader_id is None else str(event.grader_id)
    return {"score": number(event.score), "grade": event.grade, "grader_id": grader}


def from_payload(name: str, payload: dict[str, Any], *, student_id: int | None, submission_id: int | None) -> Event:
    """The event that :func:`to_payload` wrote; ValueError for a name that no version of the service wrote."""
    about: dict[str, Any] = {"student_id": student_id, "submission_id": submission_id}
    match name:
        case "provisional_grade_created":
            fields = _read(payload, "id", "source_provisional_grade_id")
            return events.ProvisionalGradeCreated(**about, provisional_grade_id=int(payload["id"]), **fields)
        case "provisional_grade_updated":
            changes = _read_changes(payload, "id")
            return events.ProvisionalGradeUpdated(**about, provisional_grade_id=int(payload["id"]), changes=changes)
        case "provisional_comment_created":
            return events.ProvisionalCommentCreated(
                **about,
                provisional_grade_id=int(payload["provisional_grade_id"]),
                comment_id=None if payload["id"] is None else int(payload["id"]),
                author_id=int(payload["author_id"]),
                comment=payload["comment"],
            )
        case "provisional_grade_selected":
            return events.ProvisionalGradeSelected(**about, provisional_grade_id=int(payload["id"]))
        case "grade_published":
            old, new = payload["score"]
            return events.GradePublished(
                **about,
                provisional_grade_id=int(payload["provisional_grade_id"]),
                scorer_id=int(payload["scorer_id"]),
                score=(exact(old), exact(new)),
                grade=(payload["grade"][0], payload["grade"][1]),
                graded_at=_in("graded_at", payload["graded_at"]),
                graded_anonymously=payload["graded_anonymously"],
                was_graded=payload["was_graded"],
            )
        case "grader_slot_taken":
            grader = int(payload["grader_id"])
            return events.GraderSlotTaken(grader_id=grader, anonymous_id=payload["anonymous_id"])
        case "submission_updated":
            return events.SubmissionUpdated(**about, changes=_read_changes(payload))
        case "course_updated":
            return events.CourseUpdated(changes=_read_changes(payload))
        case "grades_posted":
            return events.GradesPosted(grades_published_at=_in("graded_at", payload["grades_published_at"][1]))
        case "submission_posted":
            return events.SubmissionPosted(**about, **_read(payload))
        case "submission_hidden":
            return events.SubmissionHidden(**about, **_read(payload))
        case "students_selected_for_moderation":
            students = tuple(int(student) for student in payload["student_ids"])
            return events.StudentsSelectedForModeration(student_ids=students)
        case "submission_recorded":
            return events.SubmissionRecorded(**about, stated=_read(payload))
        case "submission_comment_recorded":
            return events.SubmissionCommentRecorded(
                **about,
                author_id=int(payload["author_id"]),
                comment=payload["comment"],
                created_at=_in("created_at", payload["created_at"]),
            )
        case "assignment_created":
            return events.AssignmentCreated(settings=_read(payload))
        case "assignment_updated":
            kept = tuple(int(student) for student in payload.get("kept_in_moderation_set", ()))
            changes = _read_changes(payload, "kept_in_moderation_set")
            return events.AssignmentUpdated(changes=changes, kept=kept)
        case "users_updated":
            return events.UsersUpdated(users=tuple(_read(row) for row in payload["users"]))
        case "enrollments_updated":
            return events.EnrollmentsUpdated(enrollments=tuple(_read(row) for row in payload["enrollments"]))
        case "admins_updated":
            return events.AdminsUpdated(admins=tuple(_read(row) for row in payload["admins"]))
    raise ValueError(f"unknown event {name!r}: it was written by a newer version of the service")
