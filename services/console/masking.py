"""Masks a record's content: its structure stays readable, names, grades and comments do not."""

import functools
import re
import unicodedata
from collections.abc import Iterator

from schemas.commands import COMMAND

SHOWN_BYTES_MAX = 4_096
REVEALED_BYTES_MAX = 65_536
KEY_BYTES_MAX = 200
_WORD = re.compile(r"[^\W_]+(?:_[^\W_]+)*")
_MASK_BY_CATEGORY = {"L": "x", "N": "9", "M": "x", "S": "•"}


def _schema_words(schema: object) -> Iterator[str]:
    """Yield field names and fixed values of a JSON Schema, which are never personal data."""
    if isinstance(schema, dict):
        yield from schema.get("properties", ())
        yield from (word for word in [schema.get("const"), *schema.get("enum", ())] if isinstance(word, str))
        for part in schema.values():
            yield from _schema_words(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from _schema_words(part)


@functools.cache
def _unmasked_words() -> frozenset[str]:
    # Cached instead of built at import, because building the schema takes as long as a fifth of the other imports.
    return frozenset(["true", "false", "null", *_schema_words(COMMAND.json_schema())])


def mask(value: bytes | None, bytes_max: int = SHOWN_BYTES_MAX) -> str:
    """Replace letters by x and digits by 9; keep the contract's names and punctuation. Invalid UTF-8 becomes �."""
    if value is None:
        return ""
    text, unmasked_words = _mask_symbols(value[:bytes_max].decode("utf-8", "replace")), _unmasked_words()
    masked_text = _WORD.sub(
        lambda word: word[0] if word[0] in unmasked_words else "".join(map(_mask_character, word[0])), text
    )
    return masked_text + _truncation_note(value, bytes_max)


def mask_key(key: bytes | None, bytes_max: int = KEY_BYTES_MAX) -> str | None:
    """Show a key of digits, which is a course id; mask any other key."""
    if key is None:
        return None
    return decode_for_display(key, bytes_max) if key.isdigit() else mask(key, bytes_max)


def decode_for_display(value: bytes | None, bytes_max: int = REVEALED_BYTES_MAX) -> str:
    """Decode for display, with a note of the number of omitted bytes."""
    if value is None:
        return ""
    return value[:bytes_max].decode("utf-8", "backslashreplace") + _truncation_note(value, bytes_max)


def _truncation_note(value: bytes, bytes_max: int) -> str:
    return f" … {len(value) - bytes_max:,} more bytes" if len(value) > bytes_max else ""


def _mask_symbols(text: str) -> str:
    """Mask symbols too: emoji can identify a person."""
    if text.isascii():
        return text
    return "".join("•" if c not in "…�" and not c.isascii() and unicodedata.category(c)[0] == "S" else c for c in text)


def _mask_character(character: str) -> str:
    return _MASK_BY_CATEGORY.get(unicodedata.category(character)[0], character)
