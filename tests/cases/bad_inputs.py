"""Builds the records of bad_inputs.json: bases, patches and generators, as that file describes them."""

import base64
import json
import re
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Json = dict[str, Any]
BAD_INPUTS = json.loads((Path(__file__).parent / "bad_inputs.json").read_text())
RECORD_GROUPS = {"bytes", "structure", "ids", "numbers", "text", "envelope", "size", "key", "headers"}
# Whole batches, not single records.
BATCH_GENERATORS = {"zero_records", "batch_with_one_bad", "repeat_valid", "bad_burst"}
SINGLE_RECORD_ENTRIES = [
    entry
    for entry in BAD_INPUTS["entries"]
    if entry["group"] in RECORD_GROUPS and entry.get("generator", {}).get("name") not in BATCH_GENERATORS
]


@dataclass
class RawRecord:
    """``command_id``: the one a verdict would be addressed to; header names as bytes."""

    command_id: str
    key: bytes | None
    value: bytes | None
    headers: list[tuple[bytes, bytes | None]] = field(default_factory=list)
    timestamp_ms: int | None = None


def build_record(entry: Json) -> RawRecord:
    """The one record of an entry."""
    base = json.loads(json.dumps(BAD_INPUTS["bases"][entry.get("base", "record_grade")]))
    base["command_id"] = str(uuid.uuid4())
    value: bytes | None
    headers = [
        (decode_raw(name), None if content is None else decode_raw(content))
        for name, content in entry.get("headers", ())
    ]
    if "value" in entry:
        value = None if entry["value"] is None else entry["value"].encode()
    elif "value_b64" in entry:
        value = base64.b64decode(entry["value_b64"])
    elif "generator" in entry and entry["generator"]["name"] == "many_headers":
        count, size = entry["generator"]["args"]
        headers = [(b"h%d" % number, b"x" * size) for number in range(count)]
        value = json.dumps(base).encode()
    elif "generator" in entry:
        value = generate_value(entry["generator"]["name"], entry["generator"]["args"], base["command_id"])
    else:
        value = apply_patch(json.dumps(base), entry).encode("utf-8", "surrogatepass")
    verdict_command_id = json.loads(entry.get("patch", {}).get("/command_id", json.dumps(base["command_id"])))
    key: bytes | None = b"1001"
    if "key_b64" in entry:
        key = base64.b64decode(entry["key_b64"])
    elif "key" in entry:
        key = None if entry["key"] is None else entry["key"].encode()
    return RawRecord(verdict_command_id, key, value, headers, entry.get("record", {}).get("timestamp_ms"))


def decode_raw(text: str) -> bytes:
    """``b64:…`` is raw bytes."""
    return base64.b64decode(text[4:]) if text.startswith("b64:") else text.encode()


def apply_patch(text: str, entry: Json) -> str:
    """Raw JSON text put at pointers, fields removed, raw text appended before the last brace."""
    document = json.loads(text)
    holes: dict[str, str] = {}
    for pointer, new in entry.get("patch", {}).items():
        *path, last = pointer.strip("/").split("/")
        hole = holes.setdefault(new, f"hole-{len(holes)}")
        _resolve_path(document, path)[last] = hole
    for pointer in entry.get("remove", ()):
        *path, last = pointer.strip("/").split("/")
        del _resolve_path(document, path)[last]
    text = json.dumps(document)
    for new, hole in holes.items():
        text = text.replace(f'"{hole}"', new)
    return f"{text[:-1]}{entry.get('append_raw', '')}}}"


def _resolve_path(document: Json, path: list[str]) -> Json:
    for part in path:
        document = document[part]
    return document


def generate_value(name: str, arguments: list[Any], command_id: str) -> bytes:
    """The value that a generator makes."""
    parts = [_expand_base(part, command_id) for part in arguments]
    match name:
        case "concat" | "concat_bytes":
            return b"".join(decode_raw(part) for part in parts)
        case "encode":
            return str(parts[0]).encode(str(parts[1]))
        case "replace_bytes":
            return str(parts[0]).encode().replace(str(parts[1]).encode(), decode_raw(parts[2]))
        case "nest":
            text, path, opening, closing, depth = parts
            inner = "1" if opening.startswith("{") else ""
            return _set_path(text, path, opening * depth + inner + closing * depth)
        case "many_keys_at":
            text, path, count = parts
            return _set_path(text, path, json.dumps({f"k{number}": number for number in range(count)}))
        case "set_raw":
            return _set_path(parts[0], parts[1], _expand_repeat(parts[2]))
        case "set_string":
            return _set_path(parts[0], parts[1], json.dumps(_expand_repeat(parts[2])))
        case "pad_to":
            short = _set_path(parts[0], "data.comment", '""')
            return _set_path(parts[0], "data.comment", json.dumps("x" * (parts[1] - len(short))))
    raise ValueError(f"no generator {name}")


def _expand_repeat(expression: str) -> str:
    match = re.fullmatch(r"(.*)\*(\d+)", expression)
    assert match is not None
    return match[1] * int(match[2])


def _expand_base(part: Any, command_id: str) -> Any:
    names = {
        "$BASE": "record_grade",
        "$BASE_COMMENT": "comment",
        "$BASE_POSTED": "posted",
        "$BASE_ASSIGNMENT": "assignment",
    }
    if part not in names:
        return part
    return json.dumps({**BAD_INPUTS["bases"][names[part]], "command_id": command_id})


def _set_path(text: str, path: str, new: str) -> bytes:
    document = json.loads(text)
    *above, last = path.split(".")
    _resolve_path(document, above)[last] = "hole"
    return json.dumps(document).replace('"hole"', new).encode()
