"""The shape of bytes without their content: enough to see what is wrong with a record, and nobody's grade or name."""

import re
import unicodedata
from collections.abc import Iterator

from schemas.commands import COMMAND

SHOWN_BYTES_MAX = 4_096
REVEALED_BYTES_MAX = 65_536
_WORD = re.compile(r"[^\W_]+(?:_[^\W_]+)*")
_MASK_BY_CATEGORY = {"L": "x", "N": "9", "M": "x", "S": "•"}


def _schema_words(schema: object) -> Iterator[str]:
    """The names of fields and the fixed values of a JSON Schema: they say nothing about anybody."""
    if isinstance(schema, dict):
        yield from schema.get("properties", ())
        yield from (word for word in [schema.get("const"), *schema.get("enum", ())] if isinstance(word, str))
        for part in schema.values():
            yield from _schema_words(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from _schema_words(part)


UNMASKED_WORDS = frozenset(["true", "false", "null", *_schema_words(COMMAND.json_schema())])


def mask(value: bytes | None, bytes_max: int = SHOWN_BYTES_MAX) -> str:
    """Letters as x, digits as 9, our own names and all punctuation as they are; what is not UTF-8 as �."""
    if value is None:
        return ""
    text = _mask_symbols(value[:bytes_max].decode("utf-8", "replace"))
    masked_text = _WORD.sub(
        lambda word: word[0] if word[0] in UNMASKED_WORDS else "".join(map(_mask_character, word[0])), text
    )
    return masked_text + _truncation_note(value, bytes_max)


def decode_for_display(value: bytes | None, bytes_max: int = REVEALED_BYTES_MAX) -> str:
    """The bytes as text, with how many are left out."""
    if value is None:
        return ""
    return value[:bytes_max].decode("utf-8", "backslashreplace") + _truncation_note(value, bytes_max)


def _truncation_note(value: bytes, bytes_max: int) -> str:
    return f" … {len(value) - bytes_max:,} more bytes" if len(value) > bytes_max else ""


def _mask_symbols(text: str) -> str:
    """Pictures may be names too."""
    if text.isascii():
        return text
    return "".join("•" if c not in "…�" and not c.isascii() and unicodedata.category(c)[0] == "S" else c for c in text)


def _mask_character(character: str) -> str:
    return _MASK_BY_CATEGORY.get(unicodedata.category(character)[0], character)
