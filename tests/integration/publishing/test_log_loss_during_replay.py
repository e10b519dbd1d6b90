"""A log that loses published rows during a replay is noticed before their place on the topic goes to other rows."""

import json

import asyncpg

from services.eventlog.feed_history import FeedHistory
from services.kafka.partitioning import ALL_SHARDS, SHARD_COUNT
from services.kafka.relay_progress import RelayProgress
from services.publishing.log_agreement import add_replay_end_ids, find_log_mismatches
from services.publishing.record_mapper import RecordMapper
from services.relay.transaction_builder import TransactionBuilder
from tests.fixtures.dead_letter_fixtures import LogOnly, append_dead_letters
from tests.fixtures.recorded_topics import FORM

SHARD, PUBLISHED = 3, 10
RECORDS_MAX = 4
LOSE_TWO = f"""
alter table dead_letter disable trigger append_only;
delete from dead_letter where shard = {SHARD} and number > {PUBLISHED - 2};
alter table dead_letter enable always trigger append_only;
"""


def store_and_read(progress: RelayProgress) -> RelayProgress:
    return RelayProgress.decode(progress.encode())


async def test_loss_of_rows_that_are_to_be_replayed_is_found_before_and_after_others_took_their_numbers(
    database_url: str,
) -> None:
    log = LogOnly(database_url)
    await append_dead_letters(log, SHARD, [b"{"] * PUBLISHED)
    replay_ends = tuple(PUBLISHED if shard == SHARD else 0 for shard in range(SHARD_COUNT))
    connection = await asyncpg.connect(database_url)
    try:
        history = FeedHistory(connection)
        rewound = RelayProgress.initial("an installation", replays={"dead-letters": replay_ends})
        progress = store_and_read(await add_replay_end_ids(connection, rewound))
        builder = TransactionBuilder(
            history, RecordMapper(history, FORM), progress, dict.fromkeys(ALL_SHARDS, 0), RECORDS_MAX
        )
        pending = await builder.next()
        assert pending is not None
        in_mid_pass = store_and_read(pending.progress)
        assert await find_log_mismatches(connection, in_mid_pass) == []

        await connection.execute(LOSE_TWO)
        (shorter,) = await find_log_mismatches(connection, in_mid_pass)
        assert str(shorter) == f"shard {SHARD} of dead-letters: 10 records were published, but the log ends at 8"

        await append_dead_letters(log, SHARD, [b"{"] * 3)
        (other,) = await find_log_mismatches(connection, in_mid_pass)
        assert (other.sequence, "but the log has a different one" in str(other)) == (PUBLISHED, True)
    finally:
        await connection.close()


async def test_progress_at_the_end_of_a_replay_keeps_none_of_its_ids(database_url: str) -> None:
    await append_dead_letters(LogOnly(database_url), SHARD, [b"{"] * RECORDS_MAX)
    replay_ends = tuple(RECORDS_MAX if shard == SHARD else 0 for shard in range(SHARD_COUNT))
    connection = await asyncpg.connect(database_url)
    try:
        history = FeedHistory(connection)
        rewound = RelayProgress.initial("an installation", replays={"dead-letters": replay_ends})
        progress = await add_replay_end_ids(connection, rewound)
        assert progress.replay_end_id("dead-letters", SHARD) is not None
        builder = TransactionBuilder(history, RecordMapper(history, FORM), progress, dict.fromkeys(ALL_SHARDS, 0))
        pending = await builder.next()
        assert pending is not None
        assert (pending.progress.replays, pending.progress.replay_end_ids) == ({}, {})
    finally:
        await connection.close()


def test_progress_of_an_earlier_relay_is_read() -> None:
    fields = json.loads(RelayProgress.initial("an installation").encode())
    del fields["replay_end_ids"]
    assert RelayProgress.decode(json.dumps(fields).encode()) == RelayProgress.initial("an installation")
