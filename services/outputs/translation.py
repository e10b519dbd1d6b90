"""Which records a row of the log becomes: one way for the relay, for emitting again and for the checker."""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import orjson

from services.eventlog.tail import DeadLetterRow, EventRow, Tail, VerdictRow
from services.outputs.records import (
    Form,
    Message,
    dead_letter_message,
    event_message,
    live_message,
    verdict_message,
)
from services.outputs.sis import SisIds

Row: TypeAlias = EventRow | VerdictRow | DeadLetterRow

PUBLISHED: Mapping[str, Callable[[EventRow, dict[str, Any], str | None, Form], Message]] = {
    "live-events": live_message,
}
"""Topics (names without prefix) with a record for each event that has a ``live_number``, and how it is made."""


class Translator:
    """Rows to records; what a record needs besides its row is read from the log and kept."""

    def __init__(self, tail: Tail, form: Form) -> None:
        self._form = form
        self._sis_ids = SisIds(tail)

    def event(self, row: EventRow, metadata: dict[str, Any]) -> Message:
        """The record on ``events``; ``metadata``: the row's, parsed."""
        return event_message(row, metadata, self._form)

    async def published(self, output: str, row: EventRow, metadata: dict[str, Any]) -> Message:
        """The record of a published grade on one of the topics of :data:`PUBLISHED`."""
        sis_id = await self._sis_ids.at(row.root_account, row.course, metadata["student_id"], row.position)
        return PUBLISHED[output](row, metadata, sis_id, self._form)

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
