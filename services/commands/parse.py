"""A record's value: a command, a command that cannot be, or something no verdict can be addressed to. Never raises."""

import hashlib
import json
from decimal import Decimal
from typing import Any, NamedTuple

import orjson
from pydantic import ValidationError

from schemas import commands as wire
from services.commands.parse_errors import Invalid, Unreadable, no_constant, refused
from services.commands.to_domain import to_core
from services.commands.upcasters import UPGRADES, upgraded
from services.moderation.commands import Command

__all__ = ["Invalid", "Parsed", "Unreadable", "parse"]


class Parsed(NamedTuple):
    """``content_hash``: of what counts as the command's content (contract section 4)."""

    command: Command
    content_hash: bytes
    correlation_id: str | None


def parse(value: bytes | None) -> Parsed | Invalid | Unreadable:
    """Parse a record's value: one pass for what is right, another look only where something is wrong."""
    if not value:
        return Unreadable("empty", "the record has no value")
    try:
        command = _read(value)
        if not _no_key_twice(value, command):
            _ONCE.decode(value.decode())
    except ValidationError as error:
        older = _older(value)
        return refused(value, error) if older is None else parse(older)
    except ValueError:
        return refused(value, None)
    return Parsed(to_core(command), _hash_of(command), command.correlation_id)


# The adapter's own method is the same after a look at options that are not used here.
_read = wire.COMMAND.validator.validate_json


def _older(value: bytes) -> bytes | None:
    """What is a command of an earlier version in the form of the next one; None for all else."""
    try:
        next_form = upgraded(_ONCE.decode(value.decode())) if UPGRADES else None
        return None if next_form is None else orjson.dumps(next_form)
    except (ValueError, RecursionError):
        return None


def _no_key_twice(value: bytes, command: wire.Command) -> bool:
    """Whether the text surely has no more keys than were read; False: it takes a closer look to know.

    Every key ends in a quote and a colon, with white space between at the most; what looks so within a text only
    makes the count larger, as do the keys of deeper objects. It takes a third of the time of reading the text again.
    """
    read = len(command.__pydantic_fields_set__) + len(command.data.__pydantic_fields_set__)
    read += command.actor is not None
    return value.translate(None, b" \t\n\r").count(b'":') == read


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    read = dict(pairs)
    if len(read) < len(pairs):
        raise ValueError("a key stands twice in one object")
    return read


# No parser refuses a key that stands twice; which of the two counts would be the parser's choice.
_ONCE = json.JSONDecoder(object_pairs_hook=_once, parse_constant=no_constant)


def _hash_of(command: wire.Command) -> bytes:
    """Of type, ids, actor and data as parsed: a field left out and one that is null are not the same content."""
    actor_id = None if command.actor is None else command.actor.user_id
    ids = (command.root_account_id, command.course_id, command.assignment_id, actor_id)
    canonical = orjson.dumps((command.type, *ids, _sent(command.data)), default=_plain, option=orjson.OPT_SORT_KEYS)
    return hashlib.blake2b(canonical, digest_size=16, person=b"command").digest()


def _sent(part: wire.Strict) -> dict[str, Any]:
    values = part.__dict__
    return {name: values[name] for name in part.__pydantic_fields_set__}


def _plain(part: Decimal | wire.Strict) -> float | dict[str, Any]:
    return float(part) if isinstance(part, Decimal) else _sent(part)
