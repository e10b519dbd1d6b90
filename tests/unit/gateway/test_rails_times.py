"""Times in parameters, as Rails reads them."""

from datetime import UTC, datetime

import pytest

from services.gateway.rails_times import parse_time
from services.gateway.responses import ApiError

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-31T12:00:00Z", "2026-01-31t12:00:00z", "2026-01-31T12:00:00", "20260131T120000Z",
        "2026-01-31T12:00:00.000+00:00", "2026-01-31T13:00:00 01:00", "2026-01-31 12:00", "2026-01-31  12:00:00",
        # Time#to_s, of UTC and of a zone; the + of a query may have become a blank.
        "2026-01-31 12:00:00 UTC", "2026-01-31 12:00:00 +0000", "2026-01-31 05:00:00 -0700",
        "2026-01-31 13:00:00  0100",
        "Sat, 31 Jan 2026 12:00:00 +0000", "Sat, 31 Jan 2026 13:00:00  0100", "31 Jan 2026 12:00:00 GMT",
        "January 31, 2026 12:00", "31 January 2026 12:00:00 UTC", "Jan 31, 2026 12:00:00",
    ],
)  # fmt: skip
def test_time_is_read_in_every_form_that_ruby_prints(text: str) -> None:
    assert parse_time(text, "at") == NOON


@pytest.mark.parametrize("text", ["2026-01-31", "20260131", "January 31, 2026", "Jan 31, 2026", "31 Jan 2026"])
def test_date_without_a_time_is_midnight_utc(text: str) -> None:
    assert parse_time(text, "at") == datetime(2026, 1, 31, tzinfo=UTC)


def test_times_beyond_the_calendar_become_its_first_or_last_time() -> None:
    assert parse_time("0001-01-01T00:00:00+01:00", "at") == datetime.min.replace(tzinfo=UTC)
    assert parse_time("9999-12-31T23:59:59-01:00", "at") == datetime.max.replace(tzinfo=UTC)


@pytest.mark.parametrize(
    "text", ["", "x", "99999-01-01T00:00:00Z", "2026-13-01T00:00:00Z", "12:00", "31", "Sat, 99 Jan 2026 12:00:00 +0000",
             "Sat, 31 Jan 99999999999 12:00:00 +0000"],
)  # fmt: skip
def test_invalid_time_is_rejected_with_the_parameter_name(text: str) -> None:
    with pytest.raises(ApiError) as refused:
        parse_time(text, "last_updated_at")
    assert "last_updated_at" in refused.value.body["message"]
