"""The shape of bytes without their content: enough to see what is wrong with a record, and nobody's grade or name."""

import re
import unicodedata
from collections.abc import Iterator

from schemas.commands import COMMAND

SHOWN_BYTES_MAX = 4_096
REVEALED_BYTES_MAX = 65_536
_WORD = re.compile(r"[^\W_]+(?:_[^\W_]+)*")
_KINDS = {"L": "x", "N": "9", "M": "x", "S": "•"}


def _vocabulary(schema: object) -> Iterator[str]:
    """The names of fields and the fixed values of a JSON Schema: they say nothing about anybody."""
    if isinstance(schema, dict):
        yield from schema.get("properties", ())
        yield from (word for word in [schema.get("const"), *schema.get("enum", ())] if isinstance(word, str))
        for part in schema.values():
            yield from _vocabulary(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from _vocabulary(part)


KNOWN = frozenset(["true", "false", "null", *_vocabulary(COMMAND.json_schema())])


def masked(value: bytes | None, bytes_max: int = SHOWN_BYTES_MAX) -> str:
    """Letters as x, digits as 9, our own names and all punctuation as they are; what is not UTF-8 as �."""
    if value is None:
        return ""
    text = _symbols(value[:bytes_max].decode("utf-8", "replace"))
    shown = _WORD.sub(lambda word: word[0] if word[0] in KNOWN else "".join(map(_kind, word[0])), text)
    return shown + _rest(value, bytes_max)


def readable(value: bytes | None, bytes_max: int = REVEALED_BYTES_MAX) -> str:
    """The bytes as text, with how many are left out."""
    if value is None:
        return ""
    return value[:bytes_max].decode("utf-8", "backslashreplace") + _rest(value, bytes_max)


def _rest(value: bytes, bytes_max: int) -> str:
    return f" … {len(value) - bytes_max:,} more bytes" if len(value) > bytes_max else ""


def _symbols(text: str) -> str:
    """Pictures may be names too."""
    if text.isascii():
        return text
    return "".join("•" if c not in "…�" and not c.isascii() and unicodedata.category(c)[0] == "S" else c for c in text)


def _kind(character: str) -> str:
    return _KINDS.get(unicodedata.category(character)[0], character)
