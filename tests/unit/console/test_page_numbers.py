"""Ids and versions in the queries of the console's pages."""

import pytest
from fastapi import HTTPException

from services.console.web.assignment_pages import VERSION_MAX, parse_number


def test_number_up_to_the_maximum_is_parsed() -> None:
    assert [parse_number(text, VERSION_MAX) for text in ("1", "17", str(VERSION_MAX))] == [1, 17, VERSION_MAX]


@pytest.mark.parametrize(
    "text", ["0", "-1", "1.0", "x", "٣", str(VERSION_MAX + 1), "9" * 5_000, "0" * 19 + "1" + "0" * 5_000]
)
def test_number_out_of_range_or_of_any_length_is_a_bad_request(text: str) -> None:
    with pytest.raises(HTTPException) as refused:
        parse_number(text, VERSION_MAX)
    assert refused.value.status_code == 400
