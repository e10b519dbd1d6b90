"""Every message with its topic, value and headers. Schemas, AsyncAPI document and tests are derived from this list."""

import inspect
import re
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import BaseModel

from schemas import headers
from schemas.caliper import Envelope
from schemas.commands import Command
from schemas.domain_events import EVENTS
from schemas.http_request import HTTP_REQUEST_HEADER, HttpRequest
from schemas.live_events import GradeChange
from schemas.verdicts import Verdict

Json = dict[str, Any]
DIALECT = "https://json-schema.org/draft/2020-12/schema"
NAME_MAP_KEYWORDS = frozenset({"properties", "$defs", "patternProperties", "dependentRequired"})


@dataclass(frozen=True)
class Message:
    """``name`` is unique; ``topic`` without prefix; ``value`` None: any bytes; ``ce_type`` of output messages."""

    name: str
    topic: str
    value: Json | None
    headers: Json
    summary: str
    ce_type: str | None = None


def build_schema(model: type[BaseModel], urn: str) -> Json:
    """Describe a model as JSON Schema 2020-12."""
    schema = _clean_schema(model.model_json_schema())
    title = schema.pop("title")
    return {"$schema": DIALECT, "$id": f"urn:moderated-grading:{urn}", "title": title, **schema}


def _clean_schema(node: Any, is_name_map: bool = False) -> Any:
    """Remove titles that only repeat a field's name, and defaults of null: null does not mean "left out"."""
    if isinstance(node, list):
        return [_clean_schema(part) for part in node]
    if not isinstance(node, dict):
        return node
    cleaned = {}
    for key, part in node.items():
        if not is_name_map and key == "default" and part is None:
            continue
        if not is_name_map and key == "title" and "$defs" not in node and "properties" not in node:
            continue
        is_description = key == "description" and isinstance(part, str) and not is_name_map
        cleaned[key] = (
            _markdown(part) if is_description else _clean_schema(part, not is_name_map and key in NAME_MAP_KEYWORDS)
        )
    return cleaned if is_name_map else _nullable(cleaned)


def _nullable(schema: Json) -> Json:
    """Rewrite a choice between a plain type and null as a type that may be null."""
    choices = schema.get("anyOf", [])
    if len(choices) != 2 or choices[1] != {"type": "null"} or {"$ref", "enum", "const"} & set(choices[0]):
        return schema
    plain, others = choices[0], {key: part for key, part in schema.items() if key != "anyOf"}
    return {**plain, "type": [plain["type"], "null"], **others} if isinstance(plain.get("type"), str) else schema


def _markdown(text: str) -> str:
    """Convert a docstring to Markdown: one line per paragraph or list item."""
    return re.sub(r"(?<!\n)\n(?!\n|- )", " ", inspect.cleandoc(text)).replace("``", "`")


def _command_messages() -> list[Message]:
    messages = []
    for model in get_args(Command):
        name = get_args(model.model_fields["type"].annotation)[0]
        schema = build_schema(model, f"commands:{name}")
        messages.append(Message(name, "commands", schema, headers.command_headers(), _summary(model)))
    return messages


def _event_messages() -> list[Message]:
    messages = []
    for name, model in EVENTS.items():
        ce_type = f"moderation.{name}.v1"
        schema = build_schema(model, f"events:{name}")
        pattern = f"^{re.escape(ce_type)}$"
        messages.append(
            Message(name, "events", schema, headers.output_headers("events", pattern), _summary(model), ce_type)
        )
    return messages


def _summary(model: type[BaseModel]) -> str:
    return _markdown(model.__doc__ or "").partition("\n")[0]


def _output_message(name: str, topic: str, model: type[BaseModel], ce_type: str) -> Message:
    headers_schema = headers.output_headers(topic, f"^{re.escape(ce_type)}$")
    return Message(name, topic, build_schema(model, name), headers_schema, _summary(model), ce_type)


MESSAGES: tuple[Message, ...] = (
    *_command_messages(),
    _output_message("verdict", "verdicts", Verdict, "moderation.verdict.v1"),
    _output_message("grade_change", "live-events", GradeChange, "canvas.grade_change.v1"),
    _output_message("grade_event", "caliper", Envelope, "caliper.grade_event.v1"),
    *_event_messages(),
    Message(
        "dead_letter",
        "dead-letters",
        None,
        headers.dead_letter_headers(),
        "A record that no verdict can be addressed to",
    ),
)
HTTP_REQUEST = build_schema(HttpRequest, HTTP_REQUEST_HEADER)
"""The JSON in the command header ``http_request``."""


def get_topic_messages(topic: str) -> list[Message]:
    """Return the messages of a topic (its name without prefix)."""
    return [message for message in MESSAGES if message.topic == topic]


def get_topic_headers(topic: str) -> Json:
    """Return the schema of the headers on a topic, for all of its messages."""
    messages = get_topic_messages(topic)
    ce_type_patterns = [re.escape(message.ce_type) for message in messages if message.ce_type is not None]
    return (
        headers.output_headers(topic, f"^({'|'.join(ce_type_patterns)})$") if ce_type_patterns else messages[0].headers
    )
