"""Maps a row of the log to its records, for the relay, replays and the verifier alike."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import orjson

from services.eventlog.feeds import DeadLetterRow, EventRow, FeedReader, FeedRow, VerdictRow
from services.kafka.records import OutgoingRecord
from services.publishing.caliper import build_caliper_record
from services.publishing.canvas_live_events import build_grade_change, build_live_event_record
from services.publishing.cloudevents import (
    GradeChangeCause,
    PublishingFormat,
    build_dead_letter_record,
    build_event_record,
    build_verdict_record,
    decode_event_cause,
    decode_grade_change_cause,
)
from services.publishing.user_history import UserHistory

Json: TypeAlias = dict[str, Any]

GRADE_CHANGE_BUILDERS: Mapping[str, Callable[[EventRow, GradeChangeCause, Json, PublishingFormat], OutgoingRecord]] = {
    "live-events": build_live_event_record,
    "caliper": build_caliper_record,
}
"""By output (topic without prefix): builds a record from an event's row, its cause and its grade_change."""


class RecordMapper:
    """Maps rows to records; reads and caches the SIS ids and logins that grade changes need besides their row."""

    def __init__(self, feed_reader: FeedReader, publishing_format: PublishingFormat) -> None:
        self._publishing_format = publishing_format
        self._user_history = UserHistory(feed_reader)

    def hint_upcoming(self, rows: Sequence[FeedRow]) -> None:
        """Announce the rows that are mapped next, in the order of the log, so that a course needs only one read."""
        self._user_history.hint_upcoming([row for row in rows if isinstance(row, EventRow)])

    async def map_row(self, row: FeedRow, outputs: Sequence[str]) -> list[OutgoingRecord]:
        """Build the row's record for each of these outputs (topics without prefix), in their order.

        The same row always becomes the same records.
        """
        if not isinstance(row, EventRow) or GRADE_CHANGE_BUILDERS.keys().isdisjoint(outputs):
            return [self.map_stored_row(row)]
        cause, metadata = decode_grade_change_cause(row.metadata), orjson.loads(row.metadata)
        event_users = await self._user_history.find_event_users(row, metadata)
        grade_change = build_grade_change(row, metadata, event_users, self._publishing_format)
        return [
            build_event_record(row, cause, self._publishing_format)
            if output == "events"
            else GRADE_CHANGE_BUILDERS[output](row, cause, grade_change, self._publishing_format)
            for output in outputs
        ]

    def map_stored_row(self, row: FeedRow) -> OutgoingRecord:
        """Build the record whose value the log stores: a row's only one, unless it also has a grade change.

        The same record as :meth:`map_row` builds, without the cost of a coroutine.
        """
        match row:
            case EventRow():
                return build_event_record(row, decode_event_cause(row.metadata), self._publishing_format)
            case VerdictRow():
                return build_verdict_record(row, self._publishing_format)
            case DeadLetterRow():
                return build_dead_letter_record(row)


def get_sequence(output: str, row: FeedRow) -> int:
    """Return the row's sequence number on an output: its ``ce_sequence``, a header that dead letters do not have."""
    if isinstance(row, EventRow):
        return row.position if output == "events" else row.live_number or 0
    return row.number
