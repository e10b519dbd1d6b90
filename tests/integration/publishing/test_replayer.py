"""A replay emits exactly the selected records, once, with their ids and numbers, even if it is killed."""

import asyncio
import signal
import sys
import time
from contextlib import aclosing
from datetime import UTC, datetime

import asyncpg
import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from deploy.local.paths import ROOT
from services.eventlog.feed_history import EVERYTHING, LogFilter
from services.kafka.client_options import client_options
from services.kafka.partitioning import ALL_SHARDS
from services.kafka.topics import TopicConfigError, ensure_replay_target, read_partition_count
from services.kafka.transactions import create_transactional_producer
from services.publishing.replayer import ReplayRefused, ReplayRequest, reject_service_topics, replay
from tests.fixtures.process_runner import wait_until
from tests.fixtures.recorded_topics import FORM, RecordCopy, RecordedTopics
from tests.fixtures.token_issuer import TokenIssuer

_TARGETS = iter(range(1, 1_000))


def new_target(recorded_topics: RecordedTopics) -> str:
    return f"{recorded_topics.system.prefix}-replayed-{next(_TARGETS)}"


async def run_replay(recorded_topics: RecordedTopics, order: ReplayRequest, until_emitted: int | None = None) -> int:
    """Run a replay, or stop it after so many records; return the number that this run emitted."""
    connection = await asyncpg.connect(recorded_topics.system.database_url)
    emitted = 0
    try:
        async with aclosing(replay(recorded_topics.system.bootstrap, connection, FORM, order)) as steps:
            async for step in steps:
                emitted = step.emitted
                if until_emitted is not None and emitted >= until_emitted:
                    break
    finally:
        await connection.close()
    return emitted


def published_course(recorded_topics: RecordedTopics) -> int:
    """Return the course of a published grade."""
    records = recorded_topics.records["live-events"][recorded_topics.largest_shard("live-events")]
    assert records[0].key is not None
    return int(records[0].key)


def as_replayed_by(copy: RecordCopy, order: ReplayRequest) -> RecordCopy:
    return copy.with_headers(replay="true", replay_selection=str(order))


@pytest.mark.parametrize("output", ["events", "live-events", "verdicts"])
async def test_replayed_course_keeps_its_ids_and_sequence_numbers(recorded_topics: RecordedTopics, output: str) -> None:
    course = published_course(recorded_topics)
    order = ReplayRequest(output, new_target(recorded_topics), LogFilter(root_account=1, course=course))
    emitted = await run_replay(recorded_topics, order)
    records_by_shard = await recorded_topics.read_topic(output, order.target)
    for shard, records in recorded_topics.records[output].items():
        assert records_by_shard[shard] == [
            as_replayed_by(copy, order) for copy in records if copy.key == str(course).encode()
        ]
    assert emitted == sum(map(len, records_by_shard.values())) > 0
    result = await recorded_topics.verify_topic(order.target, output, True, order.log_filter)
    assert result.sound, result.findings
    assert result.records == result.replayed == emitted


async def test_replay_ends_only_after_its_records_are_readable(recorded_topics: RecordedTopics) -> None:
    order = ReplayRequest("live-events", new_target(recorded_topics), EVERYTHING)
    await ensure_replay_target(recorded_topics.system.bootstrap, order.target)
    other = create_transactional_producer(recorded_topics.system.bootstrap, f"{order.target}.other")
    await other.start()
    await other.begin_transaction()
    for shard in ALL_SHARDS:
        await other.send_and_wait(order.target, b"{}", partition=shard)

    replaying = asyncio.create_task(run_replay(recorded_topics, order))
    done, _ = await asyncio.wait({replaying}, timeout=1)
    assert not done, "readers end before the other's open transaction"
    await other.abort_transaction()
    await other.stop()
    emitted = await replaying
    assert emitted == sum(map(len, (await recorded_topics.read_topic("live-events", order.target)).values())) > 0


async def test_replay_of_an_assignment_excludes_its_course_events(recorded_topics: RecordedTopics) -> None:
    published = recorded_topics.records["live-events"][recorded_topics.largest_shard("live-events")][0]
    subject = (published.header("ce_subject") or b"").decode().split("/")
    order = ReplayRequest("events", new_target(recorded_topics), LogFilter(root_account=1, assignment=int(subject[3])))
    await run_replay(recorded_topics, order)
    records_by_shard = await recorded_topics.read_topic("events", order.target)
    about = [
        copy
        for copy in recorded_topics.records["events"][published.shard]
        if subject[3] in str(copy.header("ce_subject"))
    ]
    assert records_by_shard[published.shard] == [as_replayed_by(copy, order) for copy in about]


async def test_adjacent_time_ranges_replay_every_record_once(recorded_topics: RecordedTopics) -> None:
    times = sorted(
        {(copy.header("ce_time") or b"").decode() for r in recorded_topics.records["events"].values() for copy in r}
    )
    middle = datetime.fromisoformat(times[len(times) // 2]).astimezone(UTC)
    found = []
    for selection in (LogFilter(until=middle), LogFilter(since=middle)):
        order = ReplayRequest("events", new_target(recorded_topics), selection)
        await run_replay(recorded_topics, order)
        found.append(
            [
                copy
                for records in (await recorded_topics.read_topic("events", order.target)).values()
                for copy in records
            ]
        )
    ids = [[copy.header("ce_id") for copy in part] for part in found]
    assert all(ids)
    assert sorted(ids[0] + ids[1], key=str) == sorted(
        (copy.header("ce_id") for records in recorded_topics.records["events"].values() for copy in records), key=str
    )


@pytest.mark.parametrize("output", ["events", "dead-letters"])
async def test_interrupted_replay_resumes_without_duplicates(recorded_topics: RecordedTopics, output: str) -> None:
    order = ReplayRequest(
        output, new_target(recorded_topics), EVERYTHING, per_second=1 if output == "dead-letters" else 60
    )
    first = await run_replay(recorded_topics, order, until_emitted=1)
    rest = await run_replay(recorded_topics, ReplayRequest(output, order.target, order.log_filter))
    records_by_shard = await recorded_topics.read_topic(output, order.target)
    assert records_by_shard == {
        shard: [as_replayed_by(copy, order) for copy in records]
        for shard, records in recorded_topics.records[output].items()
    }
    assert 0 < first < first + rest == sum(map(len, records_by_shard.values()))
    assert await run_replay(recorded_topics, ReplayRequest(output, order.target, order.log_filter)) == 0


async def test_killed_replay_resumes_without_duplicates(recorded_topics: RecordedTopics, issuer: TokenIssuer) -> None:
    name = new_target(recorded_topics)
    command = [sys.executable, "-m", "services.cli", "replay", "verdicts", name, "--reason", "they are lost"]
    settings = recorded_topics.system.environment | {
        "JWKS": str(issuer.write_jwks(recorded_topics.system.folder / "operators.jwks")),
        "OPERATOR_TOKEN": issuer.token(77, scope="moderation.operator"),
    }
    killed = await asyncio.create_subprocess_exec(*command, "--per-second", "10", cwd=ROOT, env=settings)

    async def is_under_way() -> bool:
        exists = await read_partition_count(recorded_topics.system.bootstrap, name)
        return bool(exists) and any((await recorded_topics.read_topic("verdicts", name)).values())

    await wait_until(is_under_way, "the replay is under way")
    killed.kill()
    assert await killed.wait() == -signal.SIGKILL
    again = await asyncio.create_subprocess_exec(*command, cwd=ROOT, env=settings)
    assert await again.wait() == 0
    records_by_shard = await recorded_topics.read_topic("verdicts", name)
    order = ReplayRequest("verdicts", name, EVERYTHING)
    assert records_by_shard == {
        shard: [as_replayed_by(copy, order) for copy in records]
        for shard, records in recorded_topics.records["verdicts"].items()
    }


async def test_replay_respects_the_rate_limit(recorded_topics: RecordedTopics) -> None:
    order = ReplayRequest("live-events", new_target(recorded_topics), EVERYTHING, per_second=10)
    started = time.monotonic()
    emitted = await run_replay(recorded_topics, order)
    assert emitted > 10
    assert time.monotonic() - started > (emitted - 10) / 10


@pytest.mark.parametrize(
    "name",
    [
        "moderation.live-events", "moderation.commands", "other.events", "a.b.progress", "x.verdicts", "x.dead-letters",
        "moderation-commands", "commands", "my_commands", "__consumer_offsets", "a b", "", "..", "x" * 250,
    ],
)  # fmt: skip
def test_replay_rejects_service_topics_and_similar_names(name: str) -> None:
    with pytest.raises(ReplayRefused):
        reject_service_topics(name)


@pytest.mark.parametrize("name", ["replayed", "audit.2026", "moderation.live-events.again", "live-events-for-audit"])
def test_replay_accepts_other_topic_names(name: str) -> None:
    reject_service_topics(name)


async def test_replay_rejects_a_topic_with_other_records(recorded_topics: RecordedTopics) -> None:
    course = LogFilter(root_account=1, course=published_course(recorded_topics))
    order = ReplayRequest("events", new_target(recorded_topics), course)
    await run_replay(recorded_topics, order)
    held = await recorded_topics.read_topic("events", order.target)
    with pytest.raises(ReplayRefused, match="choose another topic"):
        await run_replay(recorded_topics, ReplayRequest("verdicts", order.target, course))
    with pytest.raises(ReplayRefused, match="choose another topic"):
        await run_replay(recorded_topics, ReplayRequest("events", order.target, EVERYTHING))
    assert await recorded_topics.read_topic("events", order.target) == held
    copied = await recorded_topics.create_topic(recorded_topics.records["events"])
    with pytest.raises(ReplayRefused, match="records of another kind"):
        await run_replay(recorded_topics, ReplayRequest("events", copied, EVERYTHING))


async def test_replay_rejects_a_topic_that_would_lose_records(recorded_topics: RecordedTopics) -> None:
    admin = AIOKafkaAdminClient(**client_options(recorded_topics.system.bootstrap))
    await admin.start()
    small, compacted = new_target(recorded_topics), new_target(recorded_topics)
    await admin.create_topics(
        [
            NewTopic(small, 1, 1, topic_configs={"max.message.bytes": "1048588"}),
            NewTopic(compacted, 12, 1, topic_configs={"cleanup.policy": "compact", "max.message.bytes": "4194304"}),
        ]
    )
    await admin.close()
    for name, why in ((small, "1 partitions.*max.message.bytes"), (compacted, "cleanup.policy=compact")):
        with pytest.raises(TopicConfigError, match=why):
            await run_replay(recorded_topics, ReplayRequest("events", name, EVERYTHING))


def test_invalid_replay_request_is_rejected() -> None:
    wrong: list[tuple[str, LogFilter, float | None]] = [
        ("commands", EVERYTHING, None),
        ("events", EVERYTHING, 0),
        ("events", EVERYTHING, float("nan")),
        ("events", EVERYTHING, float("inf")),
        ("dead-letters", LogFilter(root_account=1), None),
    ]
    for output, selection, rate in wrong:
        with pytest.raises(ValueError):
            ReplayRequest(output, "somewhere", selection, rate)
    with pytest.raises(ValueError):
        LogFilter(course=7)
