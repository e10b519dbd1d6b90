"""The kinds of values that commands are made of, with their limits (contract section 2)."""

import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator, StringConstraints, WithJsonSchema

ID_MAX = 2**63 - 1
ITEMS_MAX = 10_000
NESTING_MAX = 32
_ID = re.compile(r"[1-9][0-9]{0,18}", re.ASCII)
_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2})", re.ASCII
)
_UUID = re.compile(r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
NIL = "00000000-0000-0000-0000-000000000000"


def is_uuid(value: object) -> bool:
    """Whether a value is a UUID in 8-4-4-4-12 form."""
    return isinstance(value, str) and _UUID.fullmatch(value) is not None


def parse_id(value: object) -> int:
    """A positive integer below 2**63, as a JSON integer or as a decimal string."""
    if isinstance(value, str) and _ID.fullmatch(value):
        value = int(value)
    if type(value) is int and 0 < value <= ID_MAX:
        return value
    raise ValueError("send a positive integer below 2**63, as a JSON integer or a decimal string")


def _parse_time(value: object) -> datetime:
    if isinstance(value, str) and _TIME.fullmatch(value):
        try:
            at = datetime.fromisoformat(value.upper()).astimezone(UTC)
        except (ValueError, OverflowError):
            pass
        else:
            return at.replace(microsecond=at.microsecond // 1000 * 1000)
    raise ValueError("send an RFC 3339 time with an offset, such as 2026-01-31T12:00:00Z")


def _parse_command_id(value: object) -> str:
    if isinstance(value, str) and _UUID.fullmatch(value) and value != NIL:
        return value.lower()
    raise ValueError("send a UUID in 8-4-4-4-12 form that is not the nil UUID")


def _no_nul(value: str) -> str:
    if "\x00" in value:
        raise ValueError("remove the NUL character")
    return value


def _no_control(value: str) -> str:
    if _CONTROL.search(value):
        raise ValueError("remove the control characters")
    return value


def _exact(value: float) -> Decimal:
    return Decimal(repr(value)) if value else Decimal(0)


def _checked_object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("send a JSON object")
    _check(value, 1)
    return value


def _check(value: Any, depth: int) -> None:
    # The object stands in ``data``, which stands in the command: two levels above it.
    if depth > NESTING_MAX - 2 and isinstance(value, dict | list):
        raise ValueError(f"nest no deeper than {NESTING_MAX} levels")
    if isinstance(value, str):
        _no_nul(value)
    elif isinstance(value, dict):
        if len(value) > ITEMS_MAX:
            raise ValueError(f"send at most {ITEMS_MAX} keys")
        for key, item in value.items():
            _no_nul(key)
            _check(item, depth + 1)
    elif isinstance(value, list):
        if len(value) > ITEMS_MAX:
            raise ValueError(f"send at most {ITEMS_MAX} items")
        for item in value:
            _check(item, depth + 1)
    elif type(value) is int and not -ID_MAX <= value <= ID_MAX:
        raise ValueError("send integers between -2**63 and 2**63")
    elif isinstance(value, float) and abs(value) > 1e308:
        raise ValueError("send finite numbers")


_TIME_SCHEMA = {"type": "string", "format": "date-time"}
_ID_SCHEMA = {
    "oneOf": [
        {"type": "integer", "minimum": 1, "maximum": ID_MAX},
        {"type": "string", "pattern": "^[1-9][0-9]{0,18}$"},
    ]
}

Id = Annotated[int, PlainValidator(parse_id), WithJsonSchema(_ID_SCHEMA)]
CommandId = Annotated[
    str, PlainValidator(_parse_command_id), WithJsonSchema({"type": "string", "pattern": f"^{_UUID.pattern}$"})
]
Time = Annotated[datetime, PlainValidator(_parse_time), WithJsonSchema(_TIME_SCHEMA)]
Name = Annotated[str, StringConstraints(strict=True, max_length=255), AfterValidator(_no_nul)]
Comment = Annotated[str, StringConstraints(strict=True, max_length=65_536), AfterValidator(_no_nul)]
GradeText = Annotated[str, StringConstraints(strict=True, max_length=255), AfterValidator(_no_nul)]
CorrelationId = Annotated[str, StringConstraints(strict=True, max_length=200), AfterValidator(_no_control)]
Number = Annotated[
    float,
    Field(strict=True, ge=-1e9, le=1e9, allow_inf_nan=False),
    AfterValidator(_exact),
]
"""A JSON number with |number| <= 1e9; exact (Decimal) once parsed."""
Points = Annotated[float, Field(strict=True, ge=0, le=1e9, allow_inf_nan=False), AfterValidator(_exact)]
FreeObject = Annotated[dict[str, Any], BeforeValidator(_checked_object)]
