"""Whether a changed contract breaks those who wrote against the released one: ``python -m schemas.compatibility``.

Who reads our records must find in them what was promised: nothing removed, renamed or of a wider kind. Who writes
commands must be able to go on: nothing they may send is refused, and nothing more is asked of them. What is added and
may be left out breaks nobody. ``released/`` holds the contracts that others have; with the word ``release`` the present
ones take their place, unless they break something.
"""

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from schemas.asyncapi import document, draft_07
from schemas.generate import FOLDER, GENERATED
from schemas.http_contracts import contracts_of

Json = dict[str, Any]
RELEASED = FOLDER / "released"
OPENAPI = "openapi"
WRITTEN_BY_OTHERS = ("commands/", "headers/commands", "http_request", "http-request/")
SAME = ("pattern", "format", "const", "allOf", "dependencies", "if", "then", "else", "not")
LEAST = ("minLength", "minimum", "minItems", "minProperties")
MOST = ("maxLength", "maximum", "maxItems", "maxProperties")
CHOICES = ("anyOf", "oneOf")
EVERY_TYPE = ("null", "boolean", "object", "array", "number", "integer", "string")


def breaks(released: dict[str, Json], present: dict[str, Json]) -> list[str]:
    """What breaks whom, by path of the contract; contracts that are new break nobody."""
    found = [f"{path}: removed" for path in released if path not in present]
    for path in released.keys() & present.keys():
        if released[path] == present[path]:
            continue
        if path == "channels":
            found += _moved(released[path], present[path])
            continue
        old, new = draft_07(released[path]), draft_07(present[path])
        by_others = path.startswith(WRITTEN_BY_OTHERS)
        narrower, wider = (old, new) if by_others else (new, old)
        found += [f"{path}{reason}" for reason in _unfit(narrower, wider, "", by_others)]
    return sorted(found)


def _moved(old: Json, new: Json) -> Iterator[str]:
    for address, channel in old.items():
        for part in ("messages", "key"):
            kept = new.get(address, {}).get(part, ())
            if not set(channel[part]) <= set(kept):
                yield f"channels: {address} has lost {', '.join(sorted(set(channel[part]) - set(kept)))}"


def _unfit(narrower: Json, wider: Json, at: str, by_others: bool) -> Iterator[str]:
    """Why a value of the first schema may be none of the second."""
    for word in SAME:
        if word in wider and narrower.get(word) != wider[word]:
            yield f"{at}: {word} changed"
    if "enum" in wider and not set(map(json.dumps, _values(narrower))) <= set(map(json.dumps, wider["enum"])):
        yield f"{at}: other values than before"
    if not _types(narrower) <= _types(wider) | ({"integer"} if "number" in _types(wider) else set()):
        yield f"{at}: other types than before"
    for words, beyond in ((LEAST, -1), (MOST, 1)):
        for word in words:
            if word in wider and (word not in narrower or (narrower[word] - wider[word]) * beyond > 0):
                yield f"{at}: {word} changed"
    yield from _unfit_parts(narrower, wider, at, by_others)


def _unfit_parts(narrower: Json, wider: Json, at: str, by_others: bool) -> Iterator[str]:
    for name in wider.get("required", ()):
        if name not in narrower.get("required", ()):
            yield f"{at}/{name}: {'required now' if by_others else 'may be left out now'}"
    ours, theirs = narrower.get("properties", {}), wider.get("properties", {})
    for name in ours if by_others else theirs:
        if name not in ours or name not in theirs:
            yield f"{at}/{name}: removed"
        else:
            yield from _unfit(ours[name], theirs[name], f"{at}/{name}", by_others)
    if by_others and wider.get("additionalProperties") is False and narrower.get("additionalProperties") is not False:
        yield f"{at}: closed now"
    yield from _unfit_lists(narrower, wider, at, by_others)
    if any(word in narrower or word in wider for word in CHOICES):
        for choice in _choices(narrower):
            # Of the choices that do not fit, the closest one says best what changed.
            yield from min((list(_unfit(choice, other, at, by_others)) for other in _choices(wider)), key=len)


def _unfit_lists(narrower: Json, wider: Json, at: str, by_others: bool) -> Iterator[str]:
    ours, theirs = narrower.get("items"), wider.get("items")
    if theirs is None:
        return
    if isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for number, pair in enumerate(zip(ours, theirs, strict=True)):
            yield from _unfit(*pair, f"{at}[{number}]", by_others)
    elif isinstance(ours, dict) and isinstance(theirs, dict):
        yield from _unfit(ours, theirs, f"{at}[]", by_others)
    else:
        yield f"{at}: another list than before"


def _choices(schema: Json) -> list[Json]:
    return next((schema[word] for word in CHOICES if word in schema), [schema])


def _values(schema: Json) -> list[Any]:
    return list(schema.get("enum", [schema.get("const", "anything")]))


def _types(schema: Json) -> set[str]:
    """The types that a schema allows; all of them where it names none, or leaves that to its choices."""
    named = schema.get("type", EVERY_TYPE)
    return {named} if isinstance(named, str) else set(named)


def contracts(folder: Path) -> dict[str, Json]:
    """Every contract in a folder, by its path there without ``.schema.json``."""
    paths = sorted(folder.rglob("*.json"))
    found = {str(path.relative_to(folder)).removesuffix(".json").removesuffix(".schema"): _read(path) for path in paths}
    over_http = contracts_of(found.pop(OPENAPI)) if OPENAPI in found else {}
    return found | over_http


def present() -> dict[str, Json]:
    """The contracts as they are, with the channels and those of HTTP."""
    return {**contracts(GENERATED), "channels": _channels(), **contracts_of(_read(FOLDER / f"{OPENAPI}.json"))}


def _channels() -> Json:
    return {
        channel["address"]: {"messages": sorted(channel["messages"]), "key": ["course_id"]}
        for name, channel in document()["channels"].items()
        if name != "progress"
    }


def _read(path: Path) -> Json:
    found: Json = json.loads(path.read_text())
    return found


def release() -> None:
    """The present contracts are the released ones from now on."""
    shutil.rmtree(RELEASED, ignore_errors=True)
    shutil.copytree(GENERATED, RELEASED)
    shutil.copy(FOLDER / f"{OPENAPI}.json", RELEASED)
    (RELEASED / "channels.json").write_text(json.dumps(_channels(), indent=2) + "\n")


def main(words: list[str]) -> None:
    """Say what breaks; exit 1 where something does."""
    found = breaks(contracts(RELEASED), present())
    if found:
        sys.exit("\n".join(found))
    if words == ["release"]:
        release()


if __name__ == "__main__":
    main(sys.argv[1:])
