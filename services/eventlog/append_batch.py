"""The rows that one transaction appends: events, verdicts, dead letters and new streams, in append()'s types."""

from dataclasses import dataclass, field
from datetime import date, datetime
from typing import NamedTuple

from services.eventlog.encryption_keys import EncryptionKey, Person


@dataclass(slots=True)
class ShardHead:
    """The highest numbers of a shard that a writer has seen (0: none yet)."""

    position: int = 0
    verdict: int = 0
    dead_letter: int = 0


@dataclass(slots=True)
class RecordCoordinates:
    """The place of a record. ``append_time``: set by the broker, in milliseconds since 1970."""

    partition: int
    offset: int
    append_time: int


class NewStream(NamedTuple):
    """A row of ``stream_row``."""

    number: int
    root_account: int
    course: int
    assignment: int | None
    shard: int


class NewDeadLetter(NamedTuple):
    """A row of ``dead_letter_row``; ``headers`` is JSON."""

    shard: int
    number: int
    partition: int
    offset: int
    append_time: int
    key: bytes | None
    value: bytes | None
    headers: bytes
    reason: str
    message: str


# A row of ``event_row``: shard, position, has_live_number, stream, version, type, data, metadata. A plain tuple, like
# NewVerdict: every command creates one, a named tuple takes eight times as long, and only append() reads its parts.
NewEvent = tuple[int, int, bool, int, int, str, str, str]
# A row of ``verdict_row``: shard, number, root_account, command_id, is_first, content_hash, partition, offset,
# append_time, key, body, metadata.
NewVerdict = tuple[int, int, int, str, bool, bytes, int, int, int, bytes | None, str, str]
_EVENT_COLUMNS = {"data": 6, "metadata": 7}
_CONTENT_HASH_COLUMN = 5


@dataclass(slots=True)
class AppendBatch:
    """Rows for ``append``, numbered from ``heads`` on.

    ``watermarks``: for each partition with records in the batch, the highest offset that was processed before the batch
    (-1: none), as read from the log. The database refuses the rows if a head or a watermark has changed by then.
    ``new_person_keys``, ``new_day_keys``: keys of the rows' encryption that the log does not have yet.
    ``erased_persons``: persons whose keys are deleted with the append.
    """

    incarnation: int
    decided_at: datetime
    heads: dict[int, ShardHead]
    watermarks: dict[int, int]
    new_counts: dict[int, ShardHead] = field(default_factory=dict)
    streams: list[NewStream] = field(default_factory=list)
    events: list[NewEvent] = field(default_factory=list)
    verdicts: list[NewVerdict] = field(default_factory=list)
    dead_letters: list[NewDeadLetter] = field(default_factory=list)
    new_person_keys: dict[Person, EncryptionKey] = field(default_factory=dict)
    new_day_keys: dict[date, EncryptionKey] = field(default_factory=dict)
    erased_persons: list[Person] = field(default_factory=list)

    @property
    def changes_keys(self) -> bool:
        """Return whether keys are inserted or deleted with the rows."""
        return bool(self.new_person_keys or self.new_day_keys or self.erased_persons)

    def extend_event(self, row: int, column: str, end: str) -> None:
        """Append ``end`` inside the JSON object in ``data`` or ``metadata`` of an event's row."""
        values: list[object] = list(self.events[row])
        index = _EVENT_COLUMNS[column]
        values[index] = f"{str(values[index])[:-1]}{end}}}"
        self.events[row] = tuple(values)  # type: ignore[assignment]  # One text was replaced by another.

    def set_content_hash(self, row: int, content_hash: bytes) -> None:
        """Set the content hash of a verdict's row."""
        values: list[object] = list(self.verdicts[row])
        values[_CONTENT_HASH_COLUMN] = content_hash
        self.verdicts[row] = tuple(values)  # type: ignore[assignment]  # One hash was replaced by another.

    def _get_new_counts(self, shard: int) -> ShardHead:
        counts = self.new_counts.get(shard)
        if counts is None:
            counts = self.new_counts[shard] = ShardHead()
        return counts

    def add_stream(self, number: int, root_account: int, course: int, assignment: int | None, shard: int) -> None:
        """Add a stream that begins with this batch."""
        self.streams.append(NewStream(number, root_account, course, assignment, shard))

    def add_event(
        self, shard: int, has_live_number: bool, stream: int, version: int, event_type: str, data: str, metadata: str
    ) -> int:
        """Add the next event of a shard and return its position; ``has_live_number``: live-events carries it."""
        counts = self._get_new_counts(shard)
        counts.position += 1
        position = self.heads[shard].position + counts.position
        self.events.append((shard, position, has_live_number, stream, version, event_type, data, metadata))
        return position

    def add_verdict(
        self,
        shard: int,
        root_account: int,
        command_id: str,
        is_first: bool,
        content_hash: bytes,
        coordinates: RecordCoordinates,
        key: bytes | None,
        body: str,
        metadata: str,
    ) -> None:
        """Add the verdict of a record; ``is_first``: it settles its command id."""
        counts = self._get_new_counts(shard)
        counts.verdict += 1
        self.verdicts.append(
            (
                shard,
                self.heads[shard].verdict + counts.verdict,
                root_account,
                command_id,
                is_first,
                content_hash,
                coordinates.partition,
                coordinates.offset,
                coordinates.append_time,
                key,
                body,
                metadata,
            )
        )

    def add_dead_letter(
        self,
        shard: int,
        coordinates: RecordCoordinates,
        key: bytes | None,
        value: bytes | None,
        headers: bytes,
        reason: str,
        message: str,
    ) -> None:
        """Add a record for which no verdict can be addressed, as it was received."""
        counts = self._get_new_counts(shard)
        counts.dead_letter += 1
        self.dead_letters.append(
            NewDeadLetter(
                shard,
                self.heads[shard].dead_letter + counts.dead_letter,
                coordinates.partition,
                coordinates.offset,
                coordinates.append_time,
                key,
                value,
                headers,
                reason,
                message,
            )
        )

    def ordered_streams(self) -> list[NewStream]:
        """Return the new streams in one order for all writers: of two with the same ids one waits and then fails.

        In their own orders each could wait for the other, which PostgreSQL ends as a deadlock.
        """
        return sorted(
            self.streams,
            key=lambda s: (
                s.root_account,
                s.assignment is not None,
                s.course if s.assignment is None else s.assignment,
            ),
        )

    def expected_heads(self) -> list[tuple[int, int, int, int]]:
        """Return the shards that the batch writes to, ascending, with the heads it was decided on."""
        heads = ((shard, self.heads[shard]) for shard in sorted(self.new_counts))
        return [(shard, head.position, head.verdict, head.dead_letter) for shard, head in heads]
