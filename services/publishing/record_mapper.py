"""Which records a row of the log becomes: one way for the relay, for emitting again and for the checker."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import orjson

from services.eventlog.feeds import DeadLetterRow, EventRow, Row, Tail, VerdictRow
from services.publishing.caliper import caliper_message
from services.publishing.canvas_live_events import grade_change, live_message
from services.publishing.cloudevents import Form, Message, dead_letter_message, event_message, verdict_message
from services.publishing.user_history import People

Json: TypeAlias = dict[str, Any]

PUBLISHED: Mapping[str, Callable[[EventRow, Json, Json, Form], Message]] = {
    "live-events": live_message,
    "caliper": caliper_message,
}
"""Topics (names without prefix) with a record for each event that has a ``live_number``, and how it is made of the row,
its metadata and its grade_change."""


class Translator:
    """Rows to records; what a record needs besides its row is read from the log and kept."""

    def __init__(self, tail: Tail, form: Form) -> None:
        self._form = form
        self._people = People(tail)
        self._last: tuple[EventRow, Json] | None = None

    def expect(self, rows: Sequence[Row]) -> None:
        """Say which rows, in the order of the log, are translated next: fewer reads then serve them all."""
        self._people.expect([row for row in rows if isinstance(row, EventRow)])

    def event(self, row: EventRow, metadata: Json) -> Message:
        """The record on ``events``; ``metadata``: the row's, parsed."""
        return event_message(row, metadata, self._form)

    async def published(self, output: str, row: EventRow, metadata: Json) -> Message:
        """The record of a published grade on one of the topics of :data:`PUBLISHED`."""
        if self._last is None or self._last[0] is not row:
            named = await self._people.named(row, metadata)
            self._last = row, grade_change(row, metadata, named, self._form)
        return PUBLISHED[output](row, metadata, self._last[1], self._form)

    def verdict(self, row: VerdictRow) -> Message:
        """The record on ``verdicts``."""
        return verdict_message(row, self._form)

    async def message(self, output: str, row: Row) -> Message:
        """A row's record on the topic of that name (without prefix)."""
        match row:
            case EventRow():
                metadata = orjson.loads(row.metadata)
                return self.event(row, metadata) if output == "events" else await self.published(output, row, metadata)
            case VerdictRow():
                return self.verdict(row)
            case DeadLetterRow():
                return dead_letter_message(row)


def number_of(output: str, row: Row) -> int:
    """The number that a row has on that topic (without prefix): its ``ce_sequence``, but for dead letters."""
    if isinstance(row, EventRow):
        return row.position if output == "events" else row.live_number or 0
    return row.number
