"""Records of a topic beside what the log says they should be."""

from collections.abc import Sequence
from dataclasses import dataclass

from services.eventlog.feed_history import History
from services.eventlog.feeds import Row
from services.kafka.relay_progress import SERIES
from services.kafka.topic_reader import Record
from services.publishing.cloudevents import Message
from services.publishing.record_headers import marks_of, place_of
from services.publishing.record_mapper import Translator, number_of
from services.publishing.sequence_audit import Kind

ROWS_MAX = 500
NOT_IN_LOG = "not in the log"


@dataclass(frozen=True, slots=True)
class Comparison:
    """The log, as one output topic (name without prefix) should repeat it."""

    output: str
    history: History
    translator: Translator

    async def numbers_of_dead_letters(self, records: Sequence[Record]) -> list[int | None]:
        """The numbers that the log gives these dead letters; None for one that it does not have."""
        places = [place_of(marks_of(record.headers).headers) for record in records]
        known = [place for place in places if place is not None]
        found = dict(zip(known, await self.history.dead_letters_from(known), strict=True))
        numbers: list[int | None] = []
        for place, record in zip(places, records, strict=True):
            shard, number = (None if place is None else found[place]) or (None, None)
            numbers.append(number if shard == record.partition else None)
        return numbers

    async def differences(self, numbered: Sequence[tuple[int, Record]]) -> list[tuple[Kind, int, str]]:
        """(kind, number, what) of the records of one partition that are not what the log says."""
        found: list[tuple[Kind, int, str]] = []
        for start in range(0, len(numbered), ROWS_MAX):
            part = numbered[start : start + ROWS_MAX]
            numbers, shard = [number for number, _ in part], part[0][1].partition
            rows = await self.history.rows_at(SERIES[self.output], shard, numbers)
            self.translator.expect(rows)
            by_number = {number_of(self.output, row): row for row in rows}
            for number, record in part:
                difference = await self._difference(by_number.get(number), record)
                if difference is not None:
                    found.append((difference[0], number, difference[1]))
        return found

    async def _difference(self, row: Row | None, record: Record) -> tuple[Kind, str] | None:
        if row is None:
            return "extra", NOT_IN_LOG
        return difference(await self.translator.message(self.output, row), record)


def difference(expected: Message, record: Record) -> tuple[Kind, str] | None:
    """What of a record is not as expected: its id, or its bytes; None if nothing. Marks of a replay do not count."""
    marks = marks_of(record.headers)
    if marks.id != marks_of(expected.headers).id:
        return "wrong_id", "not the log's"
    if record.key != expected.key:
        return "changed", "key"
    if record.value != expected.value:
        return "changed", "value"
    if list(marks.headers) != list(expected.headers):
        now, then = dict(marks.headers), dict(expected.headers)
        names = sorted(name for name in now.keys() | then.keys() if now.get(name) != then.get(name))
        return "changed", f"header {', '.join(names) or 'order'}"
    return None
