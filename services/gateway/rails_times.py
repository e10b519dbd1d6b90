"""Parses times in the forms that Ruby prints and Rails reads.

Canvas: ``Time.zone.parse`` in app/controllers/provisional_grades_base_controller.rb.
"""

import re
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from services.gateway.responses import bad_request

_NAMED_UTC = re.compile(r" *(UTC|GMT|Z)$", re.IGNORECASE)
# An unescaped + in a query is decoded as a space.
_OFFSET_WITHOUT_SIGN = re.compile(r"(:[0-9]{2}(?:\.[0-9]+)?) +(?=[0-9]{2}:?[0-9]{2}$)")
_BLANKS_BEFORE_OFFSET = re.compile(r" +(?=[+-][0-9])")
_NAMED_MONTH_FORMATS = tuple(
    f"{date}{time}"
    for date in ("%B %d, %Y", "%b %d, %Y", "%d %B %Y", "%d %b %Y")
    for time in ("", " %H:%M", " %H:%M:%S")
)


def parse_time(text: str, name: str) -> datetime:
    """Parse a time, as UTC if it has no offset, as Canvas does. Raises ApiError if the text is not a time.

    Accepts ISO 8601, Ruby's ``2026-01-31 12:00:00 UTC``, RFC 2822, and dates with an English month.
    """
    time = _parse(text.strip())
    if time is None:
        raise bad_request(f"send {name} as an RFC 3339 time, such as 2026-01-31T12:00:00Z")
    try:
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except OverflowError:  # Within a day of the earliest or latest representable time.
        return (datetime.min if time.year == 1 else datetime.max).replace(tzinfo=UTC)


def _parse(text: str) -> datetime | None:
    text = _OFFSET_WITHOUT_SIGN.sub(r"\1+", text)
    iso_text = _BLANKS_BEFORE_OFFSET.sub("", _NAMED_UTC.sub("+00:00", text))
    with suppress(ValueError):
        return datetime.fromisoformat(re.sub(" +", "T", iso_text))
    with suppress(ValueError, IndexError, OverflowError):
        return parsedate_to_datetime(_BLANKS_BEFORE_OFFSET.sub(" ", text))
    for form in _NAMED_MONTH_FORMATS:
        with suppress(ValueError):
            return datetime.strptime(_NAMED_UTC.sub("", text), form)
    return None
