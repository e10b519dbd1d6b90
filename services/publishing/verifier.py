"""Verifies the records of a topic, alone or compared with the log.

The topic alone shows gaps, repeats, disorder, and ids or bytes that differ from their first occurrence. The log also
shows records missing at the end, records that it does not have, and each changed byte. Records that retention removed,
and archived verdicts, are reported apart from missing ones.
"""

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence

from aiokafka import AIOKafkaConsumer, TopicPartition

from services.eventlog.feed_history import EVERYTHING, LogFilter
from services.eventlog.feeds import FEED_BY_TOPIC
from services.kafka.topic_reader import Record, open_reader, read_until
from services.kafka.topics import read_partition_count
from services.publishing.log_comparison import (
    NOT_IN_LOG,
    SEQUENCES_PER_QUERY,
    LogComparison,
    find_dead_letter_sequences,
)
from services.publishing.record_headers import ParsedHeaders, parse_headers, parse_original_record
from services.publishing.sequence_audit import AuditEntry, Finding, SequenceAudit
from services.publishing.verification_report import VerificationReport

CATCH_UP_SECONDS = 10.0
POLL_SECONDS = 0.2
OnProgress = Callable[[str, int, int], None]
"""Called with the topic, the number of its offsets read so far, and their total."""


class TopicNotFound(Exception):
    """There is no such topic; the message names it."""


async def verify(
    bootstrap: str,
    topic: str,
    output: str,
    comparison: LogComparison | None = None,
    log_filter: LogFilter = EVERYTHING,
    on_progress: OnProgress = lambda topic, read, of: None,
    catch_up_seconds: float = CATCH_UP_SECONDS,
) -> VerificationReport:
    """Read a topic (full name) to its end and report what is wrong with it.

    ``output`` is the output that the topic repeats (topic without prefix). ``log_filter`` is the replayed part of the
    log on a replay's target, whose gaps only a comparison can find. With a comparison, rows that the log has at the
    start may take the relay up to ``catch_up_seconds`` more to publish.

    Raises:
        TopicNotFound: there is no such topic.
        KafkaError, OSError, asyncpg.PostgresError, TimeoutError: Kafka or PostgreSQL does not answer.
    """
    verifier = _Verifier(topic, output, comparison, log_filter, on_progress)
    try:
        return await verifier.run(bootstrap, catch_up_seconds)
    finally:
        verifier.audit.close()


class _Verifier:
    """Verifies one topic."""

    def __init__(
        self, topic: str, output: str, comparison: LogComparison | None, log_filter: LogFilter, on_progress: OnProgress
    ) -> None:
        self.topic = topic
        self.output = output
        self.comparison = comparison
        self.log_filter = log_filter
        self.on_progress = on_progress
        self.is_dead_letters = output == "dead-letters"
        self.is_partial = log_filter != EVERYTHING
        # Dead letters have numbers in the log only; without it a digest of their origin finds repeats.
        self.is_numbered = comparison is not None or output != "dead-letters"
        self.audit = SequenceAudit(self.is_partial, self.is_numbered, compares_with_first=comparison is None)
        self.report = VerificationReport(topic, output, comparison is not None)

    async def run(self, bootstrap: str, catch_up_seconds: float) -> VerificationReport:
        heads: list[int] = []
        if self.comparison is not None:
            # Read before the topic's ends: rows that are in the log now will be on the topic soon.
            history = self.comparison.history
            heads = (await history.heads(await history.shards(EVERYTHING)))[FEED_BY_TOPIC[self.output]]
        topic_partitions = [
            TopicPartition(self.topic, partition)
            for partition in range(await read_partition_count(bootstrap, self.topic))
        ]
        if not topic_partitions:
            raise TopicNotFound(f"there is no topic {self.topic}")
        async with open_reader(bootstrap, topic_partitions) as consumer:
            beginning_offsets = await consumer.beginning_offsets(topic_partitions)
            await self._read(consumer, beginning_offsets, await consumer.end_offsets(topic_partitions))
            if self.comparison is not None and not self.is_partial:
                await self._wait_for_relay(consumer, heads, topic_partitions, catch_up_seconds)
            later_beginnings = await consumer.beginning_offsets(topic_partitions)
        for topic_partition in topic_partitions:
            await self._find_gaps(
                topic_partition.partition, beginning_offsets[topic_partition], later_beginnings[topic_partition], heads
            )
        for shard in range(len(topic_partitions), len(heads)):
            await self._add_missing(shard, 1, heads[shard])
        if self.comparison is not None and self.is_partial:
            await self._find_selection_differences(self.comparison, heads)
        self.audit.finish()
        report = self.report
        report.records, report.replayed = self.audit.records, self.audit.replayed
        findings = self.audit.findings
        report.findings = sorted(findings.kept, key=lambda found: (found.shard, found.first, found.kind))
        report.more_findings = findings.dropped_count
        return report

    async def _read(
        self,
        consumer: AIOKafkaConsumer,
        beginning_offsets: Mapping[TopicPartition, int],
        end_offsets: Mapping[TopicPartition, int],
    ) -> None:
        read_offsets, total = (
            dict.fromkeys(beginning_offsets, 0),
            sum(
                end_offsets[topic_partition] - beginning_offsets[topic_partition]
                for topic_partition in beginning_offsets
            ),
        )
        self.on_progress(self.topic, 0, total)
        async for topic_partition, records in read_until(consumer, end_offsets):
            await self._add_records(topic_partition.partition, records)
            read_offsets[topic_partition] = records[-1].offset + 1 - beginning_offsets[topic_partition]
            self.on_progress(self.topic, min(sum(read_offsets.values()), total), total)
        self.on_progress(self.topic, total, total)

    async def _wait_for_relay(
        self,
        consumer: AIOKafkaConsumer,
        heads: Sequence[int],
        topic_partitions: Sequence[TopicPartition],
        seconds_max: float,
    ) -> None:
        """Continue reading until each shard has reached the log's head, or the time is up."""
        deadline = time.monotonic() + seconds_max
        while time.monotonic() < deadline and any(
            (self.audit.bounds(shard) or (0, 0))[1] < head for shard, head in enumerate(heads)
        ):
            for topic_partition, records in (
                await consumer.getmany(*topic_partitions, timeout_ms=int(POLL_SECONDS * 1000))
            ).items():
                await self._add_records(topic_partition.partition, records)

    async def _add_records(self, shard: int, records: Sequence[Record]) -> None:
        numbered_records = await self._assign_sequences(shard, records)
        self.audit.add(
            shard, [_build_entry(sequence, record, headers) for sequence, record, headers in numbered_records]
        )
        if self.comparison is not None:
            sequenced_records = [(sequence, record) for sequence, record, _ in numbered_records]
            differences = await self.comparison.find_differences(sequenced_records)
            self.report.erased += differences.erased
            self.report.archived += differences.archived
            for kind, sequence, what in differences.found:
                self.audit.findings.add(Finding(kind, shard, sequence, sequence, what))

    async def _assign_sequences(self, shard: int, records: Sequence[Record]) -> list[tuple[int, Record, ParsedHeaders]]:
        """Return records with their sequence numbers; those without one or of another shard become findings."""
        parsed_headers = [parse_headers(record.headers) for record in records]
        sequences = [headers.sequence for headers in parsed_headers]
        if self.is_dead_letters and self.comparison is not None:
            sequences = await find_dead_letter_sequences(self.comparison.history, records)
        elif self.is_dead_letters:
            sequences = [
                _digest(str(origin)) if (origin := parse_original_record(headers.headers)) else None
                for headers in parsed_headers
            ]
        numbered_records = []
        for record, headers, sequence in zip(records, parsed_headers, sequences, strict=True):
            if sequence is None:
                offset = record.offset
                finding = Finding("unreadable", shard, offset, offset, "without a sequence number", "offset")
                if self.is_dead_letters and self.comparison is not None:
                    finding = Finding("extra", shard, offset, offset, NOT_IN_LOG, "offset")
                self.audit.findings.add(finding)
            elif not self.is_dead_letters and headers.shard != shard:
                what = f"of shard {headers.shard}"
                self.audit.findings.add(Finding("misplaced", shard, sequence, sequence, what))
            else:
                numbered_records.append((sequence, record, headers))
        return numbered_records

    async def _add_missing(self, shard: int, first: int, last: int) -> None:
        """Report a range that the topic lacks; archived verdicts in it were left out when the topic was filled."""
        archived = [] if self.comparison is None else await self.comparison.find_archived(shard, first, last)
        self.report.left_out += [(shard, start, end) for start, end in archived]
        for start, end in [*archived, (last + 1, last)]:
            if first < start:
                self.audit.findings.add(Finding("missing", shard, first, start - 1))
            first = end + 1

    async def _find_gaps(self, shard: int, beginning_offset: int, removed_until: int, heads: Sequence[int]) -> None:
        """Report the gaps of a shard; a first offset above 0 means that retention removed records."""
        if self.is_partial or not self.is_numbered:
            return
        head = heads[shard] if shard < len(heads) else 0
        lowest, highest = self.audit.bounds(shard) or (head + 1, head)
        if beginning_offset == 0:
            await self._add_missing(shard, 1, lowest - 1)
        elif lowest > 1:
            self.report.removed.append((shard, 1, lowest - 1))
        for first, last, before, after in self.audit.gaps(shard, lowest, highest):
            if beginning_offset < removed_until and before < removed_until <= after:
                self.report.removed.append((shard, first, last))  # Removed while the topic was read.
            else:
                await self._add_missing(shard, first, last)
        await self._add_missing(shard, highest + 1, head)

    async def _find_selection_differences(self, comparison: LogComparison, heads: Sequence[int]) -> None:
        """Report missing and extra records of a replay's target, compared with that part of the log."""
        selected_shards = await comparison.history.shards(self.log_filter)
        for shard in range(len(heads)):
            last = max(heads[shard], (self.audit.bounds(shard) or (0, 0))[1])
            for after in range(0, last, SEQUENCES_PER_QUERY):
                until = min(after + SEQUENCES_PER_QUERY, last)
                expected: set[int] = set()
                if shard in selected_shards:
                    feed, window = FEED_BY_TOPIC[self.output], (shard, after, min(until, heads[shard]))
                    expected = set(await comparison.history.sequences(feed, *window, self.log_filter))
                actual = self.audit.sequences(shard, after, until)
                for sequence in sorted(expected - actual):
                    await self._add_missing(shard, sequence, sequence)
                extra = actual - expected
                # An archived verdict cannot be selected; it was when the target was filled.
                for start, end in await comparison.find_archived(shard, after + 1, until) if extra else ():
                    extra -= set(range(start, end + 1))
                for sequence in sorted(extra):
                    self.audit.findings.add(Finding("extra", shard, sequence, sequence, "not selected"))


def _build_entry(sequence: int, record: Record, headers: ParsedHeaders) -> AuditEntry:
    content = hashlib.blake2b(digest_size=8)
    for part in (record.key or b"", record.value or b"", repr(headers.headers).encode()):
        content.update(len(part).to_bytes(8) + part)
    identity = _digest(headers.id or "")
    return AuditEntry(
        sequence, record.offset, headers.is_replay, identity, int.from_bytes(content.digest(), signed=True)
    )


def _digest(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) >> 1
