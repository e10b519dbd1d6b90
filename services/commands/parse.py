"""Parse the value of a command record: a valid command, an invalid one, or one without a readable command id."""

import json
from decimal import Decimal
from math import isinf
from typing import Any

import orjson
from pydantic import ValidationError

from schemas.commands import COMMAND, Command
from schemas.strict import Strict
from services.commands.everyday_commands import parse_everyday_command
from services.commands.parse_errors import InvalidCommand, UnreadableRecord, explain_parse_error, reject_constant
from services.commands.parsed_command import ParsedCommand, hash_content
from services.commands.to_domain import get_set_fields, to_domain_command
from services.commands.upcasters import UPCASTERS, upcast

__all__ = ["InvalidCommand", "ParsedCommand", "UnreadableRecord", "parse"]

_JSON_WHITE_SPACE = b" \t\n\r"


def parse(value: bytes | None) -> ParsedCommand | InvalidCommand | UnreadableRecord:
    """Parse a record's value; never raises."""
    if not value:
        return UnreadableRecord("empty", "the record has no value")
    return parse_everyday_command(value) or parse_by_schema(value)


def parse_by_schema(value: bytes) -> ParsedCommand | InvalidCommand | UnreadableRecord:
    """Parse a value that is not empty; never raises.

    A valid value is parsed in one pass; an invalid one is read again to explain what is wrong.
    """
    try:
        command = _validate_json(value)
        if _may_have_duplicate_keys(value, command):
            decode_strictly(value)
    except ValidationError as error:
        upcast_value = _upcast_value(value)
        return explain_parse_error(value, error) if upcast_value is None else parse(upcast_value)
    except ValueError:
        return explain_parse_error(value, None)
    return ParsedCommand(to_domain_command(command), _hash_content(command), command.correlation_id)


# The same as TypeAdapter.validate_json, without the overhead of its options.
_validate_json = COMMAND.validator.validate_json


def _upcast_value(value: bytes) -> bytes | None:
    """Return a command of an earlier version in the form of the next version, None for any other value."""
    try:
        upcast_command = upcast(decode_strictly(value)) if UPCASTERS else None
        return None if upcast_command is None else orjson.dumps(upcast_command)
    except (ValueError, TypeError, RecursionError):  # TypeError: an integer of more than 64 bits.
        return None


def _may_have_duplicate_keys(value: bytes, command: Command) -> bool:
    """Return whether a key may be repeated: the text has more keys than fields were parsed from it.

    Every key ends with a quote and a colon, with only white space between them. The count is exact or too high: strings
    and nested objects may contain more of them. It takes a third of the time of decoding the text again.
    """
    key_count_max = value.translate(None, _JSON_WHITE_SPACE).count(b'":')
    actor_field_count = 0 if command.actor is None else 1
    field_count = len(command.__pydantic_fields_set__) + len(command.data.__pydantic_fields_set__) + actor_field_count
    return key_count_max != field_count


def reject_duplicate_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Build an object. Raises ValueError if it repeats a key."""
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise ValueError("an object repeats a key")
    return fields


def decode_strictly(value: bytes) -> Any:
    """Decode JSON that repeats no key. Raises ValueError or RecursionError."""
    return _STRICT_DECODER.decode(value.decode())


def _parse_finite(number: str) -> float:
    """Parse a number. Raises ValueError for one out of range, which JSON cannot express once it is a float."""
    if isinf(parsed := float(number)):
        raise ValueError("a number is out of range")
    return parsed


# Parsers accept a repeated key, but differ in which of its values they keep.
_STRICT_DECODER = json.JSONDecoder(
    object_pairs_hook=reject_duplicate_keys, parse_float=_parse_finite, parse_constant=reject_constant
)


def _hash_content(command: Command) -> bytes:
    actor_id = None if command.actor is None else command.actor.user_id
    ids = (command.root_account_id, command.course_id, command.assignment_id, actor_id)
    return hash_content(command.type, ids, get_set_fields(command.data), _to_json_value)


def _to_json_value(value: Decimal | Strict) -> float | dict[str, Any]:
    return float(value) if isinstance(value, Decimal) else get_set_fields(value)
