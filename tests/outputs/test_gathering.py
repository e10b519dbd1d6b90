"""What the relay emits next, a transaction at a time, however often it begins anew: nothing twice, nothing left out."""

from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from services.eventlog.feed_history import History
from services.kafka.partitioning import SHARDS
from services.kafka.relay_progress import OUTPUTS, SERIES, Progress
from services.publishing.cloudevents import Message
from services.publishing.record_mapper import PUBLISHED, Translator
from services.relay import transaction_builder
from services.relay.startup_checks import SHARD_LIST, on_new_topics
from services.relay.transaction_builder import Gathering
from tests.outputs.recorded import FORM, Copy, Recorded

ZEROS = (0,) * SHARDS


@pytest.fixture(autouse=True)
def _small_transactions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transaction_builder, "RECORDS_MAX", 7)


async def emitted(recorded: Recorded, progress: Progress, a_life: int) -> tuple[dict[str, list[Message]], Progress]:
    """All that is emitted after a progress by relays that live for so many transactions each."""
    found: dict[str, list[Message]] = {output: [] for output in OUTPUTS}
    connection = await asyncpg.connect(recorded.system.database_url)
    try:
        history = History(connection)
        while True:
            progress = Progress.decode(progress.encode())
            published = await history.published_at(SHARD_LIST, progress.sequences["events"])
            life = Gathering(history, Translator(history, FORM), progress, published)
            for _ in range(a_life):
                waiting = await life.next()
                if waiting is None:
                    return found, progress
                assert 0 < len(waiting.messages) < 7 + len(PUBLISHED) + 1
                progress = waiting.progress
                for message in waiting.messages:
                    found[message.topic].append(message)
    finally:
        await connection.close()


def copies(messages: list[Message], shard: int) -> list[Copy]:
    return [Copy(m.shard, m.key, m.value, tuple(m.headers)) for m in messages if m.shard == shard]


def relayed(recorded: Recorded, output: str) -> tuple[int, ...]:
    return tuple(len(recorded.records[output][shard]) for shard in range(SHARDS))


@pytest.mark.parametrize("a_life", [1, 3, 1_000])
async def test_from_the_start_everything_is_emitted_once_in_order(recorded: Recorded, a_life: int) -> None:
    found, progress = await emitted(recorded, Progress.start(), a_life)
    for output in OUTPUTS:
        for shard in range(SHARDS):
            assert copies(found[output], shard) == recorded.records[output][shard]
    assert progress == Progress({output: relayed(recorded, output) for output in OUTPUTS})


@pytest.mark.parametrize("a_life", [1, 1_000])
@pytest.mark.parametrize("lost", [*((output,) for output in OUTPUTS), ("live-events", "events"), OUTPUTS])
async def test_topics_that_are_filled_again_say_so_up_to_where_they_had_been(
    recorded: Recorded, lost: tuple[str, ...], a_life: int
) -> None:
    # Two records of each shard had not been emitted yet.
    had_been = {output: tuple(max(n - 2, 0) for n in relayed(recorded, output)) for output in OUTPUTS}
    level = dict(had_been)
    live = [sum(d.number <= had_been["events"][s] for d in published(recorded, s)) for s in range(SHARDS)]
    level |= dict.fromkeys(PUBLISHED, tuple(live))
    rewound = Progress({o: ZEROS if o in lost else level[o] for o in OUTPUTS}, {o: level[o] for o in lost})
    found, progress = await emitted(recorded, rewound, a_life)
    for output in OUTPUTS:
        for shard in range(SHARDS):
            records, before = recorded.records[output][shard], level[output][shard]
            again = [copy.again() for copy in records[:before]] if output in lost else []
            assert copies(found[output], shard) == again + records[before:]
    assert progress == Progress({output: relayed(recorded, output) for output in OUTPUTS})


def published(recorded: Recorded, shard: int) -> list[Copy]:
    """The events of a shard that have a grade_change: those of the same cause and subject, in order."""
    about = {(c.header("ce_causationid"), c.header("ce_subject")) for c in recorded.records["live-events"][shard]}
    return [
        copy
        for copy in recorded.records["events"][shard]
        if copy.header("ce_type") == b"moderation.grade_published.v1"
        and (copy.header("ce_causationid"), copy.header("ce_subject")) in about
    ]


async def test_what_was_in_the_log_before_the_topics_were_made_had_been_emitted_to_others(recorded: Recorded) -> None:
    connection = await asyncpg.connect(recorded.system.database_url)
    try:
        history, heads = History(connection), {output: relayed(recorded, output) for output in SERIES}
        later = datetime.now(UTC) + timedelta(minutes=2)
        assert (await on_new_topics(Progress.start(), later, history)).replays == heads
        earlier = later - timedelta(days=1)
        assert await on_new_topics(Progress.start(), earlier, history) == Progress.start()
        on_the_way = Progress(heads)
        assert await on_new_topics(on_the_way, later, history) == on_the_way
    finally:
        await connection.close()
