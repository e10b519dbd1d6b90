"""Live events contain only the origin of the page that a request came from."""

import pytest

from schemas.http_request import URL_MAX
from services.gateway.request_context import get_origin


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://a.example/p?x=1&y=2", "https://a.example"),
        ("https://a.example:8443/cb?ticket=ST&otp=G&student=Jane%20Doe", "https://a.example:8443"),
        ("https://user:s@a.example/p", "https://a.example"),
        ("https://a.example#access_token=s", "https://a.example"),
        ("https://a.example\x00\r\n/p", "https://a.example"),
        ("android-app://com.example/", None),
        ("data:text/html,secret", None),
        ("/courses/1?token=s", None),
        ("https://[", None),
        (None, None),
        ("", None),
    ],
)
def test_referrer_is_reduced_to_its_origin(url: str | None, origin: str | None) -> None:
    assert get_origin(url) == origin


def test_long_referrer_is_truncated() -> None:
    assert len(get_origin("https://a.example" + "x" * 100_000) or "") == URL_MAX
