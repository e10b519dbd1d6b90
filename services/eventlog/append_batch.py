"""What one transaction appends: events, verdicts, dead letters and new streams, as rows of append()'s types."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple


@dataclass(slots=True)
class Head:
    """The highest numbers of a shard that somebody has seen (0: none yet)."""

    position: int = 0
    verdict: int = 0
    dead_letter: int = 0


class Place(NamedTuple):
    """Where a record is: ``append_time`` in milliseconds since 1970, as the broker stamped it."""

    partition: int
    offset: int
    append_time: int


@dataclass(slots=True)
class Batch:
    """Rows for ``append``. Numbers are drawn here from ``heads``; the database refuses them if a head has moved."""

    source: int
    at: datetime
    heads: dict[int, Head]
    first_offsets: dict[int, int]
    drawn: dict[int, Head] = field(default_factory=dict)
    streams: list[tuple[int, int, int, int | None, int]] = field(default_factory=list)
    events: list[tuple[int, int, bool, int, int, str, str, str]] = field(default_factory=list)
    verdicts: list[tuple[int, int, int, str, bool, bytes, int, int, int, bytes | None, str, str]] = field(
        default_factory=list
    )
    dead_letters: list[tuple[int, int, int, int, int, bytes | None, bytes | None, bytes, str, str]] = field(
        default_factory=list
    )

    def _drawn(self, shard: int) -> Head:
        head = self.drawn.get(shard)
        if head is None:
            head = self.drawn[shard] = Head()
        return head

    def add_stream(self, number: int, root_account: int, course: int, assignment: int | None, shard: int) -> None:
        """A stream that begins with this batch."""
        self.streams.append((number, root_account, course, assignment, shard))

    def add_event(self, shard: int, live: bool, stream: int, version: int, name: str, data: str, metadata: str) -> int:
        """The next event of a shard, and its position; ``live``: it has published forms of its own."""
        drawn = self._drawn(shard)
        drawn.position += 1
        position = self.heads[shard].position + drawn.position
        self.events.append((shard, position, live, stream, version, name, data, metadata))
        return position

    def add_verdict(
        self,
        shard: int,
        root_account: int,
        command_id: str,
        first: bool,
        content_hash: bytes,
        place: Place,
        key: bytes | None,
        body: str,
        metadata: str,
    ) -> None:
        """The verdict of a record; ``first``: it settles its command id."""
        drawn = self._drawn(shard)
        drawn.verdict += 1
        self.verdicts.append(
            (
                shard,
                self.heads[shard].verdict + drawn.verdict,
                root_account,
                command_id,
                first,
                content_hash,
                place.partition,
                place.offset,
                place.append_time,
                key,
                body,
                metadata,
            )
        )

    def add_dead_letter(
        self,
        shard: int,
        place: Place,
        key: bytes | None,
        value: bytes | None,
        headers: bytes,
        reason: str,
        message: str,
    ) -> None:
        """A record that no verdict can be addressed to, as it came."""
        drawn = self._drawn(shard)
        drawn.dead_letter += 1
        self.dead_letters.append(
            (
                shard,
                self.heads[shard].dead_letter + drawn.dead_letter,
                place.partition,
                place.offset,
                place.append_time,
                key,
                value,
                headers,
                reason,
                message,
            )
        )

    def seen(self) -> list[tuple[int, int, int, int]]:
        """Shards that the batch writes to, ascending, with the heads it was decided on."""
        heads = ((shard, self.heads[shard]) for shard in sorted(self.drawn))
        return [(shard, head.position, head.verdict, head.dead_letter) for shard, head in heads]
