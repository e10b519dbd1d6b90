"""``admin rewind topics`` finds the end of a topic whose last record is a replay."""

from collections.abc import AsyncIterator, Sequence
from typing import Any, cast

import pytest
from aiokafka import ConsumerRecord

from services.admin import rewinder
from services.eventlog.feed_history import OriginalRecord
from services.kafka.topic_reader import Record
from services.publishing.topic_ends import End

SHARD = 0


def replayed_record(offset: int) -> Record:
    """Return a dead letter of a record that was copied from another topic, where it had number 500."""
    origin = {"topic": "commands", "partition": "3", "offset": str(offset), "timestamp": "1790000000000"}
    headers = (
        ("ce_sequence", b"500"),
        *((f"original_{name}", text.encode()) for name, text in origin.items()),
        ("replay", b"true"),
    )
    return ConsumerRecord("any", SHARD, offset, 1, 1, None, b"{", None, 0, 1, headers)


class Log:
    """Knows dead letters of the records before offset 3, numbered from 1."""

    async def find_dead_letters(self, records: Sequence[OriginalRecord]) -> list[tuple[int, int] | None]:
        return [(SHARD, record.offset + 1) if record.offset < 3 else None for record in records]


@pytest.mark.parametrize(("output", "highest"), [("dead-letters", 3), ("events", 500)])
async def test_number_that_a_dead_letter_inherited_is_not_taken_for_its_own(
    output: str, highest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def read_to_end(*_: Any) -> AsyncIterator[list[Record]]:
        yield [replayed_record(1), replayed_record(2)]
        yield [replayed_record(0), replayed_record(7)]

    monkeypatch.setattr(rewinder, "read_to_end", read_to_end)
    ends = [End(1, is_replay=True)]

    found = await rewinder._read_highest_sequences("", cast(Any, Log()), output, "any", ends)

    assert found == (highest,)
