"""Finds changes of a contract that break its users: ``python -m schemas.compatibility``.

For consumers no field may be removed, renamed or widened; for producers no field may be narrowed or newly required.
Optional additions are compatible. ``released/`` holds the contracts that others use; the argument ``release`` replaces
them by the current ones, unless these break something.
"""

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from schemas.asyncapi import build_document, to_draft_07
from schemas.generate import FOLDER, GENERATED
from schemas.http_contracts import extract_contracts

Json = dict[str, Any]
RELEASED = FOLDER / "released"
OPENAPI = "openapi"
INPUT_CONTRACTS = ("commands/", "headers/commands", "http_request", "http-request/")
EQUAL_KEYWORDS = ("pattern", "format", "const", "allOf", "dependencies", "if", "then", "else", "not")
MINIMUM_KEYWORDS = ("minLength", "minimum", "minItems", "minProperties")
MAXIMUM_KEYWORDS = ("maxLength", "maximum", "maxItems", "maxProperties")
CHOICE_KEYWORDS = ("anyOf", "oneOf")
ALL_TYPES = ("null", "boolean", "object", "array", "number", "integer", "string")


def breaking_changes(released: dict[str, Json], current: dict[str, Json]) -> list[str]:
    """Return the breaking changes by path of the contract; new contracts break nothing."""
    changes = [f"{path}: removed" for path in released if path not in current]
    for path in released.keys() & current.keys():
        if released[path] == current[path]:
            continue
        if path == "channels":
            changes += _channel_changes(released[path], current[path])
            continue
        old, new = to_draft_07(released[path]), to_draft_07(current[path])
        is_input = path.startswith(INPUT_CONTRACTS)
        narrower, wider = (old, new) if is_input else (new, old)
        changes += [f"{path}{reason}" for reason in _incompatibilities(narrower, wider, "", is_input)]
    return sorted(changes)


def _channel_changes(old: Json, new: Json) -> Iterator[str]:
    for address, channel in old.items():
        for part in ("messages", "key"):
            remaining = new.get(address, {}).get(part, ())
            if not set(channel[part]) <= set(remaining):
                yield f"channels: {address} has lost {', '.join(sorted(set(channel[part]) - set(remaining)))}"


def _incompatibilities(narrower: Json, wider: Json, path: str, is_input: bool) -> Iterator[str]:
    """Yield the reasons why a value of the first schema may be invalid in the second."""
    for keyword in EQUAL_KEYWORDS:
        if keyword in wider and narrower.get(keyword) != wider[keyword]:
            yield f"{path}: {keyword} changed"
    if "enum" in wider and not set(map(json.dumps, _values(narrower))) <= set(map(json.dumps, wider["enum"])):
        yield f"{path}: the allowed values differ"
    if not _types(narrower) <= _types(wider) | ({"integer"} if "number" in _types(wider) else set()):
        yield f"{path}: the allowed types differ"
    for keywords, direction in ((MINIMUM_KEYWORDS, -1), (MAXIMUM_KEYWORDS, 1)):
        for keyword in keywords:
            if keyword in wider and (keyword not in narrower or (narrower[keyword] - wider[keyword]) * direction > 0):
                yield f"{path}: {keyword} changed"
    yield from _object_incompatibilities(narrower, wider, path, is_input)


def _object_incompatibilities(narrower: Json, wider: Json, path: str, is_input: bool) -> Iterator[str]:
    for name in wider.get("required", ()):
        if name not in narrower.get("required", ()):
            yield f"{path}/{name}: {'is now required' if is_input else 'is no longer required'}"
    narrower_properties, wider_properties = narrower.get("properties", {}), wider.get("properties", {})
    for name in narrower_properties if is_input else wider_properties:
        if name not in narrower_properties or name not in wider_properties:
            yield f"{path}/{name}: removed"
        else:
            yield from _incompatibilities(narrower_properties[name], wider_properties[name], f"{path}/{name}", is_input)
    if is_input and wider.get("additionalProperties") is False and narrower.get("additionalProperties") is not False:
        yield f"{path}: no longer accepts other fields"
    yield from _list_incompatibilities(narrower, wider, path, is_input)
    if any(word in narrower or word in wider for word in CHOICE_KEYWORDS):
        for choice in _choices(narrower):
            # None of the choices fits: report the one with the fewest differences.
            yield from min(
                (list(_incompatibilities(choice, other, path, is_input)) for other in _choices(wider)), key=len
            )


def _list_incompatibilities(narrower: Json, wider: Json, path: str, is_input: bool) -> Iterator[str]:
    narrower_items, wider_items = narrower.get("items"), wider.get("items")
    if wider_items is None:
        return
    if isinstance(narrower_items, list) and isinstance(wider_items, list) and len(narrower_items) == len(wider_items):
        for index, pair in enumerate(zip(narrower_items, wider_items, strict=True)):
            yield from _incompatibilities(*pair, f"{path}[{index}]", is_input)
    elif isinstance(narrower_items, dict) and isinstance(wider_items, dict):
        yield from _incompatibilities(narrower_items, wider_items, f"{path}[]", is_input)
    else:
        yield f"{path}: the list differs"


def _choices(schema: Json) -> list[Json]:
    return next((schema[keyword] for keyword in CHOICE_KEYWORDS if keyword in schema), [schema])


def _values(schema: Json) -> list[Any]:
    return list(schema.get("enum", [schema.get("const", "anything")]))


def _types(schema: Json) -> set[str]:
    """Return the types that a schema allows; all types if it names none or leaves that to its choices."""
    types = schema.get("type", ALL_TYPES)
    return {types} if isinstance(types, str) else set(types)


def read_contracts(folder: Path) -> dict[str, Json]:
    """Read every contract in a folder, by its path there without ``.schema.json``."""
    paths = sorted(folder.rglob("*.json"))
    contracts_by_path = {
        str(path.relative_to(folder)).removesuffix(".json").removesuffix(".schema"): _read_json(path) for path in paths
    }
    http_contracts = extract_contracts(contracts_by_path.pop(OPENAPI)) if OPENAPI in contracts_by_path else {}
    return contracts_by_path | http_contracts


def current_contracts() -> dict[str, Json]:
    """Return the current contracts, including the channels and the HTTP contracts."""
    return {
        **read_contracts(GENERATED),
        "channels": _channels(),
        **extract_contracts(_read_json(FOLDER / f"{OPENAPI}.json")),
    }


def _channels() -> Json:
    return {
        channel["address"]: {"messages": sorted(channel["messages"]), "key": ["course_id"]}
        for name, channel in build_document()["channels"].items()
        if name != "progress"
    }


def _read_json(path: Path) -> Json:
    document_json: Json = json.loads(path.read_text())
    return document_json


def release() -> None:
    """Save the current contracts as the released ones."""
    shutil.rmtree(RELEASED, ignore_errors=True)
    shutil.copytree(GENERATED, RELEASED)
    shutil.copy(FOLDER / f"{OPENAPI}.json", RELEASED)
    (RELEASED / "channels.json").write_text(json.dumps(_channels(), indent=2) + "\n")


def main(arguments: list[str]) -> None:
    """Print the breaking changes; exit with 1 if there are any."""
    changes = breaking_changes(read_contracts(RELEASED), current_contracts())
    if changes:
        sys.exit("\n".join(changes))
    if arguments == ["release"]:
        release()


if __name__ == "__main__":
    main(sys.argv[1:])
