"""Record headers as JSON Schema: names to values, as text (on the wire their bytes are UTF-8)."""

from typing import Any

from schemas.http_request import HEADER, HEADER_BYTES_MAX

Json = dict[str, Any]
UUID_LOWER = r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"
SUBJECT = r"^courses/([1-9][0-9]{0,18}(/assignments/[1-9][0-9]{0,18}(/students/[1-9][0-9]{0,18})?)?|unknown)$"
TRACEPARENT = r"^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$"
MILLISECONDS = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z$"


def text(description: str, pattern: str | None = None, **more: Any) -> Json:
    """A header's value."""
    return {"type": "string", "description": description, **({"pattern": pattern} if pattern else {}), **more}


def of_commands() -> Json:
    """What a producer may send along; other headers are passed over."""
    return {
        "type": "object",
        "properties": {
            "authorization": text(
                "`Bearer <JWT>`, with COMMAND_AUTH=required: who sends this", "^[Bb]earer +[!-~]+ *$"
            ),
            "traceparent": text("W3C trace context; it goes on with everything that follows", TRACEPARENT),
            HEADER: text(
                "JSON: the HTTP request behind the command, if there was one (schema http_request); gateways send it",
                maxLength=HEADER_BYTES_MAX,
            ),
            "content-type": text("`application/json`; it is not looked at"),
        },
    }


def of_output(topic: str, ce_type: str) -> Json:
    """CloudEvents 1.0 in binary mode, and what else the relay writes. ``ce_type``: a pattern."""
    required = {
        "ce_specversion": text("CloudEvents", "^1\\.0$"),
        "ce_id": text("drawn once and kept: a record that is emitted again carries the same", UUID_LOWER),
        "ce_source": text(
            "`<base>/root_accounts/<id>/<topic>`; with `ce_id` it names the event",
            rf"^.+/root_accounts/([1-9][0-9]{{0,18}}|unknown)/{topic}$",
        ),
        "ce_type": text("what it is, with its version", ce_type),
        "ce_time": text("when it was decided", MILLISECONDS),
        "ce_subject": text("what it is about", SUBJECT),
        "ce_shard": text("the partition it was written to", "^[0-9]{1,5}$"),
        "ce_sequence": text("1, 2, 3 … without a gap in each topic and shard, in 20 digits", "^[0-9]{20}$"),
        "ce_causationid": text("the command's `command_id`", UUID_LOWER),
        "content-type": text("of the value", "^application/json$"),
    }
    optional = {
        "ce_correlationid": text("the command's `correlation_id`", maxLength=200),
        "traceparent": text("the command's", TRACEPARENT),
        "replay": text("there where the record is emitted again", "^true$"),
        "replay_selection": text("what was asked to be emitted again, on a topic of somebody's own"),
    }
    if topic == "live-events":
        required["event_name"] = text("as in the value's metadata", "^grade_change$")
        required["event_time"] = text("as in the value's metadata", MILLISECONDS)
    return {
        "type": "object",
        "properties": {**required, **optional},
        "required": list(required),
        "additionalProperties": False,
    }


def of_dead_letters() -> Json:
    """The record's own headers but `authorization`, and why no verdict could be addressed."""
    number = "^[0-9]+$"
    required = {
        "dead_letter_reason": text("a stable slug", "^[a-z0-9_]+$"),
        "dead_letter_message": text("what to do about it"),
        "original_topic": text("where the record stood"),
        "original_partition": text("where the record stood", number),
        "original_offset": text("where the record stood", number),
        "original_timestamp": text("when the broker appended it: milliseconds since 1970", number),
    }
    return {"type": "object", "properties": required, "required": list(required)}
