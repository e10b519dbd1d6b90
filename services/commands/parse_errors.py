"""Why a value is no command: unreadable, or readable and invalid, with the fields at fault and their remedies.

The slow path: taken only when the fast one refused. Everything here takes time in proportion to the value's length,
whatever stands in it, and never repeats a value the sender sent.
"""

import hashlib
import json
import re
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate, islice
from math import isinf
from typing import Any, get_args

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from schemas.commands import Command
from schemas.fields import COMMAND_ID_REMEDY, CORRELATION_ID_MAX, ID_REMEDY, NESTING_MAX, NO_CONTROL, is_uuid, parse_id

# Keys and indexes from the command down to a field.
Place = tuple[int | str, ...]

ERRORS_MAX = 100
CHARACTERS_MAX = 255
# Longer integers are read as infinite: Python refuses to convert them, and no field takes them.
DIGITS_MAX = 4_000
TYPES = tuple(member.model_fields["type"].annotation.__args__[0] for member in get_args(Command))

# A string that never ends is taken to the end of the value at once: a match that failed there would be tried again
# at every later quotation mark, and take time with the square of the length.
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_NOT_BRACKETS = bytes(set(range(256)) - set(b"{}[]"))
_STEP = [1 if byte in b"{[" else -1 for byte in range(256)]
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_TYPE = re.compile(r"[a-z_]{1,64}")


@dataclass(frozen=True, slots=True)
class Invalid:
    """A verdict can be addressed: the command id is readable. Ids are None where they cannot be read."""

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
class Unreadable:
    """No verdict can be addressed."""

    reason: str
    message: str


class _Repeating(dict[str, Any]):
    """An object in which keys stand more than once (the last one counts); ``keys_repeated``: which."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.keys_repeated = [key for key, count in Counter(key for key, _ in pairs).items() if count > 1]


def refused(value: bytes, error: ValidationError | None) -> Invalid | Unreadable:
    """Why ``value`` was refused; ``error``: what the schema said, None if it had nothing against it."""
    if _nesting(value) > NESTING_MAX:
        return Unreadable("too_deep", f"the value is nested deeper than {NESTING_MAX} levels")
    repeating: list[_Repeating] = []

    def read_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        read = dict(pairs)
        if len(read) < len(pairs):
            read = _Repeating(pairs)
            repeating.append(read)
        return read

    try:
        found = json.loads(
            value.decode("utf-8"), object_pairs_hook=read_object, parse_int=_integer, parse_constant=no_constant
        )
    except UnicodeDecodeError:
        return Unreadable("not_utf8", "the value is not UTF-8")
    except (ValueError, RecursionError):
        return Unreadable("not_json", "the value is not one JSON object (RFC 8259, UTF-8, no byte order mark)")
    if not isinstance(found, dict):
        return Unreadable("not_an_object", "the value is not a JSON object")
    twice = isinstance(found, _Repeating) and "command_id" in found.keys_repeated
    if twice or not is_uuid(found.get("command_id")):
        return Unreadable("no_command_id", "command_id does not stand there once, as a UUID in 8-4-4-4-12 form")
    details = [] if error is None else error.errors(include_url=False, include_input=False)
    # A parser takes a key that stands twice, and stops at the first thing it cannot read without saying where it is.
    unseen = bool(repeating) or not details or details[0]["type"] == "json_invalid"
    errors = _errors(_beyond_the_schema(found) if unseen else (), details)
    return _invalid(found, errors)


def no_constant(name: str) -> Any:
    """``NaN`` and ``Infinity``, which many parsers take, are not JSON."""
    raise ValueError(f"{name} is not JSON")


def _nesting(value: bytes) -> int:
    """How deep brackets stand in each other outside of strings, also where the value is not JSON."""
    brackets = _STRING.sub(b"", value).translate(None, delete=_NOT_BRACKETS)
    return max(accumulate(map(_STEP.__getitem__, brackets)), default=0)


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) <= DIGITS_MAX else float(digits)


def _invalid(found: dict[str, Any], errors: list[dict[str, str]]) -> Invalid:
    reason, message = "invalid_command", "the command has invalid fields: see errors"
    version = found.get("version", 1)
    if type(version) is int and version != 1 and not isinstance(found, _Repeating):
        reason, message = "unsupported_version", "this version of commands is not supported: send version 1"
        errors = [{"path": "version", "message": "send the integer 1, or leave it out"}]
    command_type, correlation = found.get("type"), found.get("correlation_id")
    return Invalid(
        command_id=found["command_id"].lower(),
        type=command_type if isinstance(command_type, str) and _TYPE.fullmatch(command_type) else None,
        root_account_id=_id(found.get("root_account_id")),
        course_id=_id(found.get("course_id")),
        assignment_id=_id(found.get("assignment_id")),
        correlation_id=correlation if _is_correlation_id(correlation) else None,
        reason=reason,
        message=message,
        errors=errors,
        content_hash=_hash_of(found),
    )


def _hash_of(found: dict[str, Any]) -> bytes:
    content = {name: part for name, part in found.items() if name not in ("issued_at", "correlation_id")}
    # "person" keeps it apart from every hash of a valid command.
    return hashlib.blake2b(json.dumps(content, sort_keys=True).encode(), digest_size=16, person=b"invalid").digest()


def _id(value: object) -> int | None:
    try:
        return parse_id(value)
    except ValueError:
        return None


def _is_correlation_id(value: object) -> bool:
    return isinstance(value, str) and len(value) <= CORRELATION_ID_MAX and _UNPRINTABLE.search(value) is None


def _errors(unseen: Iterable[tuple[Place, str]], details: list[ErrorDetails]) -> list[dict[str, str]]:
    """What the schema did not see first, then what it said of other fields; at most ``ERRORS_MAX``."""
    errors: dict[str, str] = {}
    for place, message in islice(unseen, ERRORS_MAX):
        errors.setdefault(_path(place), message)
    for detail in details[:ERRORS_MAX]:
        if detail["type"] != "json_invalid":
            errors.setdefault(_path(detail["loc"][1:] or ("type",)), _remedy(detail))
    if not errors:
        errors[""] = "send plain JSON (RFC 8259), as any JSON library writes it"
    return [{"path": path, "message": message} for path, message in islice(errors.items(), ERRORS_MAX)]


def _beyond_the_schema(found: dict[str, Any]) -> Iterator[tuple[Place, str]]:
    """Keys that stand twice, lone surrogates and infinite numbers, with where they are."""
    waiting: deque[tuple[Place, dict[str, Any] | list[Any]]] = deque([((), found)])
    while waiting:
        path, node = waiting.popleft()
        if isinstance(node, _Repeating):
            for key in node.keys_repeated:
                yield (*path, key), "this key stands more than once in its object: send it once"
        for name, part in node.items() if isinstance(node, dict) else enumerate(node):
            if isinstance(part, dict | list):
                waiting.append(((*path, name), part))
            elif isinstance(part, float) and isinf(part):
                yield (*path, name), "this number is out of range: send a smaller one"
            elif isinstance(part, str) and _SURROGATE.search(part):
                yield (*path, name), "remove the lone surrogate: it is no character"
            if isinstance(name, str) and _SURROGATE.search(name):
                yield (*path, name), "remove the lone surrogate from the key: it is no character"


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
    "union_tag_invalid": "send one of " + ", ".join(TYPES),
    "union_tag_not_found": "send one of " + ", ".join(TYPES),
}


def _remedy(detail: ErrorDetails) -> str:
    """The schema's complaint as what to do about it."""
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "string_pattern_mismatch":
        return "remove the control characters" if context["pattern"] == NO_CONTROL else "remove the NUL character"
    if kind in ("too_long", "too_short"):
        bound = "at most {max_length}" if kind == "too_long" else "at least {min_length}"
        return f"send {bound} items".format(**context)
    return _REMEDIES.get(kind, "send a value that the schema of commands allows").format(**context)


def _path(place: Place) -> str:
    """``data.users[3].name``; printable and short whatever the sender called his keys."""
    path = ""
    for part in place:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
    return _UNPRINTABLE.sub("?", path)[:CHARACTERS_MAX]
