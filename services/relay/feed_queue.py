"""Rows of the log that the relay has read and not yet put into a transaction."""

import itertools
from collections import deque
from collections.abc import Mapping, Sequence
from typing import TypeAlias, cast

from services.eventlog.feeds import FEED_BY_TOPIC, EventRow, Feed, FeedReader, FeedRow
from services.eventlog.record_ids import ARCHIVED, read_record_ids
from services.kafka.relay_progress import RelayProgress
from services.publishing.record_mapper import GRADE_CHANGE_BUILDERS, get_sequence
from services.relay.startup_checks import OperatorRequired

BYTES_PER_SHARD_MAX = 1 << 20
AS_STORED: Sequence[str] = ()


QueuedRow: TypeAlias = tuple[FeedRow, Sequence[str]]
"""A row, and the outputs (topics without prefix) that it goes to in one transaction.

``AS_STORED``, for nearly all rows: only the output whose records the log stores.
"""


class FeedQueue:
    """Reads the log ahead of the relay's progress; the log only grows, so that queued rows stay valid.

    An event with a live number is queued once, for ``events`` and the grade change outputs together. While one of them
    is being refilled, it lags behind the others: a grade change output that is not level with ``events`` gets rows from
    its own feed, so that new grades do not wait for a refill of ``events``.
    """

    def __init__(
        self, feed_reader: FeedReader, progress: RelayProgress, live_numbers: Mapping[int, int], rows_max: int
    ) -> None:
        self.rows: deque[QueuedRow] = deque()
        self._feed_reader = feed_reader
        self._shards = progress.shards
        self._rows_max = rows_max
        # By output and shard, the sequence number of the last row that was queued for the output.
        self._last_queued = {output: list(sequences) for output, sequences in progress.sequences.items()}
        # By shard, the live number of the last event that was queued for ``events``.
        self._live_numbers = dict(live_numbers)

    async def fill(self) -> None:
        """Queue new rows of each feed, unless ``rows_max`` are queued already.

        Raises:
            OperatorRequired: the log ends before rows that were already read from it.
        """
        if len(self.rows) >= self._rows_max:
            return
        heads = self._check_heads(await self._feed_reader.heads(self._shards))
        for output in GRADE_CHANGE_BUILDERS:
            rows = await self._read_feed(output, self._find_own_ends(output, heads["published"]))
            self.rows.extend((row, (output,)) for row in rows)
        events = await self._read_feed("events", heads["events"])
        self.rows.extend(
            (row, AS_STORED if row.live_number is None else self._choose_outputs(row))
            for row in cast(list[EventRow], events)
        )
        for output in ("verdicts", "dead-letters"):
            rows = await self._read_feed(output, heads[FEED_BY_TOPIC[output]])
            self.rows.extend(zip(rows, itertools.repeat(AS_STORED)))

    def _check_heads(self, heads: Mapping[Feed, Sequence[int]]) -> dict[Feed, dict[int, int]]:
        """Return the heads by shard."""
        heads_by_shard = {feed: dict(zip(self._shards, numbers, strict=True)) for feed, numbers in heads.items()}
        for output, last_queued in self._last_queued.items():
            for shard, head in heads_by_shard[FEED_BY_TOPIC[output]].items():
                if head < last_queued[shard]:
                    raise OperatorRequired(
                        f"shard {shard} of {output}: the log ends at {head}, and ended at {last_queued[shard]} before:"
                        " it was restored, or failed over, to an earlier state while the relay ran; nothing more was"
                        " published"
                    )
        return heads_by_shard

    def _find_own_ends(self, output: str, heads: Mapping[int, int]) -> dict[int, int]:
        """Return, by shard, up to which live number a grade change output is read from its own feed.

        Behind ``events`` it is read up to there, ahead of it up to the head. Level with it, it gets no row of its own:
        the next one is queued for all outputs together.
        """
        last_queued = self._last_queued[output]
        return {
            shard: heads[shard] if last_queued[shard] > live_number else live_number
            for shard, live_number in self._live_numbers.items()
        }

    async def _read_feed(self, output: str, up_to: Mapping[int, int]) -> list[FeedRow]:
        """Read the output's next rows, up to these sequence numbers by shard; each shard gets an equal share."""
        last_queued = self._last_queued[output]
        shards = [shard for shard in self._shards if last_queued[shard] < up_to[shard]]
        if not shards:
            return []
        rows = await self._feed_reader.read(
            FEED_BY_TOPIC[output],
            shards,
            after=[last_queued[shard] for shard in shards],
            last=[up_to[shard] for shard in shards],
            rows_max=max(self._rows_max // len(shards), 1),
            bytes_max=BYTES_PER_SHARD_MAX,
        )
        last_rows = {row.shard: row for row in rows}
        for shard, row in last_rows.items():
            last_queued[shard] = get_sequence(output, row)
        if output == "verdicts" and len(last_rows) < len(shards):
            await self._pass_over_archived({shard: up_to[shard] for shard in shards if shard not in last_rows})
        return rows

    async def _pass_over_archived(self, heads: Mapping[int, int]) -> None:
        """Pass over shards of which only archived verdicts are left, so that they are not looked for at every fill.

        Only in memory: the progress stays at the last published verdict. Rows that are missing for another reason were
        lost, and are not passed over.
        """
        log_ids = await read_record_ids(self._feed_reader.connection, "verdicts", list(heads), list(heads.values()))
        for (shard, head), log_id in zip(heads.items(), log_ids, strict=True):
            if log_id == ARCHIVED:
                self._last_queued["verdicts"][shard] = head

    def _choose_outputs(self, event: EventRow) -> Sequence[str]:
        """Return ``events``, and the outputs that had the grade change before this one and not yet this one."""
        assert event.live_number is not None
        self._live_numbers[event.shard] = event.live_number
        outputs = ["events"]
        for output in GRADE_CHANGE_BUILDERS:
            last_queued = self._last_queued[output]
            if last_queued[event.shard] == event.live_number - 1:
                last_queued[event.shard] = event.live_number
                outputs.append(output)
        return outputs
