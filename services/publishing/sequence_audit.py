"""Finds repeated, disordered and changed records of a topic, and gaps between them, without the log.

A topic may have more sequence numbers than fit into memory: they are kept in a temporary SQLite database on disk.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

FINDINGS_MAX = 1_000
REPLAY_GAPS_MAX = 1_000
SEQUENCE_MAX = (1 << 63) - 1

FindingKind = Literal["missing", "extra", "repeated", "disorder", "wrong_id", "changed", "misplaced", "unreadable"]

SCHEMA = """
create table seen (
    shard integer, number integer, "offset" integer, identity integer, content integer, primary key (shard, number)
) without rowid
"""
GAPS_QUERY = """
select number + 1, following - 1, "offset", next_offset from (
    select number, "offset", lead(number) over w following, lead("offset") over w next_offset
    from seen where shard = ? and number between ? and ? window w as (order by number)
) where following > number + 1
"""


class AuditEntry(NamedTuple):
    """One record; ``identity`` and ``content`` are 64-bit digests of its id and of key, value and headers."""

    sequence: int
    offset: int
    is_replay: bool
    identity: int
    content: int


@dataclass(slots=True)
class Finding:
    """A faulty range of records of one shard, ``first`` to ``last`` in sequence numbers or in offsets (``unit``).

    ``kind``: *missing* from the topic; *extra*, not in the log; *repeated* without ``replay``; *disorder*, after a
    higher number; *wrong_id*, another ce_id than at first or in the log; *changed*, other bytes than those;
    *misplaced*, in another partition than its shard's; *unreadable*, without a sequence number.
    """

    kind: FindingKind
    shard: int
    first: int
    last: int
    what: str = ""
    unit: Literal["number", "offset"] = "number"

    def __str__(self) -> str:
        count = self.last - self.first + 1
        numbers = f"{self.first}" if count == 1 else f"{self.first}..{self.last} ({count})"
        unit = "" if self.unit == "number" else "offset "
        return f"shard {self.shard}: {unit}{numbers} {self.kind.replace('_', ' ')}{self.what and ': ' + self.what}"


@dataclass(slots=True)
class Findings:
    """The findings of one topic; adjacent ones of a kind are merged. Beyond FINDINGS_MAX they are only counted."""

    kept: list[Finding] = field(default_factory=list)
    dropped_count: int = 0
    _last_by_key: dict[tuple[object, ...], Finding] = field(default_factory=dict)

    def add(self, finding: Finding) -> None:
        """Add a finding, or extend the last one of its kind."""
        key = (finding.kind, finding.shard, finding.what, finding.unit)
        last = self._last_by_key.get(key)
        if last is not None and finding.first == last.last + 1:
            last.last = finding.last
        elif len(self.kept) < FINDINGS_MAX:
            self.kept.append(finding)
            self._last_by_key[key] = finding
        else:
            self.dropped_count += 1


class SequenceAudit:
    """Checks the records of one topic in the order in which they are read.

    ``is_partial``: the topic holds a replayed part of the log, once. Otherwise it is one of the service's own, where
    the sequence numbers of a shard are dense and lost records may be replayed. ``is_numbered``: False if the numbers
    imply no order. ``compares_with_first``: compare a repeated record with its first occurrence; not needed if all
    records are compared with the log.
    """

    def __init__(self, is_partial: bool, is_numbered: bool = True, compares_with_first: bool = True) -> None:
        self.findings = Findings()
        self.records = 0
        self.replayed = 0
        self._is_partial = is_partial
        self._is_numbered = is_numbered
        self._compares_with_first = compares_with_first
        self._highest: dict[int, int] = {}
        self._last_replayed: dict[int, int] = {}
        self._replay_gaps: list[tuple[int, int, int]] = []
        # An empty name makes a temporary database on disk, with a small cache in memory.
        self._database = sqlite3.connect("", isolation_level=None)
        for setting in ("journal_mode = off", "synchronous = off", "cache_size = -8192"):
            self._database.execute(f"pragma {setting}")
        self._database.execute(SCHEMA)

    def close(self) -> None:
        """Remove the temporary database."""
        self._database.close()

    def add(self, shard: int, entries: Sequence[AuditEntry]) -> None:
        """Add the next records of a shard, in the topic's order."""
        new_rows: list[tuple[int, int, int, int, int]] = []
        for entry in entries:
            self.records += 1
            self.replayed += entry.is_replay
            highest = self._highest.get(shard, 0)
            if self._is_numbered and entry.sequence > highest:
                self._highest[shard] = entry.sequence
                new_rows.append((shard, entry.sequence, entry.offset, entry.identity, entry.content))
            else:
                self._insert(new_rows)
                self._add_out_of_sequence(shard, entry)
            if entry.is_replay and self._is_numbered and not self._is_partial:
                self._track_replay_pass(shard, entry.sequence)
        self._insert(new_rows)

    def _insert(self, new_rows: list[tuple[int, int, int, int, int]]) -> None:
        if new_rows:
            self._database.execute("begin")
            self._database.executemany("insert into seen values (?, ?, ?, ?, ?)", new_rows)
            self._database.execute("commit")
            new_rows.clear()

    def _add_out_of_sequence(self, shard: int, entry: AuditEntry) -> None:
        """Check a record whose number is not the highest of its shard so far: it is repeated, or late."""
        query = "select identity, content from seen where shard = ? and number = ?"
        first_seen = self._database.execute(query, (shard, entry.sequence)).fetchone()
        kind: FindingKind | None = None
        if first_seen is None:
            self._insert([(shard, entry.sequence, entry.offset, entry.identity, entry.content)])
            # Replayed records are ordered among themselves: see _track_replay_pass.
            if self._is_numbered and (self._is_partial or not entry.is_replay):
                kind = "disorder"
        elif self._compares_with_first and first_seen[0] != entry.identity:
            kind = "wrong_id"
        elif self._compares_with_first and first_seen[1] != entry.content:
            kind = "changed"
        elif self._is_partial or not entry.is_replay:
            kind = "repeated"
        if kind is not None:
            self.findings.add(Finding(kind, shard, entry.sequence, entry.sequence))

    def _track_replay_pass(self, shard: int, sequence: int) -> None:
        """Remember the gaps within a replay pass, which is dense from its first record on; finish() judges them."""
        previous = self._last_replayed.get(shard)
        if previous is not None and sequence > previous + 1 and len(self._replay_gaps) < REPLAY_GAPS_MAX:
            self._replay_gaps.append((shard, previous + 1, sequence - 1))
        self._last_replayed[shard] = sequence

    def bounds(self, shard: int) -> tuple[int, int] | None:
        """Return the lowest and the highest sequence number of a shard, None without any."""
        row = self._database.execute("select min(number), max(number) from seen where shard = ?", (shard,)).fetchone()
        return None if row[0] is None else (row[0], row[1])

    def sequences(self, shard: int, after: int, last: int) -> set[int]:
        """Return the sequence numbers seen above ``after``, up to ``last``."""
        query = "select number from seen where shard = ? and number > ? and number <= ?"
        return {row[0] for row in self._database.execute(query, (shard, after, last))}

    def gaps(self, shard: int, first: int, last: int) -> Iterator[tuple[int, int, int, int]]:
        """Yield (first, last, offset before, offset after) of each gap between the numbers seen in a range."""
        yield from self._database.execute(GAPS_QUERY, (shard, first, last))

    def finish(self) -> None:
        """Check replay gaps after everything was read: a number in a gap is on the topic, but not within its pass."""
        for shard, first, last in self._replay_gaps:
            for sequence in sorted(self.sequences(shard, first - 1, last)):
                self.findings.add(Finding("disorder", shard, sequence, sequence, "passed over by a replay"))
