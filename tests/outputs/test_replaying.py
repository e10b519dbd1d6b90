"""Emitting again: what was asked for and nothing else, with the ids and numbers it had, once, whatever is killed."""

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
from services.kafka.partitioning import SHARD_COUNT
from services.kafka.topics import TopicConfigError, ensure_replay_target, read_partition_count
from services.kafka.transactions import create_transactional_producer
from services.publishing.replayer import ReplayRefused, ReplayRequest, reject_service_topics, replay
from tests.cases.tokens import Issuer
from tests.outputs.recorded import FORM, Copy, Recorded
from tests.processes.running import until

_TARGETS = iter(range(1, 1_000))


def target(recorded: Recorded) -> str:
    return f"{recorded.system.prefix}-replayed-{next(_TARGETS)}"


async def replayed(recorded: Recorded, order: ReplayRequest, until_emitted: int | None = None) -> int:
    """Carry out an order, or leave it once so many records are out; how many this run emitted."""
    connection = await asyncpg.connect(recorded.system.database_url)
    emitted = 0
    try:
        async with aclosing(replay(recorded.system.bootstrap, connection, FORM, order)) as steps:
            async for step in steps:
                emitted = step.emitted
                if until_emitted is not None and emitted >= until_emitted:
                    break
    finally:
        await connection.close()
    return emitted


def course_of(recorded: Recorded) -> int:
    """The course of a published grade."""
    records = recorded.records["live-events"][recorded.fullest("live-events")]
    assert records[0].key is not None
    return int(records[0].key)


def as_replayed(copy: Copy, order: ReplayRequest) -> Copy:
    return copy.stating(replay="true", replay_selection=str(order))


@pytest.mark.parametrize("output", ["events", "live-events", "verdicts"])
async def test_a_course_is_emitted_as_it_was_with_its_ids_and_numbers(recorded: Recorded, output: str) -> None:
    course = course_of(recorded)
    order = ReplayRequest(output, target(recorded), LogFilter(root_account=1, course=course))
    emitted = await replayed(recorded, order)
    found = await recorded.read(output, order.target)
    for shard, records in recorded.records[output].items():
        assert found[shard] == [as_replayed(copy, order) for copy in records if copy.key == str(course).encode()]
    assert emitted == sum(map(len, found.values())) > 0
    result = await recorded.verified(order.target, output, True, order.log_filter)
    assert result.sound, result.findings
    assert result.records == result.replayed == emitted


async def test_a_replay_has_ended_when_what_it_emitted_can_be_read(recorded: Recorded) -> None:
    order = ReplayRequest("live-events", target(recorded), EVERYTHING)
    await ensure_replay_target(recorded.system.bootstrap, order.target)
    other = create_transactional_producer(recorded.system.bootstrap, f"{order.target}.other")
    await other.start()
    await other.begin_transaction()
    for shard in range(SHARD_COUNT):
        await other.send_and_wait(order.target, b"{}", partition=shard)

    replaying = asyncio.create_task(replayed(recorded, order))
    done, _ = await asyncio.wait({replaying}, timeout=1)
    assert not done, "readers end before the other's open transaction"
    await other.abort_transaction()
    await other.stop()
    emitted = await replaying
    assert emitted == sum(map(len, (await recorded.read("live-events", order.target)).values())) > 0


async def test_an_assignment_is_emitted_without_its_course(recorded: Recorded) -> None:
    published = recorded.records["live-events"][recorded.fullest("live-events")][0]
    subject = (published.header("ce_subject") or b"").decode().split("/")
    order = ReplayRequest("events", target(recorded), LogFilter(root_account=1, assignment=int(subject[3])))
    await replayed(recorded, order)
    found = await recorded.read("events", order.target)
    about = [
        copy for copy in recorded.records["events"][published.shard] if subject[3] in str(copy.header("ce_subject"))
    ]
    assert found[published.shard] == [as_replayed(copy, order) for copy in about]


async def test_two_time_ranges_that_meet_are_everything_once(recorded: Recorded) -> None:
    times = sorted(
        {(copy.header("ce_time") or b"").decode() for r in recorded.records["events"].values() for copy in r}
    )
    middle = datetime.fromisoformat(times[len(times) // 2]).astimezone(UTC)
    found = []
    for selection in (LogFilter(until=middle), LogFilter(since=middle)):
        order = ReplayRequest("events", target(recorded), selection)
        await replayed(recorded, order)
        found.append([copy for records in (await recorded.read("events", order.target)).values() for copy in records])
    ids = [[copy.header("ce_id") for copy in part] for part in found]
    assert all(ids)
    assert sorted(ids[0] + ids[1], key=str) == sorted(
        (copy.header("ce_id") for records in recorded.records["events"].values() for copy in records), key=str
    )


@pytest.mark.parametrize("output", ["events", "dead-letters"])
async def test_a_replay_that_ended_goes_on_where_it_was_and_repeats_nothing(recorded: Recorded, output: str) -> None:
    order = ReplayRequest(output, target(recorded), EVERYTHING, per_second=1 if output == "dead-letters" else 60)
    first = await replayed(recorded, order, until_emitted=1)
    rest = await replayed(recorded, ReplayRequest(output, order.target, order.log_filter))
    found = await recorded.read(output, order.target)
    assert found == {
        shard: [as_replayed(copy, order) for copy in records] for shard, records in recorded.records[output].items()
    }
    assert 0 < first < first + rest == sum(map(len, found.values()))
    assert await replayed(recorded, ReplayRequest(output, order.target, order.log_filter)) == 0


async def test_a_killed_replay_started_again_leaves_each_record_once(recorded: Recorded, issuer: Issuer) -> None:
    name = target(recorded)
    command = [sys.executable, "-m", "services.console.cli", "replay", "verdicts", name, "--reason", "they are lost"]
    settings = recorded.system.environment | {
        "JWKS": str(issuer.write_set(recorded.system.folder / "operators.jwks")),
        "OPERATOR_TOKEN": issuer.token(77, scope="moderation.operator"),
    }
    killed = await asyncio.create_subprocess_exec(*command, "--per-second", "10", cwd=ROOT, env=settings)

    async def is_under_way() -> bool:
        exists = await read_partition_count(recorded.system.bootstrap, name)
        return bool(exists) and any((await recorded.read("verdicts", name)).values())

    await until(is_under_way, "the replay is under way")
    killed.kill()
    assert await killed.wait() == -signal.SIGKILL
    again = await asyncio.create_subprocess_exec(*command, cwd=ROOT, env=settings)
    assert await again.wait() == 0
    found = await recorded.read("verdicts", name)
    order = ReplayRequest("verdicts", name, EVERYTHING)
    assert found == {
        shard: [as_replayed(copy, order) for copy in records] for shard, records in recorded.records["verdicts"].items()
    }


async def test_no_more_records_a_second_than_asked_for(recorded: Recorded) -> None:
    order = ReplayRequest("live-events", target(recorded), EVERYTHING, per_second=10)
    started = time.monotonic()
    emitted = await replayed(recorded, order)
    assert emitted > 10
    assert time.monotonic() - started > (emitted - 10) / 10


@pytest.mark.parametrize(
    "name",
    [
        "moderation.live-events", "moderation.commands", "other.events", "a.b.progress", "x.verdicts", "x.dead-letters",
        "moderation-commands", "commands", "my_commands", "__consumer_offsets", "a b", "", "..", "x" * 250,
    ],
)  # fmt: skip
def test_the_service_s_own_topics_and_names_like_theirs_are_refused(name: str) -> None:
    with pytest.raises(ReplayRefused):
        reject_service_topics(name)


@pytest.mark.parametrize("name", ["replayed", "audit.2026", "moderation.live-events.again", "live-events-for-audit"])
def test_other_names_are_not(name: str) -> None:
    reject_service_topics(name)


async def test_a_topic_that_holds_something_else_is_left_alone(recorded: Recorded) -> None:
    course = LogFilter(root_account=1, course=course_of(recorded))
    order = ReplayRequest("events", target(recorded), course)
    await replayed(recorded, order)
    held = await recorded.read("events", order.target)
    with pytest.raises(ReplayRefused, match="choose another topic"):
        await replayed(recorded, ReplayRequest("verdicts", order.target, course))
    with pytest.raises(ReplayRefused, match="choose another topic"):
        await replayed(recorded, ReplayRequest("events", order.target, EVERYTHING))
    assert await recorded.read("events", order.target) == held
    copied = await recorded.planted(recorded.records["events"])
    with pytest.raises(ReplayRefused, match="records of another kind"):
        await replayed(recorded, ReplayRequest("events", copied, EVERYTHING))


async def test_a_topic_that_would_lose_records_is_refused(recorded: Recorded) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=recorded.system.bootstrap)
    await admin.start()
    small, compacted = target(recorded), target(recorded)
    await admin.create_topics(
        [
            NewTopic(small, 1, 1, topic_configs={"max.message.bytes": "1048588"}),
            NewTopic(compacted, 12, 1, topic_configs={"cleanup.policy": "compact", "max.message.bytes": "4194304"}),
        ]
    )
    await admin.close()
    for name, why in ((small, "1 partitions.*max.message.bytes"), (compacted, "cleanup.policy=compact")):
        with pytest.raises(TopicConfigError, match=why):
            await replayed(recorded, ReplayRequest("events", name, EVERYTHING))


def test_an_order_says_what_cannot_be() -> None:
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
