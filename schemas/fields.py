"""The types of values in commands, with their limits (contract section 2).

The generated schema states each limit that JSON Schema can express; ids below 2**63 as text, real dates and the
contents of a free object are checked only here.
"""

import re
from datetime import UTC, datetime
from decimal import Decimal
from math import isfinite
from typing import Annotated, Any

from pydantic import AfterValidator, Field, GetPydanticSchema, PlainValidator, StringConstraints, WithJsonSchema
from pydantic_core import core_schema

ID_MAX = 2**63 - 1
COUNT_MAX = 2**31 - 1
ITEMS_MAX = 10_000
NESTING_MAX = 32
NAME_MAX = 255
TEXT_MAX = 1_024
REASON_MAX = 1_000
COMMENT_MAX = 65_536
CORRELATION_ID_MAX = 200
SCORE_MAX = 10**9
POINTS_MIN = Decimal("1e-9")
BOUND_MAX = 10
PERCENT_MAX = 100
NIL_UUID = "00000000-0000-0000-0000-000000000000"

ID_REMEDY = "send a positive integer below 2**63, as a JSON integer or a decimal string"
DIGEST_REMEDY = "send the whole digest of the plan: sha256: and 64 digits or letters from a to f, in lower case"
COMMAND_ID_REMEDY = "send a UUID in 8-4-4-4-12 form that is not the nil UUID"
ID_PATTERN = r"^[1-9][0-9]{0,18}$"
DIGEST_PATTERN = r"^sha256:[0-9a-f]{64}$"
UUID_PATTERN = r"^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$"
TIME_PATTERN = (
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,100})?([Zz]|[+-][0-9]{2}:[0-9]{2})$"
)
NO_NUL_PATTERN = r"^[^\u0000]*$"
NO_CONTROL_PATTERN = r"^[^\u0000-\u001f\u007f-\u009f]*$"

# fullmatch, because in Python a final $ also matches before a line feed.
_ID = re.compile(ID_PATTERN[1:-1])
_UUID = re.compile(UUID_PATTERN[1:-1])
_TIME = re.compile(TIME_PATTERN[1:-1])
# A free object is in ``data``, which is in the command: it is the third level.
_FREE_OBJECT_LEVEL = 3
_ZERO = Decimal(0)


def format_time(at: datetime) -> str:
    """Format a time as in all contracts: RFC 3339, UTC, milliseconds."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds")[:23] + "Z"


def is_uuid(value: object) -> bool:
    """Return whether a value is a UUID in 8-4-4-4-12 form."""
    return isinstance(value, str) and _UUID.fullmatch(value) is not None


def parse_id(value: object) -> int:
    """Parse a positive integer below 2**63, given as a JSON integer or as a decimal string."""
    if isinstance(value, str) and _ID.fullmatch(value):
        value = int(value)
    if type(value) is int and 0 < value <= ID_MAX:
        return value
    raise ValueError(ID_REMEDY)


def _parse_version(value: object) -> int:
    if type(value) is int and value == 1:
        return value
    raise ValueError("send the integer 1, or leave it out")


def _parse_time(value: object) -> datetime:
    if isinstance(value, str) and _TIME.fullmatch(value):
        try:
            at = datetime.fromisoformat(value.upper())
            at = at if at.tzinfo is UTC else at.astimezone(UTC)
        except (ValueError, OverflowError):
            pass
        else:
            # Most times have whole milliseconds already, and a copy takes as long as the whole parsing.
            return at.replace(microsecond=at.microsecond // 1000 * 1000) if at.microsecond % 1000 else at
    raise ValueError("send an RFC 3339 time with an offset, such as 2026-01-31T12:00:00Z")


def _parse_number(value: object) -> Decimal:
    # Comparisons with NaN are false, so NaN is refused here too.
    if type(value) in (int, float) and -SCORE_MAX <= value <= SCORE_MAX:  # type: ignore[operator]
        return Decimal(value) if isinstance(value, int) else Decimal(repr(value)) if value else _ZERO
    raise ValueError("send a JSON number between -1000000000 and 1000000000")


def _parse_points(value: object) -> Decimal:
    number = _parse_number(value)
    if number >= 0:
        return number
    raise ValueError("send a JSON number between 0 and 1000000000")


def _parse_points_possible(value: object) -> Decimal:
    points = _parse_points(value)
    if points and points < POINTS_MIN:
        raise ValueError(f"send 0, or at least {POINTS_MIN:f} points: shares of fewer points cannot be represented")
    return points


def _check_scheme(scheme: list[tuple[str, Decimal]]) -> list[tuple[str, Decimal]]:
    """Refuse a scheme with which grades would be nonsense (Canvas: app/models/grading_standard.rb)."""
    indexes_by_bound: dict[Decimal, int] = {}
    for index, (name, bound) in enumerate(scheme):
        if not name.strip():
            raise ValueError(f"band {index} has no name: give it one")
        if name != name.strip():
            raise ValueError(f"the name of band {index} begins or ends with a space, which no grade matches: remove it")
        if bound > BOUND_MAX:
            raise ValueError(
                f"the lower bound of band {index} is above {BOUND_MAX}: bounds are fractions from 0, not percents; "
                "send 0.94 for 94 %"
            )
        if bound < 0:
            raise ValueError(f"the lower bound of band {index} is negative: bounds are fractions from 0")
        same_bound = indexes_by_bound.setdefault(bound, index)
        if same_bound != index:
            raise ValueError(f"bands {same_bound} and {index} have the same lower bound: give each its own")
    if _ZERO not in indexes_by_bound:
        raise ValueError("no band begins at 0: give the lowest one the bound 0")
    return scheme


def _parse_percent(value: object) -> Decimal:
    if type(value) in (int, float) and 0 <= value <= PERCENT_MAX:  # type: ignore[operator]
        return _parse_number(value)
    raise ValueError("send a JSON number between 0 and 100")


def _parse_object(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("send a JSON object")
    _check_value(value, _FREE_OBJECT_LEVEL)
    return value


def _check_value(value: Any, level: int) -> None:
    if isinstance(value, str):
        _check_text(value, COMMENT_MAX)
    elif isinstance(value, dict | list):
        if level > NESTING_MAX:
            raise ValueError(f"nest no deeper than {NESTING_MAX} levels")
        if len(value) > ITEMS_MAX:
            raise ValueError(f"send at most {ITEMS_MAX} items in one object or list")
        for key in value if isinstance(value, dict) else ():
            _check_text(key, TEXT_MAX)
        for item in value.values() if isinstance(value, dict) else value:
            _check_value(item, level + 1)
    elif type(value) is int and not -ID_MAX <= value <= ID_MAX:
        raise ValueError("send integers between -2**63 and 2**63")
    elif isinstance(value, float) and not isfinite(value):
        raise ValueError("send finite numbers")


def _check_text(text: str, characters_max: int) -> None:
    if len(text) > characters_max:
        raise ValueError(f"send at most {characters_max} characters in a text")
    if "\x00" in text:
        raise ValueError("remove the NUL character")


_ID_SCHEMA = {
    "oneOf": [{"type": "integer", "minimum": 1, "maximum": ID_MAX}, {"type": "string", "pattern": ID_PATTERN}]
}
_UUID_SCHEMA = {"type": "string", "pattern": UUID_PATTERN, "not": {"const": NIL_UUID}}
_TIME_SCHEMA = {"type": "string", "format": "date-time", "pattern": TIME_PATTERN}
_SCHEME_SCHEMA = {
    "type": "array",
    "minItems": 1,
    "maxItems": ITEMS_MAX,
    "items": {
        "type": "array",
        "minItems": 2,
        "maxItems": 2,
        "prefixItems": [
            {"type": "string", "maxLength": NAME_MAX, "pattern": r"^[^\s\u0000]([^\u0000]*[^\s\u0000])?$"},
            {"type": "number", "minimum": 0, "maximum": BOUND_MAX},
        ],
    },
    "contains": {"type": "array", "prefixItems": [True, {"const": 0}]},
}
_OBJECT_SCHEMA = {"type": "object", "maxProperties": ITEMS_MAX}

# Equivalent to parse_id, without a Python call: a command has five ids.
_ID_CORE = core_schema.custom_error_schema(
    core_schema.union_schema(
        [
            core_schema.int_schema(strict=True, gt=0, le=ID_MAX),
            core_schema.chain_schema(
                [
                    core_schema.str_schema(strict=True, pattern=ID_PATTERN),
                    core_schema.int_schema(strict=False, le=ID_MAX),
                ]
            ),
        ],
        mode="left_to_right",
    ),
    custom_error_type="id",
    custom_error_message=ID_REMEDY,
)
# Likewise, without a Python call. Only the nil UUID consists of zeros.
_COMMAND_ID_CORE = core_schema.custom_error_schema(
    core_schema.chain_schema(
        [
            core_schema.str_schema(strict=True, pattern=UUID_PATTERN, to_lower=True),
            core_schema.str_schema(pattern="[1-9a-f]"),
        ]
    ),
    custom_error_type="command_id",
    custom_error_message=COMMAND_ID_REMEDY,
)
Id = Annotated[int, GetPydanticSchema(lambda _source, _handler: _ID_CORE), WithJsonSchema(_ID_SCHEMA)]
Version = Annotated[int, PlainValidator(_parse_version), WithJsonSchema({"type": "integer", "const": 1})]
CommandId = Annotated[str, GetPydanticSchema(lambda _source, _handler: _COMMAND_ID_CORE), WithJsonSchema(_UUID_SCHEMA)]
Time = Annotated[datetime, PlainValidator(_parse_time), WithJsonSchema(_TIME_SCHEMA)]
"""After parsing: aware, in UTC, truncated to milliseconds."""
Name = Annotated[str, StringConstraints(strict=True, max_length=NAME_MAX, pattern=NO_NUL_PATTERN)]
Text = Annotated[str, StringConstraints(strict=True, max_length=TEXT_MAX, pattern=NO_NUL_PATTERN)]
Comment = Annotated[str, StringConstraints(strict=True, max_length=COMMENT_MAX, pattern=NO_NUL_PATTERN)]
Reason = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=REASON_MAX, pattern=NO_NUL_PATTERN)]
GradeText = Annotated[str, StringConstraints(strict=True, max_length=NAME_MAX, pattern=NO_NUL_PATTERN)]
CorrelationId = Annotated[
    str, StringConstraints(strict=True, max_length=CORRELATION_ID_MAX, pattern=NO_CONTROL_PATTERN)
]
Count = Annotated[int, Field(strict=True, ge=0, le=COUNT_MAX)]
Number = Annotated[
    Decimal,
    PlainValidator(_parse_number),
    WithJsonSchema({"type": "number", "minimum": -SCORE_MAX, "maximum": SCORE_MAX}),
]
"""A JSON number with |number| <= 1e9; exact after parsing."""
Points = Annotated[
    Decimal, PlainValidator(_parse_points), WithJsonSchema({"type": "number", "minimum": 0, "maximum": SCORE_MAX})
]
PointsPossible = Annotated[
    Decimal,
    PlainValidator(_parse_points_possible),
    WithJsonSchema({"type": "number", "minimum": 0, "maximum": SCORE_MAX}),
]
"""0, or at least ``POINTS_MIN``."""
GradingScheme = Annotated[
    list[tuple[Name, Number]],
    Field(min_length=1, max_length=ITEMS_MAX),
    AfterValidator(_check_scheme),
    WithJsonSchema(_SCHEME_SCHEMA),
]
"""Names of bands with their lower bounds as fractions, in any order."""
Percent = Annotated[
    Decimal, PlainValidator(_parse_percent), WithJsonSchema({"type": "number", "minimum": 0, "maximum": PERCENT_MAX})
]
FreeObject = Annotated[dict[str, Any], PlainValidator(_parse_object), WithJsonSchema(_OBJECT_SCHEMA)]
"""Any JSON object within the limits of the contract."""
PlanDigest = Annotated[str, StringConstraints(strict=True, pattern=DIGEST_PATTERN)]
"""Digest of a publication plan, as computed by the service."""

IdText = Annotated[str, StringConstraints(pattern=ID_PATTERN)]
"""An id in published records: a decimal string."""
TimeText = Annotated[
    str, StringConstraints(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z$")
]
"""A time in published records: RFC 3339, UTC, milliseconds."""
