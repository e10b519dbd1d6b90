"""Compares records of a topic with the rows of the log that they were built from."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import orjson

from services.eventlog.feed_history import FeedHistory
from services.eventlog.feeds import FEED_BY_TOPIC, DeadLetterRow, EventRow, FeedRow
from services.kafka.records import OutgoingRecord
from services.kafka.topic_reader import Record
from services.publishing.erased_form import is_erased_form
from services.publishing.record_headers import parse_headers, parse_original_record
from services.publishing.record_mapper import RecordMapper, get_sequence
from services.publishing.sequence_audit import FindingKind

ROWS_MAX = 500
SEQUENCES_PER_QUERY = 10_000
NOT_IN_LOG = "not in the log"


@dataclass(slots=True)
class Differences:
    """``found``: (kind, sequence, description) of each record of one partition that differs from the log.

    ``erased``: how many records differ only by content that has been erased since. ``archived``: of how many only the
    number could be compared, because their verdicts are archived.
    """

    found: list[tuple[FindingKind, int, str]] = field(default_factory=list)
    erased: int = 0
    archived: int = 0


@dataclass(frozen=True, slots=True)
class LogComparison:
    """Compares one output (topic without prefix) with the log."""

    output: str
    history: FeedHistory
    record_mapper: RecordMapper

    async def find_differences(self, numbered: Sequence[tuple[int, Record]]) -> Differences:
        """Compare records of one partition with the log."""
        differences = Differences()
        for start in range(0, len(numbered), ROWS_MAX):
            chunk = numbered[start : start + ROWS_MAX]
            sequences, shard = [sequence for sequence, _ in chunk], chunk[0][1].partition
            rows = await self.history.rows_at(FEED_BY_TOPIC[self.output], shard, sequences)
            self.record_mapper.hint_upcoming(rows)
            rows_by_sequence = {get_sequence(self.output, row): row for row in rows}
            archived = await self._find_archived_among(shard, set(sequences) - rows_by_sequence.keys())
            differences.archived += sum(sequence in archived for sequence in sequences)
            for sequence, record in chunk:
                row = rows_by_sequence.get(sequence)
                if row is None:
                    if sequence not in archived:
                        differences.found.append(("extra", sequence, NOT_IN_LOG))
                    continue
                (expected,) = await self.record_mapper.map_row(row, (self.output,))
                difference = compare_record(expected, record)
                if difference is None:
                    continue
                if difference[0] == "changed" and await self._is_erased(row, expected, record):
                    differences.erased += 1
                else:
                    differences.found.append((difference[0], sequence, difference[1]))
        return differences

    async def _find_archived_among(self, shard: int, sequences: Collection[int]) -> set[int]:
        if not sequences or FEED_BY_TOPIC[self.output] != "verdicts":
            return set()
        return await self.history.archived_among(shard, [*sequences])

    async def find_archived(self, shard: int, first: int, last: int) -> list[tuple[int, int]]:
        """Return (first, last) of the ranges of archived verdicts from one number to another."""
        ranges: list[tuple[int, int]] = []
        if FEED_BY_TOPIC[self.output] != "verdicts":
            return ranges
        for after in range(first - 1, last, SEQUENCES_PER_QUERY):
            until = min(after + SEQUENCES_PER_QUERY, last)
            for start, end in await self.history.archived_ranges(shard, after, until):
                if ranges and ranges[-1][1] == start - 1:
                    start = ranges.pop()[0]
                ranges.append((start, end))
        return ranges

    async def _is_erased(self, row: FeedRow, expected: OutgoingRecord, record: Record) -> bool:
        """Return whether a record has what its row has, and besides only what was erased from the row."""
        headers = parse_headers(record.headers).headers
        if isinstance(row, DeadLetterRow):
            return row.is_erased and list(headers)[-len(expected.headers) :] == list(expected.headers)
        if not isinstance(row, EventRow) or record.key != expected.key or list(headers) != list(expected.headers):
            return False
        if (row.root_account, row.course) not in await self.history.erased_courses():
            return False
        try:
            values = [orjson.loads(value or b"null") for value in (expected.value, record.value)]
        except ValueError:
            return False
        return is_erased_form(self.output, row.type, *values)


async def find_dead_letter_sequences(history: FeedHistory, records: Sequence[Record]) -> list[int | None]:
    """Look up the dead letters' numbers in the log; None for one that the log does not have in that shard."""
    origins = [parse_original_record(parse_headers(record.headers).headers) for record in records]
    known_origins = [origin for origin in origins if origin is not None]
    rows_by_origin = dict(zip(known_origins, await history.find_dead_letters(known_origins), strict=True))
    sequences: list[int | None] = []
    for origin, record in zip(origins, records, strict=True):
        shard, sequence = (None if origin is None else rows_by_origin[origin]) or (None, None)
        sequences.append(sequence if shard == record.partition else None)
    return sequences


def compare_record(expected: OutgoingRecord, record: Record) -> tuple[FindingKind, str] | None:
    """Return the kind and description of the first difference, None without one; replay headers do not count."""
    parsed_headers = parse_headers(record.headers)
    if parsed_headers.id != parse_headers(expected.headers).id:
        return "wrong_id", "not the log's"
    if record.key != expected.key:
        return "changed", "key"
    if record.value != expected.value:
        return "changed", "value"
    if list(parsed_headers.headers) != list(expected.headers):
        actual_headers, expected_headers = dict(parsed_headers.headers), dict(expected.headers)
        names = sorted(
            name
            for name in actual_headers.keys() | expected_headers.keys()
            if actual_headers.get(name) != expected_headers.get(name)
        )
        return "changed", f"header {', '.join(names) or 'order'}"
    return None
