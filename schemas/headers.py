"""Record headers as JSON Schema, by name; values are texts (UTF-8 on the wire)."""

import re
from typing import Any

from schemas.http_request import HTTP_REQUEST_HEADER, HTTP_REQUEST_HEADER_BYTES_MAX

Json = dict[str, Any]
LOWERCASE_UUID_PATTERN = r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"
SUBJECT_PATTERN = r"^courses/([1-9][0-9]{0,18}(/assignments/[1-9][0-9]{0,18}(/students/[1-9][0-9]{0,18})?)?|unknown)$"
TRACEPARENT_PATTERN = r"^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$"
# As in W3C Trace Context, without ids of zeros; the pattern above avoids lookahead, which some engines lack.
TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
MILLISECONDS_PATTERN = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z$"


def text_header(description: str, pattern: str | None = None, **keywords: Any) -> Json:
    """Build the schema of a header's value."""
    return {"type": "string", "description": description, **({"pattern": pattern} if pattern else {}), **keywords}


def command_headers() -> Json:
    """Build the schema of a command's headers; unknown headers are ignored."""
    return {
        "type": "object",
        "properties": {
            "authorization": text_header(
                "`Bearer <JWT>`, with COMMAND_AUTH=required: the sender's token", "^[Bb]earer +[!-~]+ *$"
            ),
            "traceparent": text_header("W3C trace context, copied to all resulting records", TRACEPARENT_PATTERN),
            HTTP_REQUEST_HEADER: text_header(
                "JSON: the HTTP request behind the command, if there was one (schema http_request); gateways send it",
                maxLength=HTTP_REQUEST_HEADER_BYTES_MAX,
            ),
            "content-type": text_header("`application/json`; ignored"),
        },
    }


def output_headers(topic: str, ce_type_pattern: str) -> Json:
    """Build the schema of an output topic's headers: CloudEvents 1.0 in binary mode, and the relay's own."""
    required = {
        "ce_specversion": text_header("CloudEvents", "^1\\.0$"),
        "ce_id": text_header("generated once and kept: a replayed record has the same id", LOWERCASE_UUID_PATTERN),
        "ce_source": text_header(
            "`<base>/root_accounts/<id>/<topic>`; together with `ce_id` it identifies the event",
            rf"^.+/root_accounts/([1-9][0-9]{{0,18}}|unknown)/{topic}$",
        ),
        "ce_type": text_header("the type of the record, with its version", ce_type_pattern),
        "ce_time": text_header("time of the decision", MILLISECONDS_PATTERN),
        "ce_subject": text_header("the course, assignment or other object of the record", SUBJECT_PATTERN),
        "ce_shard": text_header("the record's partition", "^[0-9]{1,5}$"),
        "ce_sequence": text_header("1, 2, 3 … without gaps per topic and shard, in 20 digits", "^[0-9]{20}$"),
        "ce_causationid": text_header("the command's `command_id`", LOWERCASE_UUID_PATTERN),
        "content-type": text_header("content type of the value", "^application/json$"),
    }
    optional = {
        "ce_correlationid": text_header("the command's `correlation_id`", maxLength=200),
        "traceparent": text_header("the command's", TRACEPARENT_PATTERN),
        "replay": text_header("present if the record is replayed", "^true$"),
        "replay_selection": text_header("the filter of a replay to a consumer's own topic"),
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
    """Build the schema of a dead letter's headers: the record's own without secrets, and the reason."""
    number_pattern = "^[0-9]+$"
    required = {
        "dead_letter_reason": text_header("stable identifier of the reason", "^[a-z0-9_]+$"),
        "dead_letter_message": text_header("the problem and the remedy"),
        "original_topic": text_header("topic of the command record"),
        "original_partition": text_header("partition of the command record", number_pattern),
        "original_offset": text_header("offset of the command record", number_pattern),
        "original_timestamp": text_header("time of the broker's append, in milliseconds since 1970", number_pattern),
    }
    return {"type": "object", "properties": required, "required": list(required)}
