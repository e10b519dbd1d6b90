"""The headers that a dead letter keeps of its record, and that it fits on its topic with them."""

import base64
import json
from uuid import UUID

import pytest
from aiokafka.producer.message_accumulator import BatchBuilder

from schemas.topics import MIB
from services.commands.dead_letter_headers import encode_headers
from services.commands.dry_run import build_synthetic_record
from services.commands.incoming_command import IncomingDeadLetter, parse_record
from services.console.redriver import DEAD_LETTER_BYTES_MAX, build_redrive_headers
from services.eventlog.feeds import DeadLetterRow
from services.eventlog.operator_actions import PendingDeadLetter
from services.kafka.records import OutgoingRecord
from services.publishing.cloudevents import build_dead_letter_record


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


def publish(*headers: tuple[str, bytes | None]) -> tuple[OutgoingRecord, int]:
    """Return the record on the topic of dead letters, and the bytes of a batch of it, as the relay builds one."""
    topic = "moderation-with-a-long-prefix.commands"
    record = build_synthetic_record(topic, 11, 1_790_000_000_000, None, b"x", list(headers))
    letter = parse_record(record, 12)
    assert isinstance(letter, IncomingDeadLetter)
    row = DeadLetterRow(
        11, 1, None, record.value, encode_headers(record), letter.reason, letter.message, topic, 11, 0, record.timestamp
    )
    published = build_dead_letter_record(row)
    batch = BatchBuilder(int(3.5 * MIB), 0, is_transactional=1)
    # The first record of a batch is always taken, whatever its size.
    assert batch.append(timestamp=0, key=None, value=published.value, headers=published.headers) is not None
    return published, batch.size()


# Names as services.kafka.client_patches escapes them; each fills a record of 1 MiB.
@pytest.mark.parametrize(("name_bytes", "names"), [(1_048_501, 1), (105, 9_700), (4, 174_000), (3, 209_000)])
def test_dead_letter_whose_names_are_not_utf8_fits_on_its_topic(name_bytes: int, names: int) -> None:
    published, size = publish(*[("\\xff" * name_bytes, None)] * names)
    assert size <= 3 * MIB
    assert len(published.headers) == names + 6
    assert published.headers[0][0] == "\\xff" * 3 + ("…" if name_bytes > 3 else "")


def test_only_escaped_names_of_a_record_that_would_be_too_large_are_shortened() -> None:
    others: list[tuple[str, bytes | None]] = [("a-name-of-many-letters", b"\x00"), ("a path\\xylophone", None)]
    published, _ = publish(*others, ("\\xff" * 1_000_000, b"1"), *others)
    assert published.headers[:5] == [*others, ("\\xff\\xff\\xff…", b"1"), *others]


def test_escaped_name_is_kept_whole_where_there_is_room() -> None:
    published, size = publish(("\\xff" * 700_000, b"1"))
    assert (published.headers[0], size < 3 * MIB) == (("\\xff" * 700_000, b"1"), True)


def test_dead_letter_with_a_shortened_name_can_be_sent_again() -> None:
    record = build_synthetic_record("commands", 0, 1, b"1001", b"x", [("\\xff" * 1_000_000, b"1"), ("kept", b"2")])
    stored = encode_headers(record)
    pending = PendingDeadLetter(0, 3, 1, 0, record.key, record.value, stored)
    assert build_redrive_headers(UUID(int=1), pending)[:2] == [("\\xff\\xff\\xff…", b"1"), ("kept", b"2")]
    assert len(stored) < DEAD_LETTER_BYTES_MAX
