"""Computes and stores the relay's new progress for ``admin rewind``."""

import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from schemas.topics import OUTPUT_TOPICS, count_lanes
from services.admin.continuation import (
    continue_after_common_history,
    continue_after_topic,
    find_replay_ends,
    keep_replay_end_ids,
)
from services.config.cli import ReplaySettings
from services.eventlog.feed_history import FeedHistory
from services.eventlog.feeds import FEED_BY_TOPIC
from services.eventlog.installation import Installation, read_installation
from services.eventlog.postgres import READER, close_quickly, connect
from services.eventlog.record_ids import ARCHIVED, read_record_ids
from services.eventlog.relay_leases import lane_lock_name
from services.kafka.client_options import client_options
from services.kafka.relay_progress import RelayProgress, list_lane_shards
from services.kafka.topic_reader import read_to_end
from services.kafka.topics import full_topic_name, verify_ownership
from services.publishing.common_history import CommonHistory, read_common_history
from services.publishing.log_agreement import add_replay_end_ids
from services.publishing.log_comparison import find_dead_letter_sequences
from services.publishing.record_headers import parse_headers
from services.publishing.topic_ends import End, full_topic_names, read_topic_ends
from services.relay.publisher import Publisher
from services.relay.startup_checks import OperatorRequired


@dataclass(frozen=True, slots=True)
class RewindResult:
    """The new progress, None if nothing was changed, and how many published records are not in the log."""

    progress: RelayProgress | None
    lost_count: int = 0


class _StoppedRelays:
    """All lanes of the relay, locked and fenced: nothing publishes.

    ``previous`` lists the shards of the lanes that have a progress record; ``progress`` has 0 for those of the others.
    """

    def __init__(
        self,
        history: FeedHistory,
        installation: Installation,
        publishers: Sequence[Publisher],
        previous: RelayProgress,
    ) -> None:
        self.history = history
        self.shards = installation.shards
        self.previous = previous
        self.progress = replace(previous, shards=tuple(installation.shards))
        self._publishers = publishers

    async def store(self, progress: RelayProgress) -> None:
        """Store the progress of every lane, with the log's ids at it."""
        last_ids = {}
        for output, sequences in progress.sequences.items():
            ids = await read_record_ids(self.history.connection, output, self.shards, sequences)
            last_ids[output] = tuple(None if record_id == ARCHIVED else record_id for record_id in ids)
        kept_ids = keep_replay_end_ids(self.previous, progress.replays)
        progress = await add_replay_end_ids(
            self.history.connection, replace(progress, last_ids=last_ids, replay_end_ids=kept_ids)
        )
        for lane, publisher in enumerate(self._publishers):
            lane_progress = progress.restrict(list_lane_shards(lane, len(self.shards)))
            await publisher.publish([], lane_progress, lane_progress)


@contextlib.asynccontextmanager
async def _stop_relays(settings: ReplaySettings, outputs: Sequence[str]) -> AsyncIterator[_StoppedRelays]:
    """Lock and fence all lanes.

    Raises:
        OperatorRequired: a relay is running, or the progress of the other outputs is lost; nothing was changed.
        TopicConfigError: the topics belong to another log; nothing was changed.
    """
    connection = await connect(settings.url(), "rewind", READER)
    publishers: list[Publisher] = []
    try:
        history = FeedHistory(connection)
        installation = await read_installation(connection)
        await _verify_installation(settings, installation)
        lanes = range(count_lanes(installation.shard_count))
        publishers += [Publisher(settings.kafka_bootstrap, settings.topic_prefix, lane) for lane in lanes]
        for lane in lanes:
            if not await history.try_lock(lane_lock_name(settings.topic_prefix, lane)):
                raise OperatorRequired(
                    "a relay is running; nothing was changed. Stop all relays, also standby ones, and run this again"
                )
        # Starting a producer fences a relay that is paused inside a transaction: it cannot undo the new progress.
        stored = {lane: await publisher.start() for lane, publisher in enumerate(publishers)}
        none_stored = replace(RelayProgress.initial(str(installation.id), installation.shard_count), shards=())
        previous = RelayProgress.merge([none_stored, *(found for found in stored.values() if found is not None)])
        lost = ", ".join(str(lane) for lane, found in stored.items() if found is None)
        if lost and set(outputs) != set(OUTPUT_TOPICS):
            raise OperatorRequired(
                f"the relay's progress is lost (lanes {lost}); nothing was changed. Rewind all outputs: run this"
                " without their names"
            )
        yield _StoppedRelays(history, installation, publishers, previous)
    finally:
        for publisher in publishers:
            await publisher.close()
        await close_quickly(connection)


async def rewind(settings: ReplaySettings, outputs: Sequence[str], *, from_start: bool) -> RewindResult:
    """Continue after the topics' records, or publish everything again; outputs that are not named keep their progress.

    Raises:
        OperatorRequired: a relay is running, or the progress of the other outputs is lost; nothing was changed.
        TopicConfigError: the topics belong to another log; nothing was changed.
        KafkaError, OSError, asyncpg.PostgresError, TimeoutError: Kafka or PostgreSQL does not answer.
    """
    bootstrap, prefix = settings.kafka_bootstrap, settings.topic_prefix
    async with _stop_relays(settings, outputs) as relays:
        previous = relays.progress
        ends = await read_topic_ends(bootstrap, relays.history, full_topic_names(prefix, OUTPUT_TOPICS), relays.shards)
        heads = await relays.history.heads(relays.shards)
        sequences, replays = dict(previous.sequences), dict(previous.replays)
        for output in outputs:
            topic_ends = ends[output]
            full_name = full_topic_name(prefix, output)
            highest = await _read_highest_sequences(bootstrap, relays.history, output, full_name, topic_ends)
            sequences[output] = (
                (0,) * len(relays.shards)
                if from_start
                else continue_after_topic(output, relays.previous, topic_ends, highest)
            )
            replays[output] = find_replay_ends(
                output, relays.previous, topic_ends, highest, heads[FEED_BY_TOPIC[output]]
            )
        progress = replace(previous, sequences=sequences, replays=_drop_empty(replays))
        await relays.store(progress)
        return RewindResult(progress)


async def rewind_to_log(
    settings: ReplaySettings, outputs: Sequence[str], report: Callable[[str], None], *, dry_run: bool
) -> RewindResult:
    """Continue after the history that topics and log share; ``report`` gets a line for each lost record.

    A partition with records that are not in the log is emptied, as Kafka removes records from the beginning only. Its
    records that are in the log are published again as replays, and new decisions as new. Repeat an interrupted run:
    until then the relay of a partition that still ends with a lost record does not start.

    Raises:
        OperatorRequired: a relay is running, or the progress of the other outputs is lost; nothing was changed.
        TopicConfigError: the topics belong to another log; nothing was changed.
        KafkaError, OSError, asyncpg.PostgresError, TimeoutError: Kafka or PostgreSQL does not answer.
    """
    if dry_run:
        connection = await connect(settings.url(), "rewind", READER)
        try:
            history, installation = FeedHistory(connection), await read_installation(connection)
            await _verify_installation(settings, installation)
            common = await _read_common_histories(settings, history, outputs, installation.shards)
        finally:
            await close_quickly(connection)
        return RewindResult(None, _report_lost(common, report))
    async with _stop_relays(settings, outputs) as relays:
        common = await _read_common_histories(settings, relays.history, outputs, relays.shards)
        lost_count = _report_lost(common, report)
        previous = relays.progress
        names = full_topic_names(settings.topic_prefix, outputs)
        ends = await read_topic_ends(settings.kafka_bootstrap, relays.history, names, relays.shards)
        heads = await relays.history.heads(relays.shards)
        sequences, replays = dict(previous.sequences), dict(previous.replays)
        emptied: list[TopicPartition] = []
        for output, histories in common.items():
            log_ids, end_ids = [
                await read_record_ids(relays.history.connection, output, relays.shards, numbers)
                for numbers in (
                    previous.sequences[output],
                    [previous.replay_end(output, shard) for shard in relays.shards],
                )
            ]
            sequences[output], replays[output] = continue_after_common_history(
                output, relays.previous, histories, ends[output], log_ids, end_ids, heads[FEED_BY_TOPIC[output]]
            )
            full_name = full_topic_name(settings.topic_prefix, output)
            emptied += [TopicPartition(full_name, shard) for shard, found in histories.items() if found.lost]
        progress = replace(previous, sequences=sequences, replays=_drop_empty(replays))
        await relays.store(progress)
        # Last: an emptied partition no longer shows what had been published; a repeated run reads it from the progress.
        if emptied:
            await _empty_partitions(settings.kafka_bootstrap, emptied)
        return RewindResult(progress, lost_count)


async def _verify_installation(settings: ReplaySettings, installation: Installation) -> None:
    """Check that the topics belong to this log: the relays of another one would be fenced, its records be lost."""
    await verify_ownership(
        settings.kafka_bootstrap, settings.topic_prefix, str(installation.id), installation.shard_count
    )


async def _read_common_histories(
    settings: ReplaySettings, history: FeedHistory, outputs: Sequence[str], shards: Sequence[int]
) -> dict[str, dict[int, CommonHistory]]:
    names = full_topic_names(settings.topic_prefix, outputs)
    return {
        output: await read_common_history(settings.kafka_bootstrap, history, output, name, shards)
        for output, name in names.items()
    }


def _report_lost(common: Mapping[str, Mapping[int, CommonHistory]], report: Callable[[str], None]) -> int:
    lost = [record for histories in common.values() for found in histories.values() for record in found.lost]
    for record in lost:
        report(str(record))
    return len(lost)


async def _empty_partitions(bootstrap: str, partitions: Sequence[TopicPartition]) -> None:
    admin = AIOKafkaAdminClient(**client_options(bootstrap))
    try:
        await admin.start()
        await admin.delete_records({partition: RecordsToDelete(before_offset=-1) for partition in partitions})
    finally:
        await admin.close()


def _drop_empty(replays: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    return {output: replay_ends for output, replay_ends in replays.items() if any(replay_ends)}


async def _read_highest_sequences(
    bootstrap: str, history: FeedHistory, output: str, full_name: str, ends: Sequence[End]
) -> tuple[int, ...]:
    """Return the highest sequence number in each partition (0: none).

    It is that of the last record, unless that one is a replay: then the whole partition is read.
    """
    highest = [end.sequence or 0 for end in ends]
    replayed_partitions = [TopicPartition(full_name, shard) for shard, end in enumerate(ends) if end.is_replay]
    if replayed_partitions:
        async for records in read_to_end(bootstrap, replayed_partitions):
            if output == "dead-letters":
                # A number in their headers is that of the record they came from.
                sequences = await find_dead_letter_sequences(history, records)
            else:
                sequences = [parse_headers(record.headers).sequence for record in records]
            for record, sequence in zip(records, sequences, strict=True):
                highest[record.partition] = max(highest[record.partition], sequence or 0)
    return tuple(highest)
