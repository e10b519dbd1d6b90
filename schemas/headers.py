"""Record headers as JSON Schema: names to values, as text (on the wire their bytes are UTF-8)."""

import re
from typing import Any

from schemas.http_request import HTTP_REQUEST_HEADER, HTTP_REQUEST_HEADER_BYTES_MAX

Json = dict[str, Any]
LOWERCASE_UUID_PATTERN = r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"
SUBJECT_PATTERN = r"^courses/([1-9][0-9]{0,18}(/assignments/[1-9][0-9]{0,18}(/students/[1-9][0-9]{0,18})?)?|unknown)$"
TRACEPARENT_PATTERN = r"^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$"
# As W3C Trace Context has it, ids of zeros excluded; the pattern above does without lookahead, which some engines lack.
TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
MILLISECONDS_PATTERN = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z$"


def text_header(description: str, pattern: str | None = None, **keywords: Any) -> Json:
    """A header's value."""
    return {"type": "string", "description": description, **({"pattern": pattern} if pattern else {}), **keywords}


def command_headers() -> Json:
    """What a producer may send along; other headers are passed over."""
    return {
        "type": "object",
        "properties": {
            "authorization": text_header(
                "`Bearer <JWT>`, with COMMAND_AUTH=required: who sends this", "^[Bb]earer +[!-~]+ *$"
            ),
            "traceparent": text_header(
                "W3C trace context; it goes on with everything that follows", TRACEPARENT_PATTERN
            ),
            HTTP_REQUEST_HEADER: text_header(
                "JSON: the HTTP request behind the command, if there was one (schema http_request); gateways send it",
                maxLength=HTTP_REQUEST_HEADER_BYTES_MAX,
            ),
            "content-type": text_header("`application/json`; it is not looked at"),
        },
    }


def output_headers(topic: str, ce_type_pattern: str) -> Json:
    """CloudEvents 1.0 in binary mode, and what else the relay writes. ``ce_type_pattern``: a pattern."""
    required = {
        "ce_specversion": text_header("CloudEvents", "^1\\.0$"),
        "ce_id": text_header(
            "drawn once and kept: a record that is emitted again carries the same", LOWERCASE_UUID_PATTERN
        ),
        "ce_source": text_header(
            "`<base>/root_accounts/<id>/<topic>`; with `ce_id` it names the event",
            rf"^.+/root_accounts/([1-9][0-9]{{0,18}}|unknown)/{topic}$",
        ),
        "ce_type": text_header("what it is, with its version", ce_type_pattern),
        "ce_time": text_header("when it was decided", MILLISECONDS_PATTERN),
        "ce_subject": text_header("what it is about", SUBJECT_PATTERN),
        "ce_shard": text_header("the partition it was written to", "^[0-9]{1,5}$"),
        "ce_sequence": text_header("1, 2, 3 … without a gap in each topic and shard, in 20 digits", "^[0-9]{20}$"),
        "ce_causationid": text_header("the command's `command_id`", LOWERCASE_UUID_PATTERN),
        "content-type": text_header("of the value", "^application/json$"),
    }
    optional = {
        "ce_correlationid": text_header("the command's `correlation_id`", maxLength=200),
        "traceparent": text_header("the command's", TRACEPARENT_PATTERN),
        "replay": text_header("there where the record is emitted again", "^true$"),
        "replay_selection": text_header("the selection of a replay to a consumer's own topic"),
    }
    if topic == "live-events":
        required["event_name"] = text_header("as in the value's metadata", "^grade_change$")
        required["event_time"] = text_header("as in the value's metadata", MILLISECONDS_PATTERN)
    return {
        "type": "object",
        "properties": {**required, **optional},
        "required": list(required),
        "additionalProperties": False,
    }


def dead_letter_headers() -> Json:
    """The record's own headers but `authorization`, and why no verdict could be addressed."""
    number_pattern = "^[0-9]+$"
    required = {
        "dead_letter_reason": text_header("a stable slug", "^[a-z0-9_]+$"),
        "dead_letter_message": text_header("what to do about it"),
        "original_topic": text_header("where the record stood"),
        "original_partition": text_header("where the record stood", number_pattern),
        "original_offset": text_header("where the record stood", number_pattern),
        "original_timestamp": text_header("when the broker appended it: milliseconds since 1970", number_pattern),
    }
    return {"type": "object", "properties": required, "required": list(required)}
