"""The AsyncAPI document as one HTML page to read: ``python -m deploy.asyncapi.contracts_page [FILE]``."""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup
from pydantic import TypeAdapter

from deploy.local.paths import ROOT, STATE
from schemas import asyncapi, fields
from schemas.headers import LOWERCASE_UUID_PATTERN, MILLISECONDS_PATTERN, TRACEPARENT_PATTERN
from schemas.verdicts import SECONDS_PATTERN

Json = dict[str, Any]
DAY_MS = 24 * 3600 * 1000
MIB = 1 << 20
PAGE = STATE / "asyncapi.html"
TEMPLATE = ROOT / "deploy" / "asyncapi" / "page.html.jinja"
ID: Json = TypeAdapter(fields.Id).json_schema()
# Patterns that a reader knows by name.
PATTERN_NAMES = {
    fields.ID_PATTERN: "id",
    fields.UUID_PATTERN: "UUID",
    LOWERCASE_UUID_PATTERN: "UUID",
    fields.TIME_PATTERN: "RFC 3339 time with an offset",
    TRACEPARENT_PATTERN: "W3C traceparent",
    MILLISECONDS_PATTERN: "UTC time in milliseconds",
    SECONDS_PATTERN: "UTC time in seconds",
    fields.NO_NUL_PATTERN: "text without NUL",
    fields.NO_CONTROL_PATTERN: "text without control characters",
}


@dataclass(frozen=True)
class Row:
    """A field of a message: ``depth`` 0 is the value's own."""

    name: str
    depth: int
    kind: str
    required: bool
    description: str


def render_page() -> str:
    """The page. It needs nothing besides itself."""
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters |= {
        "prose": prose,
        "rows": rows,
        "example": example,
        "setting": setting,
        "line": lambda text: Markup(_code(text)),
    }
    document = asyncapi.build_document()
    messages, schemas = document["components"]["messages"], document["components"]["schemas"]
    return environment.from_string(TEMPLATE.read_text()).render(
        document=document, messages=messages, headers=schemas, name=lambda reference: reference.rpartition("/")[2]
    )


def rows(schema: Json, depth: int = 0) -> Iterator[Row]:
    """The fields of an object, each followed by those below it."""
    required = schema.get("required", ())
    for name, field in schema.get("properties", {}).items():
        yield Row(name, depth, kind(field), name in required, field.get("description", ""))
        for choice, inner in _objects(field):
            if choice:
                yield Row(choice, depth + 1, "one of the choices", False, inner.get("description", ""))
            yield from rows(inner, depth + 1 + bool(choice))


def _objects(field: Json) -> Iterator[tuple[str, Json]]:
    """The objects that a field may hold, itself or in a list; named where there are several."""
    choices = [choice for choice in field.get("anyOf", [field]) if choice.get("type") != "null"]
    for choice in choices:
        inner = choice["items"] if isinstance(choice.get("items"), dict) else choice
        if "properties" in inner:
            yield (kind(choice) if len(choices) > 1 else ""), inner


def kind(schema: Json) -> str:
    """What a value may be, in words."""
    if "const" in schema:
        return json.dumps(schema["const"])
    if "enum" in schema:
        return " · ".join(map(json.dumps, schema["enum"]))
    if schema.get("oneOf") == ID["oneOf"]:
        return "id, as a number or as text"
    for word in ("anyOf", "oneOf"):
        if word in schema and "properties" not in schema:
            return " or ".join(dict.fromkeys(map(kind, schema[word])))
    types = schema["type"] if isinstance(schema.get("type"), list) else [schema.get("type", "anything")]
    return " or ".join(_kind(schema, type_name) for type_name in types)


def _kind(schema: Json, type_name: str) -> str:
    if type_name == "array":
        items = schema.get("items", {})
        if isinstance(items, list):
            return "[" + ", ".join(map(kind, items)) + "]"
        return f"list of {kind(items)}{_limits(schema, 'minItems', 'maxItems')}"
    if type_name == "object":
        return schema.get("title", "object") if "properties" in schema else "object"
    if type_name == "string":
        pattern = schema.get("pattern", "")
        text_kind = PATTERN_NAMES.get(pattern, f"/{pattern}/" if pattern else "text")
        return text_kind + _limits(schema, "minLength", "maxLength")
    if schema.get("maximum") == fields.ID_MAX:
        return "id, as a number"
    return type_name + (_limits(schema, "minimum", "maximum") if type_name in ("number", "integer") else "")


def _limits(schema: Json, minimum_keyword: str, maximum_keyword: str) -> str:
    low, high = schema.get(minimum_keyword), schema.get(maximum_keyword)
    if low is None:
        return "" if high is None else f", at most {high}"
    return f", at least {low}" if high is None else f", {low} to {high}"


def prose(text: str) -> Markup:
    """Markdown's paragraphs, lists and code, which is all that descriptions use."""
    blocks = []
    for block in text.strip().split("\n\n"):
        if block.startswith("- "):
            items = "".join(f"<li>{_code(item)}</li>" for item in block[2:].split("\n- "))
            blocks.append(f"<ul>{items}</ul>")
        else:
            blocks.append(f"<p>{_code(block)}</p>")
    return Markup("".join(blocks))


def _code(text: str) -> str:
    parts = str(Markup.escape(text)).split("`")
    return "".join(f"<code>{part}</code>" if number % 2 else part for number, part in enumerate(parts))


def example(value: Any) -> str:
    """A value as JSON to read."""
    return value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)


def setting(name: str, value: Any) -> str:
    """A topic's setting as people say it."""
    if isinstance(value, list):
        return ", ".join(value)
    if name.endswith(".ms"):
        return "for ever" if value < 0 else f"{value // DAY_MS} days"
    return f"{value // MIB} MiB" if name.endswith(".bytes") else str(value)


def main(file: Path) -> None:
    """Write the page and say where."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(render_page())
    print(file)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else PAGE)
