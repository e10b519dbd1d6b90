"""Typed values of parameters: objects, texts, numbers, ids, and Rails's forms of true."""

import re
from decimal import Decimal
from typing import Any

from schemas.fields import COUNT_MAX, parse_id
from schemas.global_ids import to_local_id
from services.gateway.rails_params import Params
from services.gateway.responses import bad_request

# As many digits as a double is written with, for numbers from 0.0001 on.
_DECIMAL = re.compile(r"[+-]?[0-9]{1,10}(\.[0-9]{1,20})?", re.ASCII)
_TRUE_WORDS = ("true", "t", "1", "on", "yes", "y")


def get_object(params: Params, name: str) -> Params:
    """Return the parameters under a name, {} if it is absent or empty. Raises ApiError if it is a text or a list."""
    value = params.get(name)
    if value in (None, ""):
        return {}
    if not isinstance(value, dict):
        raise bad_request(f"send {name} as an object, or as {name}[…] fields")
    return value


def parse_bool(value: Any) -> bool:
    """Convert a value like Canvas's value_to_boolean."""
    return (
        value is True
        or (isinstance(value, int) and value == 1)
        or (isinstance(value, str) and value.lower() in _TRUE_WORDS)
    )


def get_text(params: Params, name: str, display_name: str) -> str | None:
    """Return a text or a number's digits; None if it is absent or null. Raises ApiError for any other type."""
    value = params.get(name)
    if value is None or isinstance(value, str):
        return value
    if not _is_number(value):
        raise bad_request(f"send {display_name} as a text")
    # repr() alone would write 0.00001 as 1e-05, which is no grade.
    return format(Decimal(repr(value)), "f")


def get_number(params: Params, name: str, display_name: str) -> float | None:
    """Return a JSON number, or the number that a text means; None if it is absent, null or empty.

    Raises ApiError for any other value. The command's schema limits the range.
    """
    value = params.get(name)
    if value in (None, ""):
        return None
    if not (_is_number(value) or (isinstance(value, str) and _DECIMAL.fullmatch(value))):
        raise bad_request(f"send {display_name} as a plain number such as 7.5")
    return float(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def get_count(params: Params, name: str) -> int | None:
    """Return a whole number; None if it is absent, null or empty. Raises ApiError for any other value."""
    value = get_number(params, name, name)
    if value is not None and not (value.is_integer() and abs(value) <= COUNT_MAX):
        raise bad_request(f"send {name} as a whole number up to {COUNT_MAX}")
    return None if value is None else int(value)


def get_ids(params: Params, name: str, shard: int | None = None) -> list[int] | None:
    """Return a list of ids, None if it is absent. Raises ApiError if an item is not an id.

    With ``shard``, its global ids become local ones: pass it for ids of the LMS.
    """
    value = params.get(name)
    if value is None:
        return None
    values = value if isinstance(value, list) else [value]
    try:
        # JSON Schema accepts 7.0 as an integer.
        integers = (int(item) if isinstance(item, float) and item.is_integer() else item for item in values)
        return [to_local_id(parse_id(item), shard) for item in integers if item != ""]
    except ValueError:
        raise bad_request(f"send {name}[] as ids: positive integers below 2**63") from None


def parse_path_id(text: str) -> int | None:
    """Parse an id; None if the text is not an id."""
    try:
        return parse_id(text)
    except ValueError:
        return None
