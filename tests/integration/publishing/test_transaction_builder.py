"""The relay emits every record once, one transaction at a time, despite any number of restarts."""

from collections import Counter

import asyncpg
import pytest

from schemas.topics import OUTPUT_TOPICS
from services.eventlog.feed_history import FeedHistory
from services.eventlog.feeds import FEED_BY_TOPIC, FeedReader
from services.eventlog.initial_progress import build_initial_progress
from services.kafka.partitioning import ALL_SHARDS, SHARD_COUNT
from services.kafka.records import OutgoingRecord
from services.kafka.relay_progress import RelayProgress
from services.publishing.record_mapper import GRADE_CHANGE_BUILDERS, RecordMapper, get_sequence
from services.relay.feed_queue import FeedQueue
from services.relay.transaction_builder import BYTES_MAX, TransactionBuilder
from tests.fixtures.dead_letter_fixtures import LogOnly, append_dead_letters
from tests.fixtures.recorded_topics import FORM, RecordCopy, RecordedTopics

ZEROS = (0,) * SHARD_COUNT
RECORDS_MAX = 7


async def run_relays(
    recorded_topics: RecordedTopics,
    progress: RelayProgress,
    transactions_per_relay: int,
    new_events: Counter[str] | None = None,
) -> tuple[dict[str, list[OutgoingRecord]], RelayProgress]:
    """Return the records emitted after a progress by relays that run for so many transactions each.

    ``new_events`` counts those that were emitted for the first time, by output.
    """
    found: dict[str, list[OutgoingRecord]] = {output: [] for output in OUTPUT_TOPICS}
    connection = await asyncpg.connect(recorded_topics.system.database_url)
    try:
        history = FeedHistory(connection)
        while True:
            progress = RelayProgress.decode(progress.encode())
            published = dict(enumerate(await history.live_numbers_at(ALL_SHARDS, progress.sequences["events"])))
            builder = TransactionBuilder(history, RecordMapper(history, FORM), progress, published, RECORDS_MAX)
            for _ in range(transactions_per_relay):
                waiting = await builder.next()
                if waiting is None:
                    return found, progress
                assert 0 < len(waiting.records) < RECORDS_MAX + len(GRADE_CHANGE_BUILDERS) + 1
                progress = waiting.progress
                if new_events is not None:
                    new_events.update({output: len(rows) for output, rows in waiting.new_events.items()})
                for message in waiting.records:
                    found[message.topic].append(message)
    finally:
        await connection.close()


def record_copies(messages: list[OutgoingRecord], shard: int) -> list[RecordCopy]:
    return [RecordCopy(m.shard, m.key, m.value, tuple(m.headers)) for m in messages if m.shard == shard]


def relayed_counts(recorded_topics: RecordedTopics, output: str) -> tuple[int, ...]:
    return tuple(len(recorded_topics.records[output][shard]) for shard in ALL_SHARDS)


@pytest.mark.parametrize("transactions_per_relay", [1, 3, 1_000])
async def test_relay_publishes_every_record_once_in_order(
    recorded_topics: RecordedTopics, transactions_per_relay: int
) -> None:
    found, progress = await run_relays(
        recorded_topics, RelayProgress.initial("an installation"), transactions_per_relay
    )
    for output in OUTPUT_TOPICS:
        for shard in ALL_SHARDS:
            assert record_copies(found[output], shard) == recorded_topics.records[output][shard]
    assert progress.sequences == {output: relayed_counts(recorded_topics, output) for output in OUTPUT_TOPICS}
    assert not progress.replays


@pytest.mark.parametrize("transactions_per_relay", [1, 1_000])
@pytest.mark.parametrize("lost", [*((output,) for output in OUTPUT_TOPICS), ("live-events", "events"), OUTPUT_TOPICS])
async def test_refilled_topics_mark_records_as_replayed_up_to_the_previous_end(
    recorded_topics: RecordedTopics, lost: tuple[str, ...], transactions_per_relay: int
) -> None:
    # Two records of each shard were not emitted before.
    had_been = {
        output: tuple(max(n - 2, 0) for n in relayed_counts(recorded_topics, output)) for output in OUTPUT_TOPICS
    }
    level = dict(had_been)
    live = [sum(d.number <= had_been["events"][s] for d in published_events(recorded_topics, s)) for s in ALL_SHARDS]
    level |= dict.fromkeys(GRADE_CHANGE_BUILDERS, tuple(live))
    rewound = RelayProgress({o: ZEROS if o in lost else level[o] for o in OUTPUT_TOPICS}, {o: level[o] for o in lost})
    new_events: Counter[str] = Counter()
    found, progress = await run_relays(recorded_topics, rewound, transactions_per_relay, new_events)
    for output in ("events", *GRADE_CHANGE_BUILDERS):
        assert new_events[output] == sum(relayed_counts(recorded_topics, output)) - sum(level[output])
    for output in OUTPUT_TOPICS:
        for shard in ALL_SHARDS:
            records, before = recorded_topics.records[output][shard], level[output][shard]
            again = [copy.as_replayed() for copy in records[:before]] if output in lost else []
            assert record_copies(found[output], shard) == again + records[before:]
    assert progress.sequences == {output: relayed_counts(recorded_topics, output) for output in OUTPUT_TOPICS}
    assert not progress.replays


async def test_new_grades_do_not_wait_until_events_is_refilled(recorded_topics: RecordedTopics) -> None:
    relayed = {output: relayed_counts(recorded_topics, output) for output in OUTPUT_TOPICS}
    all_but_one = tuple(max(count - 1, 0) for count in relayed["live-events"])
    sequences = relayed | dict.fromkeys(GRADE_CHANGE_BUILDERS, all_but_one) | {"events": ZEROS}
    progress = RelayProgress(sequences, {"events": relayed["events"]})
    connection = await asyncpg.connect(recorded_topics.system.database_url)
    try:
        queue = FeedQueue(FeedReader(connection), progress, dict.fromkeys(ALL_SHARDS, 0), RECORDS_MAX)
        await queue.fill()
    finally:
        await connection.close()

    queued = {
        output: {(row.shard, get_sequence(output, row)) for row, outputs in queue.rows if output in outputs}
        for output in GRADE_CHANGE_BUILDERS
    }
    new = {(shard, count) for shard, count in enumerate(relayed["live-events"]) if count}
    assert new
    assert queued == dict.fromkeys(GRADE_CHANGE_BUILDERS, new)


def published_events(recorded_topics: RecordedTopics, shard: int) -> list[RecordCopy]:
    """Return the events of a shard that have a grade_change: those with the same cause and subject, in order."""
    about = {
        (c.header("ce_causationid"), c.header("ce_subject")) for c in recorded_topics.records["live-events"][shard]
    }
    return [
        copy
        for copy in recorded_topics.records["events"][shard]
        if copy.header("ce_type") == b"moderation.grade_published.v1"
        and (copy.header("ce_causationid"), copy.header("ce_subject")) in about
    ]


async def test_rows_older_than_new_topics_are_marked_as_replayed(recorded_topics: RecordedTopics) -> None:
    connection = await asyncpg.connect(recorded_topics.system.database_url)
    try:
        progress = await build_initial_progress(connection)
    finally:
        await connection.close()
    assert progress.replays == {output: relayed_counts(recorded_topics, output) for output in FEED_BY_TOPIC}
    assert not any(map(any, progress.sequences.values()))


async def test_transaction_of_dead_letters_is_bounded_by_the_bytes_of_their_headers(database_url: str) -> None:
    headers: list[tuple[str, bytes | None]] = [("trace", b"x" * (BYTES_MAX // 3))]
    await append_dead_letters(LogOnly(database_url), 3, [b"", b"", b"", b"", b""], record_headers=headers)

    connection = await asyncpg.connect(database_url)
    try:
        history = FeedHistory(connection)
        initial = RelayProgress.initial("an installation")
        builder = TransactionBuilder(history, RecordMapper(history, FORM), initial, dict.fromkeys(ALL_SHARDS, 0))
        sizes = []
        while (waiting := await builder.next()) is not None:
            sizes.append(len(waiting.records))
    finally:
        await connection.close()

    assert sum(sizes) == 5
    assert max(sizes) <= 4
