"""The headers that a dead letter keeps of its record."""

import base64
import json

import pytest

from services.commands.dead_letter_headers import encode_headers
from services.commands.dry_run import build_synthetic_record


def kept(*headers: tuple[str, bytes | None]) -> list[list[str | None]]:
    """Return the kept headers; values are base64."""
    record = build_synthetic_record("commands", 0, 1_790_000_000_000, None, None, list(headers))
    return [[base64.b64decode(name).decode(), value] for name, value in json.loads(encode_headers(record))]


@pytest.mark.parametrize(
    "name",
    ["authorization", "Authorization", "proxy-authorization", "cookie", "Set-Cookie", "x-api-key", "X_API_KEY",
     "apikey", "x-auth-token", "X-Amz-Security-Token", "client-secret", "password", "passwd",
     "x-session-id", "X-Hub-Signature", "X-Auth", "authentication", "jwt", "x-jwt-assertion", "Bearer",
     "x-access-key", "AccessKey"],
)  # fmt: skip
def test_header_that_may_hold_a_secret_is_not_kept(name: str) -> None:
    assert kept(("before", b"1"), (name, b"secret"), ("after", None)) == [["before", "MQ=="], ["after", None]]


def test_other_headers_are_kept_byte_for_byte() -> None:
    names = ["traceparent", "tracestate", "content-type", "correlation-id", "ce_id", "reply_to", "author", "keyed"]
    assert kept(*((name, b"\x00\xff") for name in names)) == [[name, "AP8="] for name in names]
