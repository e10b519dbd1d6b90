"""Builds records with CloudEvents headers from rows of the log. Pure: the same row always gives the same record."""

import base64
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import orjson

from schemas.fields import format_time
from services.config import PublishingSettings
from services.eventlog.feeds import DeadLetterRow, EventRow, VerdictRow
from services.kafka.records import Header, Headers, OutgoingRecord

GLOBAL_ID_BASE = 10**13
UNKNOWN_ACCOUNT = "unknown"
SPECVERSION = ("ce_specversion", b"1.0")
CONTENT_TYPE = ("content-type", b"application/json")


@dataclass(frozen=True, slots=True)
class PublishingFormat:
    """Settings that affect the records' bytes.

    ``source``: base of every ce_source. ``global_id_shard``: Canvas's shard, which makes ids global; None keeps them
    local. ``lms_url``: how Caliper names sensor and application; None uses ``source``.
    """

    source: str
    global_id_shard: int | None = None
    lms_url: str | None = None

    @classmethod
    def from_settings(cls, settings: PublishingSettings) -> "PublishingFormat":
        """Build the format from an installation's settings."""
        return cls(settings.event_source, settings.live_events_shard, settings.lms_url)

    def format_id(self, local_id: int | None) -> str | None:
        """Format an id for a live event: local, or global (shard · 10**13 + id)."""
        if local_id is None:
            return None
        if self.global_id_shard is None or local_id >= GLOBAL_ID_BASE:
            return str(local_id)
        return str(self.global_id_shard * GLOBAL_ID_BASE + local_id)


def build_event_record(row: EventRow, metadata: dict[str, Any], publishing_format: PublishingFormat) -> OutgoingRecord:
    """Build the record of a domain event; its value is the stored JSON."""
    headers = build_cloudevent_headers(
        publishing_format,
        "events",
        f"moderation.{row.type}.v1",
        metadata["id"],
        row.shard,
        row.position,
        metadata,
        root_account=row.root_account,
        time=format_event_time(row),
        subject=format_event_subject(row, metadata),
    )
    return OutgoingRecord("events", row.shard, str(row.course).encode(), row.data.encode(), headers)


def build_verdict_record(row: VerdictRow, publishing_format: PublishingFormat) -> OutgoingRecord:
    """Build the record of a verdict; its value is the stored JSON."""
    metadata = orjson.loads(row.metadata)
    course_id, assignment_id = metadata["course_id"], metadata["assignment_id"]
    subject = f"courses/{course_id}" if course_id is not None else "courses/unknown"
    if course_id is not None and assignment_id is not None:
        subject += f"/assignments/{assignment_id}"
    headers = build_cloudevent_headers(
        publishing_format,
        "verdicts",
        "moderation.verdict.v1",
        metadata["id"],
        row.shard,
        row.number,
        metadata,
        root_account=metadata["root_account_id"] or None,
        time=metadata["time"],
        subject=subject,
    )
    return OutgoingRecord("verdicts", row.shard, row.key, row.body.encode(), headers)


def build_dead_letter_record(row: DeadLetterRow) -> OutgoingRecord:
    """Build the record of a dead letter: key, value and headers as received, and the reason in further headers.

    A header name that is not UTF-8 stays escaped: its bytes would permanently stop every consumer built on aiokafka.
    """
    headers: Headers = [
        (base64.b64decode(name).decode(), None if value is None else base64.b64decode(value))
        for name, value in orjson.loads(row.headers)
    ]
    headers += [
        ("dead_letter_reason", row.reason.encode()),
        ("dead_letter_message", row.message.encode()),
        ("original_topic", row.topic.encode()),
        ("original_partition", str(row.partition).encode()),
        ("original_offset", str(row.offset).encode()),
        ("original_timestamp", str(row.append_time).encode()),
    ]
    return OutgoingRecord("dead-letters", row.shard, row.key, row.value, headers)


def format_event_time(row: EventRow) -> str:
    """Format the time at which the event was recorded: RFC 3339, UTC, milliseconds."""
    return _format_time(row.recorded_at)


# Cached, because the records of a batch have the same time.
_format_time = lru_cache(maxsize=1_024)(format_time)


@lru_cache(maxsize=1_024)
def _source_header(base: str, root_account: int | None, topic: str) -> Header:
    account = UNKNOWN_ACCOUNT if root_account is None else root_account
    return "ce_source", f"{base}/root_accounts/{account}/{topic}".encode()


@lru_cache(maxsize=1_024)
def _cached_header(name: str, text: str) -> Header:
    return name, text.encode()


def format_event_subject(row: EventRow, metadata: dict[str, Any]) -> str:
    """Format the ``ce_subject`` of an event."""
    subject = f"courses/{row.course}"
    if row.assignment is not None:
        subject += f"/assignments/{row.assignment}"
        if "student_id" in metadata:
            subject += f"/students/{metadata['student_id']}"
    return subject


def build_cloudevent_headers(
    publishing_format: PublishingFormat,
    topic: str,
    ce_type: str,
    ce_id: str,
    shard: int,
    sequence: int,
    metadata: dict[str, Any],
    *,
    root_account: int | None,
    time: str,
    subject: str,
) -> Headers:
    """Build the headers of all records except dead letters: CloudEvents 1.0 in binary mode, and the command's ids."""
    headers: Headers = [
        SPECVERSION,
        ("ce_id", ce_id.encode()),
        _source_header(publishing_format.source, root_account, topic),
        _cached_header("ce_type", ce_type),
        _cached_header("ce_time", time),
        ("ce_subject", subject.encode()),
        _cached_header("ce_shard", str(shard)),
        ("ce_sequence", b"%020d" % sequence),
        ("ce_causationid", metadata["command_id"].encode()),
        CONTENT_TYPE,
    ]
    if "correlation_id" in metadata:
        headers.append(("ce_correlationid", metadata["correlation_id"].encode()))
    if "traceparent" in metadata:
        headers.append(("traceparent", metadata["traceparent"].encode()))
    return headers
