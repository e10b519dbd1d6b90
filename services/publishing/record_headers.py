"""What a record's headers say of it: its id, its number, and whether it is emitted again."""

from collections.abc import Sequence
from dataclasses import dataclass

from services.eventlog.feed_history import Place
from services.publishing.cloudevents import Headers, Message

REPLAY = ("replay", b"true")
SELECTION = "replay_selection"
"""On a topic of somebody's choice: which part of the log it repeats, so that nothing else is mixed into it."""


@dataclass(frozen=True, slots=True)
class Marks:
    """``headers``: those of the first time the record was emitted. Absent or unreadable marks are None."""

    id: str | None
    number: int | None
    shard: int | None
    replay: bool
    selection: str | None
    headers: Sequence[tuple[str, bytes | None]]


def replayed(message: Message, selection: str | None = None) -> Message:
    """A record to emit again: the same, and the header ``replay: true``."""
    added: Headers = [REPLAY] if selection is None else [REPLAY, (SELECTION, selection.encode())]
    return message._replace(headers=[*message.headers, *added])


def marks_of(headers: Sequence[tuple[str, bytes | None]]) -> Marks:
    """The marks of a record. Ours of a replay come last: a dead letter may have brought its own of that name."""
    kept, selection, replay = list(headers), None, False
    if kept and kept[-1][0] == SELECTION:
        selection = _text(kept.pop()[1])
    if kept and kept[-1] == REPLAY:
        replay = bool(kept.pop())
    named = dict(kept)
    return Marks(
        _text(named.get("ce_id")),
        _number(named.get("ce_sequence")),
        _number(named.get("ce_shard")),
        replay,
        selection,
        kept,
    )


def is_ours(headers: Sequence[tuple[str, bytes | None]]) -> bool:
    """Whether a record on an output topic is numbered, or a dead letter."""
    marks = marks_of(headers)
    return marks.number is not None or place_of(marks.headers) is not None


def place_of(headers: Sequence[tuple[str, bytes | None]]) -> Place | None:
    """Where a dead letter came from; None where it does not say so. Of two headers of a name the last is ours."""
    named = dict(headers)
    topic = _text(named.get("original_topic"))
    numbers = [_number(named.get(f"original_{name}")) for name in ("partition", "offset", "timestamp")]
    partition, offset, at = numbers
    if topic is None or partition is None or offset is None or at is None:
        return None
    return Place(topic, partition, offset, at)


def _text(value: bytes | None) -> str | None:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return None


def _number(value: bytes | None) -> int | None:
    if value is None or not value.isdigit() or int(value) >= 1 << 63:
        return None
    return int(value)
