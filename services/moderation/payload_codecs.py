"""Encodes and decodes the fields of event payloads, by their names."""

import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict
from decimal import Decimal
from typing import Any

from services.moderation.adjudication_policy import policy_from_json, policy_to_json
from services.moderation.events import Changes
from services.moderation.grading_scheme import GradingScheme
from services.moderation.json_values import decimal_from_json, decimal_to_json, format_time, parse_time
from services.moderation.late_policy import LatePolicy


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
    return [encode_fields(row) for row in rows]


def _rows_from_json(rows: list[dict[str, Any]]) -> tuple[dict[str, Any], ...]:
    return tuple(decode_fields(row) for row in rows)


Codec = tuple[Callable[[Any], Any], Callable[[Any], Any]]
_ID: Codec = (str, int)
_SCORE: Codec = (decimal_to_json, decimal_from_json)
_TIME: Codec = (format_time, parse_time)
_ROWS: Codec = (_rows_to_json, _rows_from_json)
_STUDENTS: Codec = (
    lambda students: [str(student) for student in students],
    lambda students: tuple(int(student) for student in students),
)
TEXT_PAIR: Codec = (list, tuple)
_LIST: Codec = (list, tuple)
SCORE_PAIR: Codec = (
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
ENCODERS = {name: encode for name, (encode, _) in _CODECS.items()}
# The same few texts occur in every row of a state: they are interned, to hold each once.
DECODERS = {name: decode for name, (_, decode) in _CODECS.items()} | dict.fromkeys(
    ("grade", "type", "state"), sys.intern
)
DECODERS["permissions"] = lambda permissions: permissions or _NO_PERMISSIONS


def encode_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Encode values by their names; None and values without a codec stay as they are."""
    encoded_fields = {}
    for name, value in fields.items():
        encode = ENCODERS.get(name)
        encoded_fields[name] = value if value is None or encode is None else encode(value)
    return encoded_fields


def decode_fields(fields: Mapping[str, Any], excluded: Collection[str] = ()) -> dict[str, Any]:
    """Do the reverse of :func:`encode_fields`; ``excluded`` names are left out."""
    decoded_fields = {}
    for name, value in fields.items():
        if name in excluded:
            continue
        decode = DECODERS.get(name)
        decoded_fields[name] = value if value is None or decode is None else decode(value)
    return decoded_fields


# Most events of an assignment change grades. These two are inlined: a call for each value took half of the time.
def encode_changes(changes: Changes) -> dict[str, Any]:
    """Encode pairs of old and new values by their names."""
    encoded_changes = {}
    for name, (old, new) in changes.items():
        encode = ENCODERS.get(name)
        if encode is None:
            encoded_changes[name] = [old, new]
        else:
            encoded_changes[name] = [None if old is None else encode(old), None if new is None else encode(new)]
    return encoded_changes


def decode_changes(fields: Mapping[str, Any], excluded: Collection[str] = ()) -> dict[str, tuple[Any, Any]]:
    """Do the reverse of :func:`encode_changes`; ``excluded`` names are left out."""
    changes = {}
    for name, old_and_new in fields.items():
        if name in excluded:
            continue
        old, new = old_and_new
        decode = DECODERS.get(name)
        if decode is None:
            changes[name] = (old, new)
        else:
            changes[name] = (None if old is None else decode(old), None if new is None else decode(new))
    return changes
