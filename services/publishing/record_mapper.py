"""Which records a row of the log becomes: one way for the relay, for emitting again and for the checker."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import orjson

from services.eventlog.feeds import DeadLetterRow, EventRow, FeedReader, FeedRow, VerdictRow
from services.kafka.records import OutgoingRecord
from services.publishing.caliper import build_caliper_record
from services.publishing.canvas_live_events import build_grade_change, build_live_event_record
from services.publishing.cloudevents import (
    PublishingFormat,
    build_dead_letter_record,
    build_event_record,
    build_verdict_record,
)
from services.publishing.user_history import UserHistory

Json: TypeAlias = dict[str, Any]

GRADE_CHANGE_BUILDERS: Mapping[str, Callable[[EventRow, Json, Json, PublishingFormat], OutgoingRecord]] = {
    "live-events": build_live_event_record,
    "caliper": build_caliper_record,
}
"""Topics (names without prefix) with a record for each event that has a ``live_number``, and how it is made of the row,
its metadata and its grade_change."""


class RecordMapper:
    """Rows to records; what a record needs besides its row is read from the log and kept."""

    def __init__(self, feed_reader: FeedReader, publishing_format: PublishingFormat) -> None:
        self._publishing_format = publishing_format
        self._user_history = UserHistory(feed_reader)
        self._last_grade_change: tuple[EventRow, Json] | None = None

    def hint_upcoming(self, rows: Sequence[FeedRow]) -> None:
        """Say which rows, in the order of the log, are translated next: fewer reads then serve them all."""
        self._user_history.hint_upcoming([row for row in rows if isinstance(row, EventRow)])

    def map_event(self, row: EventRow, metadata: Json) -> OutgoingRecord:
        """The record on ``events``; ``metadata``: the row's, parsed."""
        return build_event_record(row, metadata, self._publishing_format)

    async def map_grade_change(self, output: str, row: EventRow, metadata: Json) -> OutgoingRecord:
        """The record of a published grade on one of the topics of :data:`PUBLISHED`."""
        if self._last_grade_change is None or self._last_grade_change[0] is not row:
            event_users = await self._user_history.find_event_users(row, metadata)
            self._last_grade_change = row, build_grade_change(row, metadata, event_users, self._publishing_format)
        return GRADE_CHANGE_BUILDERS[output](row, metadata, self._last_grade_change[1], self._publishing_format)

    def map_verdict(self, row: VerdictRow) -> OutgoingRecord:
        """The record on ``verdicts``."""
        return build_verdict_record(row, self._publishing_format)

    async def map_row(self, output: str, row: FeedRow) -> OutgoingRecord:
        """A row's record on the topic of that name (without prefix)."""
        match row:
            case EventRow():
                metadata = orjson.loads(row.metadata)
                return (
                    self.map_event(row, metadata)
                    if output == "events"
                    else await self.map_grade_change(output, row, metadata)
                )
            case VerdictRow():
                return self.map_verdict(row)
            case DeadLetterRow():
                return build_dead_letter_record(row)


def get_sequence(output: str, row: FeedRow) -> int:
    """The number that a row has on that topic (without prefix): its ``ce_sequence``, but for dead letters."""
    if isinstance(row, EventRow):
        return row.position if output == "events" else row.live_number or 0
    return row.number
