"""Converts events to the payloads that are stored and published, and back.

Where Canvas audits the same fact the payload is Canvas's: plain values when created, ``[old, new]`` for changes.
Ids are decimal strings, scores JSON numbers, times RFC 3339 in milliseconds.
"""

import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any, NamedTuple

from services.moderation import events
from services.moderation.adjudication_policy import policy_from_json, policy_to_json
from services.moderation.events import Event
from services.moderation.grading_scheme import GradingScheme
from services.moderation.late_policy import LatePolicy


def decimal_to_json(value: Decimal | None) -> int | float | None:
    """Convert a score to JSON, exactly for the 15 digits it has; whole numbers become int."""
    if value is None:
        return None
    whole = int(value)
    return whole if whole == value else float(value)


def decimal_from_json(value: float | None) -> Decimal | None:
    """Do the reverse of :func:`decimal_to_json`."""
    if value is None:
        return None
    return _parse_decimal(repr(value))


@lru_cache(maxsize=4_096)
def _parse_decimal(text: str) -> Decimal:
    return Decimal(text)


@lru_cache(maxsize=256)  # All decisions of a batch have the same time, which each writes several times.
def format_time(value: datetime | None) -> str | None:
    """Format a time as RFC 3339 in UTC with milliseconds."""
    return None if value is None else value.isoformat(timespec="milliseconds")[:23] + "Z"


@lru_cache(maxsize=256)
def format_canvas_time(value: datetime | None) -> str | None:
    """Format a time as Canvas's API does."""
    return None if value is None else value.isoformat(timespec="seconds")[:19] + "Z"


@lru_cache(maxsize=4_096)
def parse_time(text: str | None) -> datetime | None:
    """Do the reverse of :func:`format_time`."""
    return None if text is None else datetime.fromisoformat(text).astimezone(UTC)


def _scheme_to_json(value: GradingScheme) -> list[list[Any]]:
    return [[band, decimal_to_json(bound)] for band, bound in value]


def _scheme_from_json(value: list[list[Any]]) -> GradingScheme:
    return tuple((band, Decimal(repr(bound))) for band, bound in value)


_LATE_POLICY_PERCENTAGES = ("late_submission_deduction", "late_submission_minimum_percent")


def _late_policy_to_json(value: LatePolicy) -> dict[str, Any]:
    return {**asdict(value), **{name: decimal_to_json(getattr(value, name)) for name in _LATE_POLICY_PERCENTAGES}}


def _late_policy_from_json(value: dict[str, Any]) -> LatePolicy:
    percentages = {name: decimal_from_json(value[name]) for name in _LATE_POLICY_PERCENTAGES}
    return LatePolicy(**{**value, **percentages})


def _ids_to_json(value: frozenset[int]) -> list[str]:
    return [str(student) for student in sorted(value)]


def _ids_from_json(value: list[str]) -> frozenset[int]:
    return frozenset(int(student) for student in value)


def _rows_to_json(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [_encode_fields(row) for row in rows]


def _rows_from_json(rows: list[dict[str, Any]]) -> tuple[dict[str, Any], ...]:
    return tuple(_decode_fields(row) for row in rows)


Codec = tuple[Callable[[Any], Any], Callable[[Any], Any]]
_ID: Codec = (str, int)
_SCORE: Codec = (decimal_to_json, decimal_from_json)
_TIME: Codec = (format_time, parse_time)
_ROWS: Codec = (_rows_to_json, _rows_from_json)
_STUDENTS: Codec = (
    lambda students: [str(student) for student in students],
    lambda students: tuple(int(student) for student in students),
)
_TEXT_PAIR: Codec = (list, tuple)
_LIST: Codec = (list, tuple)
_SCORE_PAIR: Codec = (
    lambda pair: [decimal_to_json(pair[0]), decimal_to_json(pair[1])],
    lambda pair: (decimal_from_json(pair[0]), decimal_from_json(pair[1])),
)
# A publication sets this time once, so there is no old value.
_TIME_SET: Codec = (lambda at: [None, format_time(at)], lambda pair: parse_time(pair[1]))

# How a value is encoded and decoded, by its name; other values are written as they are.
_CODECS: Mapping[str, Codec] = {
    **dict.fromkeys(
        ("account_id", "final_grader_id", "submission_id", "grader_id", "scorer_id", "user_id", "section_id"), _ID
    ),
    **dict.fromkeys(("provisional_grade_id", "comment_id", "author_id", "student_id"), _ID),
    **dict.fromkeys(("points_possible", "score", "entered_score", "points_deducted"), _SCORE),
    **dict.fromkeys(("submitted_at", "graded_at", "posted_at", "created_at", "publish_at"), _TIME),
    **dict.fromkeys(("users", "enrollments", "admins"), _ROWS),
    **dict.fromkeys(("student_ids", "kept_student_ids", "grader_ids"), _STUDENTS),
    "grading_scheme": (_scheme_to_json, _scheme_from_json),
    **dict.fromkeys(("marks", "sampled", "allocations"), _ROWS),
    **dict.fromkeys(("failed", "comparisons", "reasons"), _LIST),
    **dict.fromkeys(("adjudication", "policy"), (policy_to_json, policy_from_json)),
    "late_policy": (_late_policy_to_json, _late_policy_from_json),
    "assigned_to": (_ids_to_json, _ids_from_json),
    "grades_published_at": _TIME_SET,
}
_NO_PERMISSIONS: Mapping[str, bool] = {}
_ENCODERS = {name: encode for name, (encode, _) in _CODECS.items()}
# The same few texts occur in every row of a state: they are interned, to hold each once.
_DECODERS = {name: decode for name, (_, decode) in _CODECS.items()} | dict.fromkeys(
    ("grade", "type", "state"), sys.intern
)
_DECODERS["permissions"] = lambda permissions: permissions or _NO_PERMISSIONS


def _encode_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    encoded_fields = {}
    for name, value in fields.items():
        encode = _ENCODERS.get(name)
        encoded_fields[name] = value if value is None or encode is None else encode(value)
    return encoded_fields


def _decode_fields(fields: Mapping[str, Any], excluded: Collection[str] = ()) -> dict[str, Any]:
    decoded_fields = {}
    for name, value in fields.items():
        if name in excluded:
            continue
        decode = _DECODERS.get(name)
        decoded_fields[name] = value if value is None or decode is None else decode(value)
    return decoded_fields


# Most events of an assignment change grades. These two are inlined: a call for each value took half of the time.
def _encode_changes(changes: events.Changes) -> dict[str, Any]:
    encoded_changes = {}
    for name, (old, new) in changes.items():
        encode = _ENCODERS.get(name)
        if encode is None:
            encoded_changes[name] = [old, new]
        else:
            encoded_changes[name] = [None if old is None else encode(old), None if new is None else encode(new)]
    return encoded_changes


def _decode_changes(fields: Mapping[str, Any], excluded: Collection[str] = ()) -> dict[str, tuple[Any, Any]]:
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


class _Field(NamedTuple):
    """An event's attribute and its key in the payload; an optional one is left out while it is empty."""

    attribute: str
    key: str
    encode: Callable[[Any], Any] | None
    decode: Callable[[Any], Any] | None
    is_optional: bool


class _Form(NamedTuple):
    """The form of one event's payload.

    ``open_attribute``: the attribute whose entries become keys of the payload, next to the fields;
    ``constants``: keys without an attribute of the event.
    """

    event: type[Event]
    fields: tuple[_Field, ...]
    constants: Mapping[str, Any]
    open_attribute: str | None
    encode_open: Callable[[Any], dict[str, Any]]
    decode_open: Callable[[Any, Collection[str]], dict[str, Any]]
    closed_keys: frozenset[str]


def _form(
    event: type[Event],
    *attributes: str,
    keys: Mapping[str, str] | None = None,
    codecs: Mapping[str, Codec] | None = None,
    optional: Sequence[str] = (),
    constants: Mapping[str, Any] | None = None,
    values: str | None = None,
    changes: str | None = None,
) -> _Form:
    """Build a form. ``values``, ``changes``: the open attribute, with plain values or with old and new ones."""
    fields = []
    for attribute in (*attributes, *optional):
        encode, decode = (codecs or {}).get(attribute, (_ENCODERS.get(attribute), _DECODERS.get(attribute)))
        fields.append(_Field(attribute, (keys or {}).get(attribute, attribute), encode, decode, attribute in optional))
    return _Form(
        event,
        tuple(fields),
        constants or {},
        values or changes,
        _encode_fields if changes is None else _encode_changes,
        _decode_fields if changes is None else _decode_changes,
        frozenset(field.key for field in fields),
    )


_GRADE_PAIRS: Mapping[str, Codec] = {"score": _SCORE_PAIR, "grade": _TEXT_PAIR, "excused": _TEXT_PAIR}
_GRADE_ID_KEY = {"provisional_grade_id": "id"}
_FORMS: Mapping[str, _Form] = {
    form.event.name: form
    for form in (
        _form(events.CourseUpdated, changes="changes"),
        _form(events.UsersUpdated, "users"),
        _form(events.EnrollmentsUpdated, "enrollments"),
        _form(events.AdminsUpdated, "admins"),
        _form(events.PersonErased, "user_id"),
        _form(events.AssignmentCreated, values="settings"),
        _form(
            events.AssignmentUpdated,
            keys={"kept_student_ids": "kept_in_moderation_set"},
            optional=("kept_student_ids",),
            changes="changes",
        ),
        _form(events.SubmissionRecorded, values="changed_fields"),
        _form(events.SubmissionCommentRecorded, "author_id", "comment", "created_at"),
        _form(events.GraderSlotTaken, "grader_id", "anonymous_id"),
        _form(events.GraderSlotReleased, "grader_id", "anonymous_id"),
        _form(events.SubmissionsAllocated, "allocations", "enforced"),
        _form(events.StudentsSelectedForModeration, "student_ids", optional=("sampled",)),
        _form(
            events.ProvisionalGradeCreated,
            *("provisional_grade_id", "score", "grade", "graded_at", "final", "graded_anonymously", "scorer_id"),
            keys=_GRADE_ID_KEY,
            constants={"source_provisional_grade_id": None},
            optional=("rubric_assessment",),
        ),
        _form(events.ProvisionalGradeUpdated, "provisional_grade_id", keys=_GRADE_ID_KEY, changes="changes"),
        _form(
            events.ProvisionalCommentCreated,
            *("comment_id", "comment", "author_id", "provisional_grade_id"),
            keys={"comment_id": "id"},
        ),
        # Canvas requires the student in the payload too.
        _form(events.ProvisionalGradeSelected, "provisional_grade_id", "student_id", keys=_GRADE_ID_KEY),
        _form(
            events.ProvisionalGradeAdjudicated,
            *("policy", "policy_version", "points_possible", "grading_type", "grading_scheme", "marks", "comparisons"),
            *("outcome", "score", "failed", "missing", "provisional_grade_id", "records_final", "selects"),
        ),
        _form(events.SubmissionUpdated, changes="changes"),
        _form(
            events.GradePublished,
            *("provisional_grade_id", "scorer_id", "score", "grade", "entered_score", "points_deducted"),
            *("graded_at", "graded_anonymously", "was_graded"),
            codecs={"score": _SCORE_PAIR, "grade": _TEXT_PAIR},
        ),
        _form(events.GradesPosted, "grades_published_at"),
        _form(events.PublicationScheduled, "schedule_id", "publish_at", "user_id", "plan_digest"),
        _form(events.PublicationScheduleCancelled, "schedule_id", "publish_at"),
        _form(
            events.GradeRevised,
            *("score", "grade", "excused", "entered_score", "points_deducted", "grader_id", "graded_at", "was_graded"),
            "reason",
            codecs=_GRADE_PAIRS,
        ),
        _form(
            events.GradeWithdrawn,
            *("score", "grade", "excused", "grader_id", "graded_at", "reason"),
            codecs=_GRADE_PAIRS,
        ),
        _form(events.SubmissionPosted, "score", "grade", "grader_id", "graded", "posted_at"),
        _form(events.SubmissionHidden, "score", "grade", "grader_id", "graded"),
    )
}
"""Forms by event name. The ids of student and submission are in the envelope."""
_ABOUT_STUDENT = frozenset(name for name, form in _FORMS.items() if "submission_id" in form.event.__dataclass_fields__)


def to_payload(event: Event) -> dict[str, Any]:
    """Return the JSON-able payload of an event."""
    form = _FORMS[event.name]
    payload = dict(form.constants)
    for attribute, key, encode, _, is_optional in form.fields:
        value = getattr(event, attribute)
        if value is None or encode is None:
            if value is not None or not is_optional:
                payload[key] = value
        elif value or not is_optional:
            payload[key] = encode(value)
    if form.open_attribute is not None:
        payload |= form.encode_open(getattr(event, form.open_attribute))
    return payload


def from_payload(name: str, payload: dict[str, Any], *, student_id: int | None, submission_id: int | None) -> Event:
    """Return the event that :func:`to_payload` wrote. Raises ValueError for an unknown name."""
    form = _FORMS.get(name)
    if form is None:
        raise ValueError(f"unknown event {name!r}: it was written by a newer version of the service")
    arguments: dict[str, Any] = {}
    for attribute, key, _, decode, is_optional in form.fields:
        if is_optional and key not in payload:
            continue
        value = payload[key]
        arguments[attribute] = value if value is None or decode is None else decode(value)
    if form.open_attribute is not None:
        arguments[form.open_attribute] = form.decode_open(payload, form.closed_keys)
    if name in _ABOUT_STUDENT:
        arguments["student_id"], arguments["submission_id"] = student_id, submission_id
    return form.event(**arguments)
