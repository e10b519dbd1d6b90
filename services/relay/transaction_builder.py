"""What waits for the topics: rows of the log after the relay's progress, translated, one transaction after another."""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import orjson

from services.eventlog.feeds import DeadLetterRow, EventRow, Row, Tail, VerdictRow
from services.kafka.partitioning import SHARDS
from services.kafka.relay_progress import SERIES, Progress
from services.publishing.cloudevents import Message, dead_letter_message
from services.publishing.record_headers import replayed
from services.publishing.record_mapper import PUBLISHED, Translator, number_of

RECORDS_MAX = 5_000
BYTES_MAX = 4 << 20
BYTES_PER_SHARD_MAX = 1 << 20
# Others get their turn meanwhile: the transaction before is being sent.
ROWS_IN_ONE_GO = 500
# About what the headers of a record take.
HEADERS_BYTES = 512
SHARD_LIST = list(range(SHARDS))
Json: TypeAlias = dict[str, Any]


@dataclass(slots=True)
class Waiting:
    """What one transaction takes, and the progress before and after it."""

    rows: list[Row]
    messages: list[Message]
    before: Progress
    progress: Progress


class Gathering:
    """Reads ahead of the progress, and keeps what was read: the log only grows, so rows stay what they are.

    ``published``: the live number that each shard had come to at the progress of ``events``. Topics of published grades
    go along with the events; one that is filled again reads its own rows until it has caught up with them.
    """

    def __init__(self, tail: Tail, translator: Translator, progress: Progress, published: Sequence[int]) -> None:
        self._tail = tail
        self._translator = translator
        self._progress = progress
        self._sequences = {output: list(numbers) for output, numbers in progress.sequences.items()}
        self._ahead = {output: list(numbers) for output, numbers in progress.sequences.items()}
        self._published = list(published)
        self._rows: deque[tuple[Sequence[str], Row]] = deque()

    async def next(self) -> Waiting | None:
        """What the next transaction takes; None if nothing waits."""
        await self._read()
        return await self._take() if self._rows else None

    async def next_if_full(self) -> Waiting | None:
        """The same while another transaction is under way: what is less than a full one can still grow."""
        await self._read()
        return await self._take() if len(self._rows) >= RECORDS_MAX else None

    async def _read(self) -> None:
        """Read what is new, unless there is enough for a transaction already."""
        if len(self._rows) >= RECORDS_MAX:
            return
        heads = await self._tail.heads(SHARD_LIST)
        for output in PUBLISHED:
            self._rows.extend(((output,), row) for row in await self._new(output, self._published))
        for row in await self._new("events", heads["events"]):
            self._rows.append((self._outputs_of(row), row))
        for output in ("verdicts", "dead-letters"):
            self._rows.extend(((output,), row) for row in await self._new(output, heads[SERIES[output]]))

    async def _new(self, output: str, last: Sequence[int]) -> list[Row]:
        """The next rows of a topic up to the numbers ``last``, from all shards alike."""
        read = self._ahead[output]
        shards = [shard for shard in SHARD_LIST if read[shard] < last[shard]]
        if not shards:
            return []
        after, until = [read[shard] for shard in shards], [last[shard] for shard in shards]
        series, most = SERIES[output], max(RECORDS_MAX // len(shards), 1)
        rows = await self._tail.read(series, shards, after, until, most, BYTES_PER_SHARD_MAX)
        for row in rows:
            read[row.shard] = number_of(output, row)
        return rows

    def _outputs_of(self, row: Row) -> Sequence[str]:
        """The topics that an event goes to now: those of published grades unless they are behind, or had it already."""
        if not isinstance(row, EventRow) or row.live_number is None:
            return ("events",)
        self._published[row.shard] = row.live_number
        level = [output for output in PUBLISHED if self._ahead[output][row.shard] == row.live_number - 1]
        for output in level:
            self._ahead[output][row.shard] = row.live_number
        return ("events", *level)

    async def _take(self) -> Waiting:
        """The next transaction: at most RECORDS_MAX records or BYTES_MAX, and always one row."""
        taken: list[Row] = []
        messages: list[Message] = []
        size = 0
        self._translator.expect([row for _, row in self._rows])
        while self._rows and size <= BYTES_MAX and len(messages) < RECORDS_MAX:
            outputs, row = self._rows.popleft()
            metadata = orjson.loads(row.metadata) if isinstance(row, EventRow) else {}
            for output in outputs:
                message = await self._message(output, row, metadata)
                number = self._sequences[output][row.shard] = number_of(output, row)
                if self._progress.replays and number <= self._progress.replayed_until(output, row.shard):
                    message = replayed(message)
                messages.append(message)
                size += len(message.value or b"") + HEADERS_BYTES
            taken.append(row)
            if len(taken) % ROWS_IN_ONE_GO == 0:
                await asyncio.sleep(0)
        before, self._progress = self._progress, self._reached()
        return Waiting(taken, messages, before, self._progress)

    async def _message(self, output: str, row: Row, metadata: Json) -> Message:
        match row:
            case VerdictRow():
                return self._translator.verdict(row)
            case EventRow() if output == "events":
                return self._translator.event(row, metadata)
            case EventRow():
                return await self._translator.published(output, row, metadata)
            case DeadLetterRow():
                return dead_letter_message(row)

    def _reached(self) -> Progress:
        """The progress after what was taken. A topic that has caught up with where it had been is replayed no more."""
        sequences = {output: tuple(numbers) for output, numbers in self._sequences.items()}
        reached = Progress(sequences, self._progress.replays)
        behind = [output for output in reached.replays if any(reached.replaying(output, n) for n in SHARD_LIST)]
        return Progress(sequences, {output: reached.replays[output] for output in behind})
