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
from services.moderation.grading_scheme import GradingScheme


def decimal_to_json(value: Decimal | None) -> int | float | None:
    """A score as JSON: whole numbers without a fraction. Exact for the 15 digits a score has."""
    if value is None:
        return None
    whole = int(value)
    return whole if whole == value else float(value)


def decimal_from_json(value: float | None) -> Decimal | None:
    """The reverse of :func:`decimal_to_json`."""
    if value is None:
        return None
    return _parse_decimal(repr(value))


@lru_cache(maxsize=4_096)
def _parse_decimal(text: str) -> Decimal:
    return Decimal(text)


@lru_cache(maxsize=256)  # The decisions of a batch have one time, which is written several times in each.
def format_time(value: datetime | None) -> str | None:
    """RFC 3339, UTC, milliseconds."""
    return None if value is None else value.isoformat(timespec="milliseconds")[:23] + "Z"


@lru_cache(maxsize=256)
def format_canvas_time(value: datetime | None) -> str | None:
    """As Canvas's API writes a time."""
    return None if value is None else value.isoformat(timespec="seconds")[:19] + "Z"


@lru_cache(maxsize=4_096)
def parse_time(text: str | None) -> datetime | None:
    """The reverse of :func:`format_time`."""
    return None if text is None else datetime.fromisoformat(text).astimezone(UTC)


def _scheme_to_json(value: GradingScheme) -> list[list[Any]]:
    return [[band, decimal_to_json(bound)] for band, bound in value]


def _scheme_from_json(value: list[list[Any]]) -> GradingScheme:
    return tuple((band, Decimal(repr(bound))) for band, bound in value)


def _ids_to_json(value: frozenset[int]) -> list[str]:
    return [str(student) for student in sorted(value)]


def _ids_from_json(value: list[str]) -> frozenset[int]:
    return frozenset(int(student) for student in value)


# How a field is written and read, by its name; a field that is not here is written as it is.
_CODECS: Mapping[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    **dict.fromkeys(
        ("account_id", "final_grader_id", "submission_id", "grader_id", "scorer_id", "user_id", "section_id"),
        (str, int),
    ),
    **dict.fromkeys(("points_possible", "score"), (decimal_to_json, decimal_from_json)),
    **dict.fromkeys(("submitted_at", "graded_at", "posted_at", "created_at"), (format_time, parse_time)),
    "grading_scheme": (_scheme_to_json, _scheme_from_json),
    "assigned_to": (_ids_to_json, _ids_from_json),
}
_NO_PERMISSIONS: Mapping[str, bool] = {}
_ENCODERS = {name: encode for name, (encode, _) in _CODECS.items()}
# The same few texts stand in every row of a state: each is held once.
_DECODERS = {name: decode for name, (_, decode) in _CODECS.items()} | dict.fromkeys(
    ("grade", "type", "state"), sys.intern
)
_DECODERS["permissions"] = lambda permissions: permissions or _NO_PERMISSIONS


def _encode_field(name: str, value: Any) -> Any:
    encode = _ENCODERS.get(name)
    return value if value is None or encode is None else encode(value)


def _decode_field(name: str, value: Any) -> Any:
    decode = _DECODERS.get(name)
    return value if value is None or decode is None else decode(value)


def _encode_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _encode_field(name, value) for name, value in fields.items()}


# Most of an assignment's events are changes of grades: in these two a call for each value took half of the time.
def _encode_changes(changes: events.Changes) -> dict[str, Any]:
    encoded_changes = {}
    for name, (old, new) in changes.items():
        encode = _ENCODERS.get(name)
        if encode is None:
            encoded_changes[name] = [old, new]
        else:
            encoded_changes[name] = [None if old is None else encode(old), None if new is None else encode(new)]
    return encoded_changes


def _decode_fields(fields: Mapping[str, Any], *excluded: str) -> dict[str, Any]:
    return {name: _decode_field(name, value) for name, value in fields.items() if name not in excluded}


def _decode_changes(fields: Mapping[str, Any], *excluded: str) -> dict[str, tuple[Any, Any]]:
    changes = {}
    for name, old_and_new in fields.items():
        if name in excluded:
            continue
        old, new = old_and_new
        decode = _DECODERS.get(name)
        if decode is None:
            changes[name] = (old, new)
        else:
            changes[name] = (None if old is None else decode(old), None if new is None else decode(new))
    return changes


def to_payload(event: Event) -> dict[str, Any]:
    """JSON-able payload of an event; ids of student and submission stand in the envelope."""
    match event:
        case events.ProvisionalGradeCreated():
            payload: dict[str, Any] = {
                "id": str(event.provisional_grade_id),
                "score": decimal_to_json(event.score),
                "grade": event.grade,
                "graded_at": format_time(event.graded_at),
                "final": event.final,
                "source_provisional_grade_id": None,
                "graded_anonymously": event.graded_anonymously,
                "scorer_id": str(event.scorer_id),
            }
            if event.rubric_assessment is not None:
                payload["rubric_assessment"] = event.rubric_assessment
            return payload
        case events.ProvisionalGradeUpdated():
            return {"id": str(event.provisional_grade_id), **_encode_changes(event.changes)}
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
                "score": [decimal_to_json(event.score[0]), decimal_to_json(event.score[1])],
                "grade": list(event.grade),
                "graded_at": format_time(event.graded_at),
                "graded_anonymously": event.graded_anonymously,
                "was_graded": event.was_graded,
            }
        case events.GraderSlotTaken():
            return {"grader_id": str(event.grader_id), "anonymous_id": event.anonymous_id}
        case events.SubmissionUpdated() | events.CourseUpdated():
            return _encode_changes(event.changes)
        case events.GradesPosted():
            return {"grades_published_at": [None, format_time(event.grades_published_at)]}
        case events.SubmissionPosted():
            return {**_grade_payload(event), "posted_at": format_time(event.posted_at)}
        case events.SubmissionHidden():
            return _grade_payload(event)
        case events.StudentsSelectedForModeration():
            return {"student_ids": [str(student) for student in event.student_ids]}
        case events.SubmissionRecorded():
            return _encode_fields(event.changed_fields)
        case events.SubmissionCommentRecorded():
            return {
                "author_id": str(event.author_id),
                "comment": event.comment,
                "created_at": format_time(event.created_at),
            }
        case events.AssignmentCreated():
            return _encode_fields(event.settings)
        case events.AssignmentUpdated():
            kept_students = (
                {"kept_in_moderation_set": [str(student) for student in event.kept_student_ids]}
                if event.kept_student_ids
                else {}
            )
            return {**_encode_changes(event.changes), **kept_students}
        case events.UsersUpdated():
            return {"users": [_encode_fields(row) for row in event.users]}
        case events.EnrollmentsUpdated():
            return {"enrollments": [_encode_fields(row) for row in event.enrollments]}
        case events.AdminsUpdated():
            return {"admins": [_encode_fields(row) for row in event.admins]}


def _grade_payload(event: events.SubmissionPosted | events.SubmissionHidden) -> dict[str, Any]:
    grader_id = None if event.grader_id is None else str(event.grader_id)
    return {"score": decimal_to_json(event.score), "grade": event.grade, "grader_id": grader_id}


def from_payload(name: str, payload: dict[str, Any], *, student_id: int | None, submission_id: int | None) -> Event:
    """The event that :func:`to_payload` wrote; ValueError for a name that no version of the service wrote."""
    subject_ids: dict[str, Any] = {"student_id": student_id, "submission_id": submission_id}
    match name:
        case "provisional_grade_created":
            fields = _decode_fields(payload, "id", "source_provisional_grade_id")
            return events.ProvisionalGradeCreated(**subject_ids, provisional_grade_id=int(payload["id"]), **fields)
        case "provisional_grade_updated":
            changes = _decode_changes(payload, "id")
            return events.ProvisionalGradeUpdated(
                **subject_ids, provisional_grade_id=int(payload["id"]), changes=changes
            )
        case "provisional_comment_created":
            return events.ProvisionalCommentCreated(
                **subject_ids,
                provisional_grade_id=int(payload["provisional_grade_id"]),
                comment_id=None if payload["id"] is None else int(payload["id"]),
                author_id=int(payload["author_id"]),
                comment=payload["comment"],
            )
        case "provisional_grade_selected":
            return events.ProvisionalGradeSelected(**subject_ids, provisional_grade_id=int(payload["id"]))
        case "grade_published":
            old, new = payload["score"]
            return events.GradePublished(
                **subject_ids,
                provisional_grade_id=int(payload["provisional_grade_id"]),
                scorer_id=int(payload["scorer_id"]),
                score=(decimal_from_json(old), decimal_from_json(new)),
                grade=(payload["grade"][0], payload["grade"][1]),
                graded_at=_decode_field("graded_at", payload["graded_at"]),
                graded_anonymously=payload["graded_anonymously"],
                was_graded=payload["was_graded"],
            )
        case "grader_slot_taken":
            grader_id = int(payload["grader_id"])
            return events.GraderSlotTaken(grader_id=grader_id, anonymous_id=payload["anonymous_id"])
        case "submission_updated":
            return events.SubmissionUpdated(**subject_ids, changes=_decode_changes(payload))
        case "course_updated":
            return events.CourseUpdated(changes=_decode_changes(payload))
        case "grades_posted":
            return events.GradesPosted(
                grades_published_at=_decode_field("graded_at", payload["grades_published_at"][1])
            )
        case "submission_posted":
            return events.SubmissionPosted(**subject_ids, **_decode_fields(payload))
        case "submission_hidden":
            return events.SubmissionHidden(**subject_ids, **_decode_fields(payload))
        case "students_selected_for_moderation":
            students = tuple(int(student) for student in payload["student_ids"])
            return events.StudentsSelectedForModeration(student_ids=students)
        case "submission_recorded":
            return events.SubmissionRecorded(**subject_ids, changed_fields=_decode_fields(payload))
        case "submission_comment_recorded":
            return events.SubmissionCommentRecorded(
                **subject_ids,
                author_id=int(payload["author_id"]),
                comment=payload["comment"],
                created_at=_decode_field("created_at", payload["created_at"]),
            )
        case "assignment_created":
            return events.AssignmentCreated(settings=_decode_fields(payload))
        case "assignment_updated":
            kept_student_ids = tuple(int(student) for student in payload.get("kept_in_moderation_set", ()))
            changes = _decode_changes(payload, "kept_in_moderation_set")
            return events.AssignmentUpdated(changes=changes, kept_student_ids=kept_student_ids)
        case "users_updated":
            return events.UsersUpdated(users=tuple(_decode_fields(row) for row in payload["users"]))
        case "enrollments_updated":
            return events.EnrollmentsUpdated(enrollments=tuple(_decode_fields(row) for row in payload["enrollments"]))
        case "admins_updated":
            return events.AdminsUpdated(admins=tuple(_decode_fields(row) for row in payload["admins"]))
    raise ValueError(f"unknown event {name!r}: it was written by a newer version of the service")
