"""What a topic has been seen to hold, and what is wrong with it: gaps, repeats, disorder. Knows nothing of the log.

The numbers of a topic may be more than memory holds: they are kept in a temporary file that SQLite removes.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

FINDINGS_MAX = 1_000
JUMPS_MAX = 1_000
SEQUENCE_MAX = (1 << 63) - 1

Kind = Literal["missing", "extra", "repeated", "disorder", "wrong_id", "changed", "misplaced", "unreadable"]

SCHEMA = """
create table seen (
    shard integer, number integer, "offset" integer, identity integer, content integer, primary key (shard, number)
) without rowid
"""
GAPS = """
select number + 1, following - 1, "offset", next_offset from (
    select number, "offset", lead(number) over w following, lead("offset") over w next_offset
    from seen where shard = ? and number between ? and ? window w as (order by number)
) where following > number + 1
"""


class Entry(NamedTuple):
    """One record: ``number`` is its ce_sequence; ``identity`` and ``content`` are digests of its id and of the rest."""

    number: int
    offset: int
    replay: bool
    identity: int
    content: int


@dataclass(slots=True)
class Finding:
    """A range of records of one shard that is not as it should be; ``unit``: what ``first`` and ``last`` count.

    ``kind``: *missing* from the topic; *extra*, the log does not have it; *repeated* without ``replay``; *disorder*,
    after a higher number; *wrong_id*, another ce_id than before or than the log's; *changed*, other bytes than those;
    *misplaced*, not in the partition of its shard; *unreadable*, no number can be read.
    """

    kind: Kind
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
    """The findings of one topic; neighbours of a kind are one range. Beyond FINDINGS_MAX they are only counted."""

    found: list[Finding] = field(default_factory=list)
    more: int = 0
    _open: dict[tuple[object, ...], Finding] = field(default_factory=dict)

    def add(self, finding: Finding) -> None:
        """Keep a finding, or widen the last one of its kind."""
        key = (finding.kind, finding.shard, finding.what, finding.unit)
        last = self._open.get(key)
        if last is not None and finding.first == last.last + 1:
            last.last = finding.last
        elif len(self.found) < FINDINGS_MAX:
            self.found.append(finding)
            self._open[key] = finding
        else:
            self.more += 1


class Ledger:
    """The records of one topic, entered in the order they are read.

    ``partial``: the topic repeats a part of the log, once; on the service's own topics the numbers of a shard go up by
    one, and what was lost may be emitted again. ``numbered``: False where numbers say nothing of the order.
    ``remembers``: whether ids and bytes are compared with those of the first time; the log would know better.
    """

    def __init__(self, partial: bool, numbered: bool = True, remembers: bool = True) -> None:
        self.findings = Findings()
        self.records = 0
        self.replayed = 0
        self._partial = partial
        self._numbered = numbered
        self._remembers = remembers
        self._highest: dict[int, int] = {}
        self._last_replayed: dict[int, int] = {}
        self._jumps: list[tuple[int, int, int]] = []
        # An empty name is a temporary database on disk, of which little is held in memory.
        self._seen = sqlite3.connect("", isolation_level=None)
        for setting in ("journal_mode = off", "synchronous = off", "cache_size = -8192"):
            self._seen.execute(f"pragma {setting}")
        self._seen.execute(SCHEMA)

    def close(self) -> None:
        """Remove the temporary file."""
        self._seen.close()

    def enter(self, shard: int, entries: Sequence[Entry]) -> None:
        """Records of a shard as they follow each other on the topic."""
        new: list[tuple[int, int, int, int, int]] = []
        for entry in entries:
            self.records += 1
            self.replayed += entry.replay
            highest = self._highest.get(shard, 0)
            if self._numbered and entry.number > highest:
                self._highest[shard] = entry.number
                new.append((shard, entry.number, entry.offset, entry.identity, entry.content))
            else:
                self._keep(new)
                self._enter_again(shard, entry)
            if entry.replay and self._numbered and not self._partial:
                self._follow_replay(shard, entry.number)
        self._keep(new)

    def _keep(self, new: list[tuple[int, int, int, int, int]]) -> None:
        if new:
            self._seen.execute("begin")
            self._seen.executemany("insert into seen values (?, ?, ?, ?, ?)", new)
            self._seen.execute("commit")
            new.clear()

    def _enter_again(self, shard: int, entry: Entry) -> None:
        """A number that is not above all before it: it was there already, or comes late."""
        query = "select identity, content from seen where shard = ? and number = ?"
        before = self._seen.execute(query, (shard, entry.number)).fetchone()
        kind: Kind | None = None
        if before is None:
            self._keep([(shard, entry.number, entry.offset, entry.identity, entry.content)])
            # The order of replayed records is that of their own pass: see _follow_replay.
            if self._numbered and (self._partial or not entry.replay):
                kind = "disorder"
        elif self._remembers and before[0] != entry.identity:
            kind = "wrong_id"
        elif self._remembers and before[1] != entry.content:
            kind = "changed"
        elif self._partial or not entry.replay:
            kind = "repeated"
        if kind is not None:
            self.findings.add(Finding(kind, shard, entry.number, entry.number))

    def _follow_replay(self, shard: int, number: int) -> None:
        """Replayed records come in passes, each dense from where it begins."""
        last = self._last_replayed.get(shard)
        if last is not None and number > last + 1 and len(self._jumps) < JUMPS_MAX:
            self._jumps.append((shard, last + 1, number - 1))
        self._last_replayed[shard] = number

    def bounds(self, shard: int) -> tuple[int, int] | None:
        """The lowest and the highest number seen in a shard; None when there was none."""
        row = self._seen.execute("select min(number), max(number) from seen where shard = ?", (shard,)).fetchone()
        return None if row[0] is None else (row[0], row[1])

    def numbers(self, shard: int, after: int, last: int) -> set[int]:
        """The numbers seen above ``after`` up to ``last``."""
        query = "select number from seen where shard = ? and number > ? and number <= ?"
        return {row[0] for row in self._seen.execute(query, (shard, after, last))}

    def gaps(self, shard: int, first: int, last: int) -> Iterator[tuple[int, int, int, int]]:
        """What is missing between the lowest and the highest number seen from ``first`` to ``last``.

        Each with the offsets of the records before and after it.
        """
        yield from self._seen.execute(GAPS, (shard, first, last))

    def end(self) -> None:
        """When all is read: what a replay passed over and is on the topic nevertheless came in disorder."""
        for shard, first, last in self._jumps:
            for number in sorted(self.numbers(shard, first - 1, last)):
                self.findings.add(Finding("disorder", shard, number, number, "passed over by a replay"))
