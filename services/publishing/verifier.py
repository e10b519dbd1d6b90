"""Does a topic hold what it should? As a consumer sees it, and beside the log where there is one.

Kafka alone shows gaps, repeats, disorder, and ids or bytes that are not those of the first time. Beside the log also
what is missing at the end, what the log does not have, and every byte that differs. What retention removed from the
beginning of a topic is told apart from what is missing.
"""

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from services.eventlog.feed_history import EVERYTHING, Selection
from services.kafka.partitioning import SHARDS
from services.kafka.relay_progress import SERIES
from services.kafka.topic_reader import Record, read_until, reader
from services.kafka.topics import partition_count
from services.publishing.log_comparison import NOT_IN_LOG, Comparison
from services.publishing.record_headers import Marks, marks_of, place_of
from services.publishing.sequence_audit import Entry, Finding, Ledger

NUMBERS_MAX = 10_000
SETTLE_SECONDS = 10.0
POLL_SECONDS = 0.2

OnProgress = Callable[[str, int, int], None]
"""Called with the topic, how many of its offsets are read, and how many there are."""


class CannotVerify(Exception):
    """There is no such topic; the message names it."""


@dataclass(slots=True)
class Verified:
    """What was found on one topic. ``removed``: by retention, as (shard, first, last); that is no fault.

    ``records``: all read, ``replayed``: those of them that were emitted again; ``compared``: with the log;
    ``more_findings``: how many were not kept.
    """

    topic: str
    output: str
    compared: bool
    records: int = 0
    replayed: int = 0
    removed: list[tuple[int, int, int]] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    more_findings: int = 0

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings

    def as_json(self) -> dict[str, Any]:
        """For scripts."""
        return {"sound": self.sound, **asdict(self)}


async def verify(
    bootstrap: str,
    topic: str,
    output: str,
    comparison: Comparison | None = None,
    selection: Selection = EVERYTHING,
    on_progress: OnProgress = lambda topic, read, of: None,
    settle_seconds: float = SETTLE_SECONDS,
) -> Verified:
    """Read a topic (full name) to its end and say what is wrong with it.

    ``output``: which of the service's topics it repeats (name without prefix); ``selection``: of a topic that was
    filled by a replay, what was replayed: its gaps can be judged beside the log only. What stands in the log when
    this begins is waited for ``settle_seconds`` long, should the relay not have brought it yet.

    Raises:
        CannotVerify: there is no such topic.
        KafkaError, OSError, asyncpg.PostgresError, TimeoutError: Kafka or PostgreSQL does not answer.
    """
    verification = _Verification(topic, output, comparison, selection, on_progress)
    try:
        return await verification.run(bootstrap, settle_seconds)
    finally:
        verification.ledger.close()


class _Verification:
    """One topic being read."""

    def __init__(
        self, topic: str, output: str, comparison: Comparison | None, selection: Selection, on_progress: OnProgress
    ) -> None:
        self.topic = topic
        self.output = output
        self.comparison = comparison
        self.selection = selection
        self.on_progress = on_progress
        self.dead_letters = output == "dead-letters"
        self.partial = selection != EVERYTHING
        # Without the log dead letters have no numbers: a digest of where they came from finds repeats.
        self.numbered = comparison is not None or output != "dead-letters"
        self.ledger = Ledger(self.partial, self.numbered, remembers=comparison is None)
        self.result = Verified(topic, output, comparison is not None)

    async def run(self, bootstrap: str, settle_seconds: float) -> Verified:
        heads = [0] * SHARDS
        if self.comparison is not None:
            # Asked before the topic's ends: what is in the log by now is on the topic soon.
            heads = (await self.comparison.history.heads(range(SHARDS)))[SERIES[self.output]]
        places = [TopicPartition(self.topic, number) for number in range(await partition_count(bootstrap, self.topic))]
        if not places:
            raise CannotVerify(f"there is no topic {self.topic}")
        async with reader(bootstrap, places) as consumer:
            begins = await consumer.beginning_offsets(places)
            await self._read(consumer, begins, await consumer.end_offsets(places))
            if self.comparison is not None and not self.partial:
                await self._settle(consumer, heads, places, settle_seconds)
            removed = await consumer.beginning_offsets(places)
        for place in places:
            self._look_for_gaps(place.partition, begins[place], removed[place], heads)
        for shard in range(len(places), SHARDS):
            self._missing(shard, 1, heads[shard])
        if self.comparison is not None and self.partial:
            await self._look_for_selected(self.comparison, heads)
        self.ledger.end()
        result = self.result
        result.records, result.replayed = self.ledger.records, self.ledger.replayed
        findings = self.ledger.findings
        result.findings = sorted(findings.found, key=lambda found: (found.shard, found.first, found.kind))
        result.more_findings = findings.more
        return result

    async def _read(
        self,
        consumer: AIOKafkaConsumer,
        begins: Mapping[TopicPartition, int],
        ends: Mapping[TopicPartition, int],
    ) -> None:
        read, of = dict.fromkeys(begins, 0), sum(ends[place] - begins[place] for place in begins)
        self.on_progress(self.topic, 0, of)
        async for place, records in read_until(consumer, ends):
            await self._enter(place.partition, records)
            read[place] = records[-1].offset + 1 - begins[place]
            self.on_progress(self.topic, min(sum(read.values()), of), of)
        self.on_progress(self.topic, of, of)

    async def _settle(
        self,
        consumer: AIOKafkaConsumer,
        heads: Sequence[int],
        places: Sequence[TopicPartition],
        seconds: float,
    ) -> None:
        """Go on reading while something is missing that the relay may be about to bring."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and any(
            (self.ledger.bounds(shard) or (0, 0))[1] < head for shard, head in enumerate(heads)
        ):
            for place, records in (await consumer.getmany(*places, timeout_ms=int(POLL_SECONDS * 1000))).items():
                await self._enter(place.partition, records)

    async def _enter(self, shard: int, records: Sequence[Record]) -> None:
        numbered = await self._numbered(shard, records)
        self.ledger.enter(shard, [_entry(number, record, marks) for number, record, marks in numbered])
        if self.comparison is not None:
            beside = [(number, record) for number, record, _ in numbered]
            for kind, number, what in await self.comparison.differences(beside):
                self.ledger.findings.add(Finding(kind, shard, number, number, what))

    async def _numbered(self, shard: int, records: Sequence[Record]) -> list[tuple[int, Record, Marks]]:
        """Records with their numbers; those that have none, or are in another shard's partition, are findings."""
        marks = [marks_of(record.headers) for record in records]
        numbers = [mark.number for mark in marks]
        if self.dead_letters and self.comparison is not None:
            numbers = await self.comparison.numbers_of_dead_letters(records)
        elif self.dead_letters:
            numbers = [_digest(str(place)) if (place := place_of(mark.headers)) else None for mark in marks]
        found = []
        for record, mark, number in zip(records, marks, numbers, strict=True):
            if number is None:
                offset = record.offset
                strange = Finding("unreadable", shard, offset, offset, "it has no number", "offset")
                if self.dead_letters and self.comparison is not None:
                    strange = Finding("extra", shard, offset, offset, NOT_IN_LOG, "offset")
                self.ledger.findings.add(strange)
            elif not self.dead_letters and mark.shard != shard:
                what = f"of shard {mark.shard}"
                self.ledger.findings.add(Finding("misplaced", shard, number, number, what))
            else:
                found.append((number, record, mark))
        return found

    def _missing(self, shard: int, first: int, last: int) -> None:
        if first <= last:
            self.ledger.findings.add(Finding("missing", shard, first, last))

    def _look_for_gaps(self, shard: int, begin: int, removed_until: int, heads: Sequence[int]) -> None:
        """What is missing from a shard. A topic whose first offset is not 0 was cut at its beginning."""
        if self.partial or not self.numbered:
            return
        head = heads[shard] if shard < len(heads) else 0
        low, high = self.ledger.bounds(shard) or (head + 1, head)
        if begin == 0:
            self._missing(shard, 1, low - 1)
        elif low > 1:
            self.result.removed.append((shard, 1, low - 1))
        for first, last, before, after in self.ledger.gaps(shard, low, high):
            if begin < removed_until and before < removed_until <= after:
                self.result.removed.append((shard, first, last))  # While this read the topic.
            else:
                self._missing(shard, first, last)
        self._missing(shard, high + 1, head)

    async def _look_for_selected(self, comparison: Comparison, heads: Sequence[int]) -> None:
        """Beside the log, on a topic that repeats a part of it: what it lacks, and what it should not have."""
        selected_shards = await comparison.history.shards(self.selection)
        for shard in range(SHARDS):
            last = max(heads[shard], (self.ledger.bounds(shard) or (0, 0))[1])
            for after in range(0, last, NUMBERS_MAX):
                until = min(after + NUMBERS_MAX, last)
                wanted: set[int] = set()
                if shard in selected_shards:
                    series, window = SERIES[self.output], (shard, after, min(until, heads[shard]))
                    wanted = set(await comparison.history.numbers(series, *window, self.selection))
                seen = self.ledger.numbers(shard, after, until)
                for number in sorted(wanted - seen):
                    self._missing(shard, number, number)
                for number in sorted(seen - wanted):
                    self.ledger.findings.add(Finding("extra", shard, number, number, "not selected"))


def _entry(number: int, record: Record, marks: Marks) -> Entry:
    content = hashlib.blake2b(digest_size=8)
    for part in (record.key or b"", record.value or b"", repr(marks.headers).encode()):
        content.update(len(part).to_bytes(8) + part)
    identity = _digest(marks.id or "")
    return Entry(number, record.offset, marks.replay, identity, int.from_bytes(content.digest(), signed=True))


def _digest(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) >> 1
