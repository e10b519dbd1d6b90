"""Converts events to the payloads that are stored and published, and back.

Where Canvas audits the same fact the payload is Canvas's: plain values when created, ``[old, new]`` for changes.
Ids are decimal strings, scores JSON numbers, times RFC 3339 in milliseconds.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

from services.moderation import events
from services.moderation.events import Event
from services.moderation.payload_codecs import (
    DECODERS,
    ENCODERS,
    SCORE_PAIR,
    TEXT_PAIR,
    Codec,
    decode_changes,
    decode_fields,
    encode_changes,
    encode_fields,
)


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
        encode, decode = (codecs or {}).get(attribute, (ENCODERS.get(attribute), DECODERS.get(attribute)))
        fields.append(_Field(attribute, (keys or {}).get(attribute, attribute), encode, decode, attribute in optional))
    return _Form(
        event,
        tuple(fields),
        constants or {},
        values or changes,
        encode_fields if changes is None else encode_changes,
        decode_fields if changes is None else decode_changes,
        frozenset(field.key for field in fields),
    )


_GRADE_PAIRS: Mapping[str, Codec] = {"score": SCORE_PAIR, "grade": TEXT_PAIR, "excused": TEXT_PAIR}
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
            codecs={"score": SCORE_PAIR, "grade": TEXT_PAIR},
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
