"""A record's value: a command, a command that cannot be, or something no verdict can be addressed to. Never raises."""

import hashlib
import json
from decimal import Decimal
from typing import Any, NamedTuple

import orjson
from pydantic import ValidationError

from schemas import commands as wire
from services.commands.parse_errors import InvalidCommand, UnreadableRecord, explain_parse_error, reject_constant
from services.commands.to_domain import to_domain_command
from services.commands.upcasters import UPCASTERS, upcast
from services.moderation.commands import Command

__all__ = ["InvalidCommand", "ParsedCommand", "UnreadableRecord", "parse"]


class ParsedCommand(NamedTuple):
    """``content_hash``: of what counts as the command's content (contract section 4)."""

    command: Command
    content_hash: bytes
    correlation_id: str | None


def parse(value: bytes | None) -> ParsedCommand | InvalidCommand | UnreadableRecord:
    """Parse a record's value: one pass for what is right, another look only where something is wrong."""
    if not value:
        return UnreadableRecord("empty", "the record has no value")
    try:
        command = _validate_json(value)
        if not _has_no_duplicate_key(value, command):
            _STRICT_DECODER.decode(value.decode())
    except ValidationError as error:
        upcast_value = _upcast_value(value)
        return explain_parse_error(value, error) if upcast_value is None else parse(upcast_value)
    except ValueError:
        return explain_parse_error(value, None)
    return ParsedCommand(to_domain_command(command), _hash_content(command), command.correlation_id)


# The adapter's own method is the same after a look at options that are not used here.
_validate_json = wire.COMMAND.validator.validate_json


def _upcast_value(value: bytes) -> bytes | None:
    """What is a command of an earlier version in the form of the next one; None for all else."""
    try:
        upcast_command = upcast(_STRICT_DECODER.decode(value.decode())) if UPCASTERS else None
        return None if upcast_command is None else orjson.dumps(upcast_command)
    except (ValueError, RecursionError):
        return None


def _has_no_duplicate_key(value: bytes, command: wire.Command) -> bool:
    """Whether the text surely has no more keys than were read; False: it takes a closer look to know.

    Every key ends in a quote and a colon, with white space between at the most; what looks so within a text only
    makes the count larger, as do the keys of deeper objects. It takes a third of the time of reading the text again.
    """
    field_count = len(command.__pydantic_fields_set__) + len(command.data.__pydantic_fields_set__)
    field_count += command.actor is not None
    return value.translate(None, b" \t\n\r").count(b'":') == field_count


def _reject_duplicate_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise ValueError("a key stands twice in one object")
    return fields


def decode_strictly(value: bytes) -> Any:
    """The JSON value of a text without equal keys. Raises ValueError or RecursionError."""
    return _STRICT_DECODER.decode(value.decode())


# No parser refuses a key that stands twice; which of the two counts would be the parser's choice.
_STRICT_DECODER = json.JSONDecoder(object_pairs_hook=_reject_duplicate_keys, parse_constant=reject_constant)


def _hash_content(command: wire.Command) -> bytes:
    """Of type, ids, actor and data as parsed: a field left out and one that is null are not the same content."""
    actor_id = None if command.actor is None else command.actor.user_id
    ids = (command.root_account_id, command.course_id, command.assignment_id, actor_id)
    canonical = orjson.dumps(
        (command.type, *ids, _get_set_fields(command.data)), default=_to_json_value, option=orjson.OPT_SORT_KEYS
    )
    return hashlib.blake2b(canonical, digest_size=16, person=b"command").digest()


def _get_set_fields(model: wire.Strict) -> dict[str, Any]:
    values = model.__dict__
    return {name: values[name] for name in model.__pydantic_fields_set__}


def _to_json_value(value: Decimal | wire.Strict) -> float | dict[str, Any]:
    return float(value) if isinstance(value, Decimal) else _get_set_fields(value)
