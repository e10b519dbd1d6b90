"""Secrets are redacted from the request data of live events."""

import pytest

from schemas.http_request import URL_MAX
from services.gateway.request_context import redact_url


@pytest.mark.parametrize(
    ("url", "redacted"),
    [
        ("https://a.example/p?x=1&y=2", "https://a.example/p?x=1&y=2"),
        ("https://a.example/p?access_token=s", "https://a.example/p"),
        ("https://a.example/p?x=1&Access_Token=s&y", "https://a.example/p?x=1&y"),
        ("https://a.example/p?a%63cess_token=s&auth[password]=s&oauth_signature=s", "https://a.example/p"),
        ("https://user:s@a.example/p", "https://a.example/p"),
        ("https://a.example/p#access_token=s", "https://a.example/p"),
        ("https://a.example/p\x00\r\n", "https://a.example/p"),
        ("https://[", None),
        (None, None),
        ("", ""),
    ],
)
def test_secrets_are_redacted_from_the_request_url(url: str | None, redacted: str | None) -> None:
    assert redact_url(url) == redacted


def test_long_request_url_is_truncated() -> None:
    assert len(redact_url("https://a.example/" + "x" * 100_000) or "") == URL_MAX
