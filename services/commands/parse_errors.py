"""Explains why a value is not a valid command: it is unreadable, or has invalid fields, each with its remedy.

This is the slow path, taken only if the fast one refused the value. Its time is linear in the value's length for
any content, and its messages never contain a value of the sender.
"""

import hashlib
import json
import re
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate, islice
from math import isinf
from typing import Any, ClassVar, get_args

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from schemas.commands import Command
from schemas.fields import (
    COMMAND_ID_REMEDY,
    CORRELATION_ID_MAX,
    DIGEST_PATTERN,
    DIGEST_REMEDY,
    ID_REMEDY,
    NESTING_MAX,
    NO_CONTROL_PATTERN,
    is_uuid,
    parse_id,
)

# Keys and indexes from the command down to a field.
FieldPath = tuple[int | str, ...]

ERRORS_MAX = 100
PATH_CHARACTERS_MAX = 255
# Longer integers are read as infinite: Python refuses to convert them, and no field accepts them.
INTEGER_DIGITS_MAX = 4_000
COMMAND_TYPES = tuple(member.model_fields["type"].annotation.__args__[0] for member in get_args(Command))

# An unterminated string matches up to the end of the value: if the match failed, it would be tried again at every
# later quotation mark, in quadratic time.
_JSON_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_NOT_BRACKETS = bytes(set(range(256)) - set(b"{}[]"))
_DEPTH_CHANGE = [1 if byte in b"{[" else -1 for byte in range(256)]
_LONE_SURROGATE = re.compile(r"[\ud800-\udfff]")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_COMMAND_TYPE = re.compile(r"[a-z_]{1,64}")


@dataclass(frozen=True, slots=True)
class InvalidCommand:
    """An invalid command with a readable command id, so that it gets a verdict; unreadable ids are None."""

    # An invalid command acts for no user.
    actor_id: ClassVar[None] = None
    command_id: str
    type: str | None
    root_account_id: int | None
    course_id: int | None
    assignment_id: int | None
    correlation_id: str | None
    reason: str
    message: str
    errors: list[dict[str, str]]
    content_hash: bytes


@dataclass(frozen=True, slots=True)
class UnreadableRecord:
    """A record without a readable command id: no verdict can be addressed."""

    reason: str
    message: str


class _ObjectWithDuplicates(dict[str, Any]):
    """An object with repeated keys, of which the last ones count; ``keys_repeated``: which."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.duplicate_keys = [key for key, count in Counter(key for key, _ in pairs).items() if count > 1]


def explain_parse_error(value: bytes, error: ValidationError | None) -> InvalidCommand | UnreadableRecord:
    """Explain why ``value`` was refused; ``error``: the schema's error, None if it accepted the value."""
    if _measure_nesting(value) > NESTING_MAX:
        return UnreadableRecord("too_deep", f"the value is nested deeper than {NESTING_MAX} levels")
    objects_with_duplicates: list[_ObjectWithDuplicates] = []

    def build_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        fields = dict(pairs)
        if len(fields) < len(pairs):
            fields = _ObjectWithDuplicates(pairs)
            objects_with_duplicates.append(fields)
        return fields

    try:
        document = json.loads(
            value.decode("utf-8"),
            object_pairs_hook=build_object,
            parse_int=_parse_integer,
            parse_constant=reject_constant,
        )
    except UnicodeDecodeError:
        return UnreadableRecord("not_utf8", "the value is not UTF-8")
    except (ValueError, RecursionError):
        return UnreadableRecord("not_json", "the value is not one JSON object (RFC 8259, UTF-8, no byte order mark)")
    if not isinstance(document, dict):
        return UnreadableRecord("not_an_object", "the value is not a JSON object")
    has_duplicate_command_id = isinstance(document, _ObjectWithDuplicates) and "command_id" in document.duplicate_keys
    if has_duplicate_command_id or not is_uuid(document.get("command_id")):
        return UnreadableRecord("no_command_id", "the value has no single command_id that is a UUID (8-4-4-4-12)")
    error_details = [] if error is None else error.errors(include_url=False, include_input=False)
    # A parser accepts a repeated key, and stops at the first unreadable part without reporting where it is.
    needs_extra_checks = (
        bool(objects_with_duplicates) or not error_details or error_details[0]["type"] == "json_invalid"
    )
    errors = _collect_errors(_find_extra_errors(document) if needs_extra_checks else (), error_details)
    return _build_invalid_command(document, errors)


def reject_constant(name: str) -> Any:
    """Raise ValueError: ``NaN`` and ``Infinity``, which many parsers accept, are not JSON."""
    raise ValueError(f"{name} is not JSON")


def _measure_nesting(value: bytes) -> int:
    """Return how deep brackets outside of strings are nested, even if the value is not JSON."""
    brackets = _JSON_STRING.sub(b"", value).translate(None, delete=_NOT_BRACKETS)
    return max(accumulate(map(_DEPTH_CHANGE.__getitem__, brackets)), default=0)


def _parse_integer(digits: str) -> int | float:
    return int(digits) if len(digits) <= INTEGER_DIGITS_MAX else float(digits)


def _build_invalid_command(document: dict[str, Any], errors: list[dict[str, str]]) -> InvalidCommand:
    reason, message = "invalid_command", "the command has invalid fields: see errors"
    version = document.get("version", 1)
    if type(version) is int and version != 1 and not isinstance(document, _ObjectWithDuplicates):
        reason, message = "unsupported_version", "this version of commands is not supported: send version 1"
        errors = [{"path": "version", "message": "send the integer 1, or leave it out"}]
    command_type, correlation_id = document.get("type"), document.get("correlation_id")
    return InvalidCommand(
        command_id=document["command_id"].lower(),
        type=command_type if isinstance(command_type, str) and _COMMAND_TYPE.fullmatch(command_type) else None,
        root_account_id=_parse_id_or_none(document.get("root_account_id")),
        course_id=_parse_id_or_none(document.get("course_id")),
        assignment_id=_parse_id_or_none(document.get("assignment_id")),
        correlation_id=correlation_id if _is_correlation_id(correlation_id) else None,
        reason=reason,
        message=message,
        errors=errors,
        content_hash=_hash_content(document),
    )


def _hash_content(document: dict[str, Any]) -> bytes:
    content = {name: part for name, part in document.items() if name not in ("issued_at", "correlation_id")}
    # "person" makes it differ from every hash of a valid command.
    return hashlib.blake2b(json.dumps(content, sort_keys=True).encode(), digest_size=16, person=b"invalid").digest()


def _parse_id_or_none(value: object) -> int | None:
    try:
        return parse_id(value)
    except ValueError:
        return None


def _is_correlation_id(value: object) -> bool:
    return isinstance(value, str) and len(value) <= CORRELATION_ID_MAX and _UNPRINTABLE.search(value) is None


def _collect_errors(
    extra_errors: Iterable[tuple[FieldPath, str]], error_details: list[ErrorDetails]
) -> list[dict[str, str]]:
    """Merge at most ``ERRORS_MAX`` errors of both checks, the schema's last."""
    errors: dict[str, str] = {}
    for field_path, message in islice(extra_errors, ERRORS_MAX):
        errors.setdefault(_format_path(field_path), message)
    for error_detail in error_details[:ERRORS_MAX]:
        if error_detail["type"] != "json_invalid":
            errors.setdefault(_format_path(error_detail["loc"][1:] or ("type",)), _format_remedy(error_detail))
    if not errors:
        errors[""] = "send plain JSON (RFC 8259), as any JSON library writes it"
    return [{"path": path, "message": message} for path, message in islice(errors.items(), ERRORS_MAX)]


def _find_extra_errors(document: dict[str, Any]) -> Iterator[tuple[FieldPath, str]]:
    """Yield the path and remedy of each repeated key, lone surrogate and infinite number."""
    queue: deque[tuple[FieldPath, dict[str, Any] | list[Any]]] = deque([((), document)])
    while queue:
        path, node = queue.popleft()
        if isinstance(node, _ObjectWithDuplicates):
            for key in node.duplicate_keys:
                yield (*path, key), "this key is repeated in its object: send it once"
        for name, part in node.items() if isinstance(node, dict) else enumerate(node):
            if isinstance(part, dict | list):
                queue.append(((*path, name), part))
            elif isinstance(part, float) and isinf(part):
                yield (*path, name), "this number is out of range: send a smaller one"
            elif isinstance(part, str) and _LONE_SURROGATE.search(part):
                yield (*path, name), "remove the lone surrogate: it is not a character"
            if isinstance(name, str) and _LONE_SURROGATE.search(name):
                yield (*path, name), "remove the lone surrogate from the key: it is not a character"


_REMEDIES = {
    "missing": "this field is required: send it",
    "extra_forbidden": "this field is unknown: remove it",
    "model_type": "send a JSON object",
    "list_type": "send a list",
    "tuple_type": "send a list of two: a name and a number",
    "string_type": "send a string",
    "string_too_long": "send at most {max_length} characters",
    "string_too_short": "send at least {min_length} character",
    "bool_type": "send true or false",
    "int_type": "send an integer",
    "int_parsing_size": "send a smaller integer",
    "greater_than_equal": "send at least {ge}",
    "less_than_equal": "send at most {le}",
    "literal_error": "send {expected}",
    "value_error": "{error}",
    "id": ID_REMEDY,
    "command_id": COMMAND_ID_REMEDY,
    "union_tag_invalid": "send one of " + ", ".join(COMMAND_TYPES),
    "union_tag_not_found": "send one of " + ", ".join(COMMAND_TYPES),
}


_PATTERN_REMEDIES = {NO_CONTROL_PATTERN: "remove the control characters", DIGEST_PATTERN: DIGEST_REMEDY}


def _format_remedy(error_detail: ErrorDetails) -> str:
    """Reword an error of the schema so that it names the remedy."""
    error_type, context = error_detail["type"], error_detail.get("ctx", {})
    if error_type == "string_pattern_mismatch":
        return _PATTERN_REMEDIES.get(context["pattern"], "remove the NUL character")
    if error_type in ("too_long", "too_short"):
        bound = "at most {max_length}" if error_type == "too_long" else "at least {min_length}"
        return f"send {bound} items".format(**context)
    return _REMEDIES.get(error_type, "send a value that the schema of commands allows").format(**context)


def _format_path(field_path: FieldPath) -> str:
    """Format a path like ``data.users[3].name``; printable and short for any keys."""
    path = ""
    for part in field_path:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
    return _UNPRINTABLE.sub("?", path)[:PATH_CHARACTERS_MAX]
