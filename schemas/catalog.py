"""Every message: on which topic, with which value and headers. Schemas, AsyncAPI and tests are made from this list."""

import inspect
import re
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import BaseModel

from schemas import headers
from schemas.caliper import Envelope
from schemas.commands import Command
from schemas.domain_events import EVENTS
from schemas.http_request import HEADER, HttpRequest
from schemas.live_events import GradeChange
from schemas.verdicts import Verdict

Json = dict[str, Any]
DIALECT = "https://json-schema.org/draft/2020-12/schema"
NAMES_OF_SCHEMAS = frozenset({"properties", "$defs", "patternProperties", "dependentRequired"})


@dataclass(frozen=True)
class Message:
    """``name``: unique; ``topic``: without prefix; ``value`` None: bytes of any kind; ``ce_type``: of what leaves."""

    name: str
    topic: str
    value: Json | None
    headers: Json
    summary: str
    ce_type: str | None = None


def schema_of(model: type[BaseModel], urn: str) -> Json:
    """A model as JSON Schema 2020-12."""
    made = _tidy(model.model_json_schema())
    title = made.pop("title")
    return {"$schema": DIALECT, "$id": f"urn:moderated-grading:{urn}", "title": title, **made}


def _tidy(node: Any, names: bool = False) -> Any:
    """Without the titles that only repeat a field's name, and without defaults of null: null is not "left out"."""
    if isinstance(node, list):
        return [_tidy(part) for part in node]
    if not isinstance(node, dict):
        return node
    kept = {}
    for key, part in node.items():
        if not names and key == "default" and part is None:
            continue
        if not names and key == "title" and "$defs" not in node and "properties" not in node:
            continue
        text = key == "description" and isinstance(part, str) and not names
        kept[key] = _prose(part) if text else _tidy(part, not names and key in NAMES_OF_SCHEMAS)
    return kept if names else _nullable(kept)


def _nullable(schema: Json) -> Json:
    """A choice between a plain type and null as what it is: a type that may be null."""
    choices = schema.get("anyOf", [])
    if len(choices) != 2 or choices[1] != {"type": "null"} or {"$ref", "enum", "const"} & set(choices[0]):
        return schema
    plain, others = choices[0], {key: part for key, part in schema.items() if key != "anyOf"}
    return {**plain, "type": [plain["type"], "null"], **others} if isinstance(plain.get("type"), str) else schema


def _prose(text: str) -> str:
    """A docstring as Markdown, a line a paragraph."""
    return re.sub(r"(?<!\n)\n(?!\n)", " ", inspect.cleandoc(text)).replace("``", "`")


def _commands() -> list[Message]:
    found = []
    for model in get_args(Command):
        name = get_args(model.model_fields["type"].annotation)[0]
        schema = schema_of(model, f"commands:{name}")
        found.append(Message(name, "commands", schema, headers.of_commands(), _summary(model)))
    return found


def _events() -> list[Message]:
    found = []
    for name, model in EVENTS.items():
        ce_type = f"moderation.{name}.v1"
        schema = schema_of(model, f"events:{name}")
        pattern = f"^{re.escape(ce_type)}$"
        found.append(Message(name, "events", schema, headers.of_output("events", pattern), _summary(model), ce_type))
    return found


def _summary(model: type[BaseModel]) -> str:
    return _prose(model.__doc__ or "").partition("\n")[0]


def _output(name: str, topic: str, model: type[BaseModel], ce_type: str) -> Message:
    of_topic = headers.of_output(topic, f"^{re.escape(ce_type)}$")
    return Message(name, topic, schema_of(model, name), of_topic, _summary(model), ce_type)


MESSAGES: tuple[Message, ...] = (
    *_commands(),
    _output("verdict", "verdicts", Verdict, "moderation.verdict.v1"),
    _output("grade_change", "live-events", GradeChange, "canvas.grade_change.v1"),
    _output("grade_event", "caliper", Envelope, "caliper.grade_event.v1"),
    *_events(),
    Message(
        "dead_letter", "dead-letters", None, headers.of_dead_letters(), "A record that no verdict can be addressed to"
    ),
)
HTTP_REQUEST = schema_of(HttpRequest, HEADER)
"""The JSON in the command header ``http_request``."""


def of_topic(topic: str) -> list[Message]:
    """The messages of a topic (its name without prefix)."""
    return [message for message in MESSAGES if message.topic == topic]


def headers_of_topic(topic: str) -> Json:
    """The headers of a topic's records, whichever of its messages they are of."""
    messages = of_topic(topic)
    kinds = [re.escape(message.ce_type) for message in messages if message.ce_type is not None]
    return headers.of_output(topic, f"^({'|'.join(kinds)})$") if kinds else messages[0].headers
