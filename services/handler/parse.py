"""A record's value: a command, a command that cannot be, or something no verdict can be addressed to. Never raises."""

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any

import orjson
from pydantic import ValidationError

from schemas.commands import COMMAND
from schemas.fields import NESTING_MAX, is_uuid, parse_id
from services.handler.translate import to_core
from services.moderation.commands import Command

ERRORS_MAX = 100
_BRACKETS = re.compile(rb'"(?:[^"\\]|\\.)*+"|[\[\]{}]', re.DOTALL)
_CORRELATION = re.compile(r"[^\x00-\x1f\x7f-\x9f\ud800-\udfff]{0,200}")


@dataclass(frozen=True, slots=True)
class Parsed:
    """``content_hash``: of what counts as the command's content (contract section 4)."""

    command: Command
    content_hash: bytes
    correlation_id: str | None


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
    reason: str
    message: str


class _Duplicate(Exception):
    """A key stands twice in one object."""


class _NotOne(Exception):
    """Not one JSON object that a verdict could be addressed to."""


def parse(value: bytes | None) -> Parsed | Invalid | Unreadable:
    """Parse a record's value."""
    if not value:
        return Unreadable("empty", "the record has no value")
    try:
        command = COMMAND.validate_json(value)
    except ValidationError as error:
        return _refused(value, error)
    # No parser refuses a key that stands twice; which of the two counts would be the parser's choice.
    if _has_duplicates(value):
        return _refused(value, None)
    core = to_core(command)
    return Parsed(core, _hash_of(core), command.correlation_id)


def _once(pairs: list[tuple[str, Any]]) -> None:
    if len(dict(pairs)) < len(pairs):
        raise _Duplicate


_ONCE = json.JSONDecoder(object_pairs_hook=_once)


def _has_duplicates(value: bytes) -> bool:
    try:
        _ONCE.decode(value.decode())
    except _Duplicate:
        return True
    return False


def _hash_of(command: Command) -> bytes:
    content = (command.type, command.root_account_id, command.course_id, command.assignment_id, command.actor_id)
    canonical = orjson.dumps((*content, command.data), default=float, option=orjson.OPT_SORT_KEYS)
    return hashlib.blake2b(canonical, digest_size=16, person=b"command").digest()


def _refused(value: bytes, error: ValidationError | None) -> Invalid | Unreadable:
    duplicates: list[str] = []

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            names = [name for name, _ in pairs]
            duplicates.extend(name for name in found if names.count(name) > 1)
        return found

    try:
        if _depth(value) > NESTING_MAX:
            raise _NotOne(f"the value is nested deeper than {NESTING_MAX} levels")
        text = value.decode("utf-8")
        found = json.loads(text, object_pairs_hook=unique, parse_int=_integer, parse_constant=_no_constant)
    except UnicodeDecodeError:
        return Unreadable("not_utf8", "the value is not UTF-8")
    except (ValueError, RecursionError, _NotOne) as problem:
        return Unreadable(
            "not_json", str(problem) if isinstance(problem, _NotOne) else "the value is not one JSON object"
        )
    if not isinstance(found, dict):
        return Unreadable("not_an_object", "the value is not a JSON object")
    if not is_uuid(found.get("command_id")) or "command_id" in duplicates:
        return Unreadable("no_command_id", "command_id is not there once as a UUID in 8-4-4-4-12 form")
    return _invalid(found, duplicates, error)


def _invalid(found: dict[str, Any], duplicates: list[str], error: ValidationError | None) -> Invalid:
    version = found.get("version", 1)
    reason, message = "invalid_command", "the command has invalid fields: see errors"
    if duplicates:
        errors = [{"path": "", "message": "a key stands twice in one object: send it once"}]
    elif type(version) is int and version != 1:
        reason, message = "unsupported_version", "this version of commands is not supported: send version 1"
        errors = [{"path": "version", "message": "send version 1"}]
    else:
        errors = (
            []
            if error is None
            else [
                {"path": _path(entry["loc"]), "message": _message(entry)}
                for entry in error.errors(include_url=False, include_input=False, include_context=False)[:ERRORS_MAX]
            ]
        )
    correlation = found.get("correlation_id")
    command_type = found.get("type")
    content = {name: part for name, part in found.items() if name not in ("issued_at", "correlation_id")}
    return Invalid(
        command_id=found["command_id"].lower(),
        type=command_type if isinstance(command_type, str) and re.fullmatch(r"[a-z_]{1,64}", command_type) else None,
        root_account_id=_id(found.get("root_account_id")),
        course_id=_id(found.get("course_id")),
        assignment_id=_id(found.get("assignment_id")),
        correlation_id=correlation if isinstance(correlation, str) and _CORRELATION.fullmatch(correlation) else None,
        reason=reason,
        message=message,
        errors=errors,
        content_hash=hashlib.blake2b(
            json.dumps(content, sort_keys=True).encode(), digest_size=16, person=b"invalid"
        ).digest(),
    )


def _depth(value: bytes) -> int:
    depth = deepest = 0
    for match in _BRACKETS.finditer(value):
        token = match[0]
        if token in (b"{", b"["):
            depth += 1
            deepest = max(deepest, depth)
            if deepest > NESTING_MAX:
                break
        elif token in (b"}", b"]"):
            depth -= 1
    return deepest


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) <= 20 else float(digits)


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _id(value: object) -> int | None:
    try:
        return parse_id(value)
    except ValueError:
        return None


def _path(location: tuple[int | str, ...]) -> str:
    """``data.users[3].name``, without the name of the command's type that pydantic puts first."""
    path = ""
    for part in location[1:]:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
    return re.sub(r"[\x00-\x1f\x7f\ud800-\udfff]", "?", path)[:255]


def _message(entry: Any) -> str:
    text: str = entry["msg"].removeprefix("Value error, ")
    return re.sub(r"[\x00-\x1f\x7f\ud800-\udfff]", "?", text)[:255]
