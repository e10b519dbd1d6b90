"""Builds records with CloudEvents headers from rows of the log. Pure: the same row always gives the same record."""

import base64
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

import msgspec
import orjson

from schemas.fields import format_time
from services.config.publishing import PublishingSettings
from services.eventlog.feeds import DeadLetterRow, EventRow, VerdictRow
from services.kafka.records import Header, Headers, OutgoingRecord

GLOBAL_ID_BASE = 10**13
UNKNOWN = "unknown"
CACHED_HEADERS = 4_096
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


class RecordCause(msgspec.Struct, gc=False):
    """Part of the metadata of an event or a verdict: its id, and the ids of the command that caused it."""

    id: str
    command_id: str
    correlation_id: str | None = None
    traceparent: str | None = None


class EventCause(RecordCause, gc=False):
    """The metadata of an event that its headers need."""

    student_id: int | None = None


class GradeChangeCause(EventCause, kw_only=True, gc=False):
    """The metadata of a published grade that the headers of its grade_change need; each topic has ids of its own."""

    live_id: str
    caliper_id: str


class _VerdictCause(RecordCause, kw_only=True, gc=False):
    time: str
    root_account_id: int | None
    course_id: int | None
    assignment_id: int | None


decode_event_cause = msgspec.json.Decoder(EventCause).decode
decode_grade_change_cause = msgspec.json.Decoder(GradeChangeCause).decode
_decode_verdict_cause = msgspec.json.Decoder(_VerdictCause).decode


def build_event_record(row: EventRow, cause: EventCause, publishing_format: PublishingFormat) -> OutgoingRecord:
    """Build the record of a domain event; its value is the stored JSON."""
    headers = build_cloudevent_headers(
        publishing_format.source,
        "events",
        f"moderation.{row.type}.v1",
        cause.id,
        row.shard,
        row.position,
        cause,
        row.root_account,
        _event_time_header(row.recorded_at),
        _event_subject_header(row, cause.student_id),
    )
    return OutgoingRecord("events", row.shard, encode_key(row.course), row.data.encode(), headers)


def build_verdict_record(row: VerdictRow, publishing_format: PublishingFormat) -> OutgoingRecord:
    """Build the record of a verdict; its value is the stored JSON."""
    cause = _decode_verdict_cause(row.metadata)
    headers = build_cloudevent_headers(
        publishing_format.source,
        "verdicts",
        "moderation.verdict.v1",
        cause.id,
        row.shard,
        row.number,
        cause,
        cause.root_account_id or None,
        _time_header(cause.time),
        ("ce_subject", _format_subject(cause.course_id, cause.assignment_id)),
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


def build_grade_change_headers(
    row: EventRow, cause: EventCause, publishing_format: PublishingFormat, topic: str, ce_type: str, ce_id: str
) -> Headers:
    """Build the headers of an event's grade change on one of the topics that carry them."""
    return build_cloudevent_headers(
        publishing_format.source,
        topic,
        ce_type,
        ce_id,
        row.shard,
        row.live_number or 0,
        cause,
        row.root_account,
        _event_time_header(row.recorded_at),
        _event_subject_header(row, cause.student_id),
    )


def build_cloudevent_headers(
    source: str,
    topic: str,
    ce_type: str,
    ce_id: str,
    shard: int,
    sequence: int,
    cause: RecordCause,
    root_account: int | None,
    time: Header,
    subject: Header,
) -> Headers:
    """Build the headers of all records except dead letters: CloudEvents 1.0 in binary mode, and the command's ids.

    Headers that many records share are made once.
    """
    source_header, type_header, shard_header = _shared_headers(source, topic, ce_type, root_account, shard)
    headers: Headers = [
        SPECVERSION,
        ("ce_id", ce_id.encode()),
        source_header,
        type_header,
        time,
        subject,
        shard_header,
        ("ce_sequence", b"%020d" % sequence),
        ("ce_causationid", cause.command_id.encode()),
        CONTENT_TYPE,
    ]
    if cause.correlation_id is not None:
        headers.append(("ce_correlationid", cause.correlation_id.encode()))
    if cause.traceparent is not None:
        headers.append(("traceparent", cause.traceparent.encode()))
    return headers


def format_event_time(row: EventRow) -> str:
    """Format the time at which the event was recorded: RFC 3339, UTC, milliseconds."""
    return _format_time(row.recorded_at)


_format_time = lru_cache(CACHED_HEADERS)(format_time)


@lru_cache(CACHED_HEADERS)
def encode_key(course: int) -> bytes:
    """Encode the key of a course's records."""
    return str(course).encode()


@lru_cache(CACHED_HEADERS)
def _shared_headers(
    source: str, topic: str, ce_type: str, root_account: int | None, shard: int
) -> tuple[Header, Header, Header]:
    account = UNKNOWN if root_account is None else root_account
    return (
        ("ce_source", f"{source}/root_accounts/{account}/{topic}".encode()),
        ("ce_type", ce_type.encode()),
        ("ce_shard", str(shard).encode()),
    )


@lru_cache(CACHED_HEADERS)
def _time_header(text: str) -> Header:
    return "ce_time", text.encode()


@lru_cache(CACHED_HEADERS)
def _event_time_header(recorded_at: datetime) -> Header:
    return _time_header(_format_time(recorded_at))


@lru_cache(CACHED_HEADERS)
def _format_subject(course: int | None, assignment: int | None) -> bytes:
    subject = f"courses/{UNKNOWN if course is None else course}"
    if course is not None and assignment is not None:
        subject += f"/assignments/{assignment}"
    return subject.encode()


def _event_subject_header(row: EventRow, student_id: int | None) -> Header:
    subject = _format_subject(row.course, row.assignment)
    if row.assignment is not None and student_id is not None:
        subject = b"%b/students/%d" % (subject, student_id)
    return "ce_subject", subject
