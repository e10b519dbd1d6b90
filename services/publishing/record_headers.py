"""Reads and writes the headers of published records: id, sequence number, shard, replay marks."""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from services.eventlog.feed_history import OriginalRecord
from services.kafka.records import Headers, OutgoingRecord

REPLAY_HEADER = ("replay", b"true")
SELECTION_HEADER = "replay_selection"
"""The header on a replay's target that names the replayed part of the log, so that replays are not mixed."""


@dataclass(frozen=True, slots=True)
class ParsedHeaders:
    """``headers`` are those without replay marks. Fields that are absent or unreadable are None."""

    id: str | None
    sequence: int | None
    shard: int | None
    is_replay: bool
    selection: str | None
    headers: Sequence[tuple[str, bytes | None]]


def mark_replayed(record: OutgoingRecord, selection: str | None = None) -> OutgoingRecord:
    """Return the record with the header ``replay: true`` and, on a replay's target, the selection."""
    replay_headers: Headers = (
        [REPLAY_HEADER] if selection is None else [REPLAY_HEADER, (SELECTION_HEADER, selection.encode())]
    )
    return msgspec.structs.replace(record, headers=[*record.headers, *replay_headers])


def parse_headers(headers: Sequence[tuple[str, bytes | None]]) -> ParsedHeaders:
    """Parse a record's headers. Replay marks come last: a dead letter may have headers of the same names."""
    remaining, selection, is_replay = list(headers), None, False
    if remaining and remaining[-1][0] == SELECTION_HEADER:
        selection = _decode_text(remaining.pop()[1])
    if remaining and remaining[-1] == REPLAY_HEADER:
        is_replay = bool(remaining.pop())
    by_name = dict(remaining)
    return ParsedHeaders(
        _decode_text(by_name.get("ce_id")),
        _parse_number(by_name.get("ce_sequence")),
        _parse_number(by_name.get("ce_shard")),
        is_replay,
        selection,
        remaining,
    )


def is_service_record(headers: Sequence[tuple[str, bytes | None]]) -> bool:
    """Return whether the service wrote a record on an output topic: it has a number, or is a dead letter."""
    parsed_headers = parse_headers(headers)
    return parsed_headers.sequence is not None or parse_original_record(parsed_headers.headers) is not None


def parse_original_record(headers: Sequence[tuple[str, bytes | None]]) -> OriginalRecord | None:
    """Return a dead letter's origin, None if it is not one. The service's headers come after those it received."""
    by_name = dict(headers)
    topic = _decode_text(by_name.get("original_topic"))
    numbers = [_parse_number(by_name.get(f"original_{name}")) for name in ("partition", "offset", "timestamp")]
    partition, offset, append_time = numbers
    if topic is None or partition is None or offset is None or append_time is None:
        return None
    return OriginalRecord(topic, partition, offset, append_time)


def _decode_text(value: bytes | None) -> str | None:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return None


def _parse_number(value: bytes | None) -> int | None:
    if value is None or not value.isdigit() or int(value) >= 1 << 63:
        return None
    return int(value)
