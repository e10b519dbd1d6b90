"""Converts global ids in commands to local ids."""

import functools
import json
import re
from typing import Any

import orjson

from schemas.fields import parse_id
from schemas.global_ids import to_local_id
from services.commands.parse import reject_duplicate_keys
from services.commands.parse_errors import reject_constant

# Generated ids (of provisional grades and comments) are never published as global ids.
ID_FIELDS = frozenset(
    {
        "root_account_id", "course_id", "assignment_id", "user_id", "student_id", "author_id", "grader_id",
        "final_grader_id", "section_id", "account_id", "submission_id",
    }
)  # fmt: skip
ID_LIST_FIELDS = frozenset({"student_ids", "grader_ids", "assigned_to"})
_INTEGER_DIGITS_MAX = 19


def localize_ids(value: bytes | None, shard: int | None) -> bytes | None:
    """Replace the shard's global ids in a command record's value with local ids; a value without them is unchanged."""
    if shard is None or value is None or not _global_id_pattern(shard).search(value):
        return value
    try:
        return orjson.dumps(_localize(_DECODER.decode(value.decode()), shard))
    except (ValueError, TypeError, RecursionError):
        return value  # The parser explains what is wrong with it.


def _keep_text(number: str) -> orjson.Fragment:
    """Keep a number as it was sent: the parser refuses one that is out of range, of which a float would make null."""
    return orjson.Fragment(number)


def _parse_integer(digits: str) -> int | orjson.Fragment:
    """Parse what may be an id, and keep any other integer as it was sent."""
    return int(digits) if digits.isdecimal() and len(digits) <= _INTEGER_DIGITS_MAX else _keep_text(digits)


_DECODER = json.JSONDecoder(
    object_pairs_hook=reject_duplicate_keys,
    parse_float=_keep_text,
    parse_int=_parse_integer,
    parse_constant=reject_constant,
)


@functools.cache
def _global_id_pattern(shard: int) -> re.Pattern[bytes]:
    return re.compile(rb"(?<![0-9])%d[0-9]{13}(?![0-9])" % shard)


def _localize(value: Any, shard: int) -> Any:
    if isinstance(value, list):
        return [_localize(item, shard) for item in value]
    if not isinstance(value, dict):
        return value
    return {name: _localize_field(name, part, shard) for name, part in value.items()}


def _localize_field(name: str, value: Any, shard: int) -> Any:
    if name in ID_FIELDS:
        return _to_local(value, shard)
    if name in ID_LIST_FIELDS and isinstance(value, list):
        return [_to_local(item, shard) for item in value]
    # A producer's free-form object contains no ids of ours.
    return value if name == "rubric_assessment" else _localize(value, shard)


def _to_local(value: Any, shard: int) -> Any:
    try:
        return to_local_id(parse_id(value), shard)
    except ValueError:
        return value
