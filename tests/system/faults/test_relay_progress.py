"""The relay's progress or topics are lost: it stops instead of guessing, and continues where an operator decides."""

import asyncio
import contextlib
import subprocess
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest
from aiokafka.admin import AIOKafkaAdminClient

from schemas.topics import OUTPUT_TOPICS, TOPICS
from services.eventlog.feeds import FEED_BY_TOPIC
from services.kafka import topics
from services.kafka.client_options import client_options
from services.kafka.progress_topic import read_progress, write_progress
from services.kafka.records import OutgoingRecord
from services.kafka.relay_progress import RelayProgress
from services.publishing.topic_ends import End
from services.relay.publisher import Publisher
from services.relay.startup_checks import OperatorRequired, verify_topics_complete
from tests.fixtures.fault_helpers import (
    assert_dense,
    course_commands,
    publication_commands,
    rewind_relay,
    run_admin_command,
    send_all,
    start_handler,
    wait_until_published,
)
from tests.fixtures.process_runner import DEADLINE_SECONDS, Process, wait_until
from tests.fixtures.recorded_topics import RecordCopy, RecordedTopics
from tests.fixtures.system import System


async def recreate_topics(system: System, *outputs: str) -> None:
    """Delete topics and recreate them with the service's command."""
    names = {topics.full_topic_name(system.prefix, name) for name in outputs}
    admin = AIOKafkaAdminClient(**client_options(system.bootstrap))
    await admin.start()
    await admin.delete_topics(list(names))
    while names & set(await admin.list_topics()):
        await asyncio.sleep(0.05)
    await admin.close()
    await run_admin_command(system, "create-topics")


async def start_relay(system: System) -> Process:
    relay = system.create_process("relay")
    relay.start()
    await relay.wait_until_ready()
    return relay


async def assert_relay_stops(relay: Process, remedy: str) -> None:
    relay.start()
    await wait_until(
        lambda: relay.get_readiness()[0] == 503 and remedy in relay.get_readiness()[1], f"the remedy: {remedy}"
    )
    relay.kill()


async def read_topics(system: System, outputs: Sequence[str] = tuple(FEED_BY_TOPIC)) -> dict[str, list[RecordCopy]]:
    """Return all records of the topics."""
    reading = RecordedTopics(system, {})
    return {output: sum((await reading.read_topic(output)).values(), []) for output in outputs}


async def wait_until_topics_hold(system: System, expected: dict[str, list[RecordCopy]]) -> None:
    """Wait until each topic has this many records."""

    async def are_there() -> bool:
        return all(len(held) >= len(expected[output]) for output, held in (await read_topics(system)).items())

    await wait_until(are_there, "as many records on each topic")


async def test_relay_without_a_checkpoint_stops_and_resumes_after_a_rewind(system: System) -> None:
    outside = system.client
    await start_handler(system)
    relay = await start_relay(system)
    await send_all(system, course_commands(40))
    await wait_until_published(system, 40)
    relay.kill()
    await recreate_topics(system, "progress")
    await assert_relay_stops(relay, "moderated-grading admin rewind topics|start")

    await rewind_relay(system, "topics")
    relay.start()
    await relay.wait_until_ready()
    await send_all(system, course_commands(40))
    await wait_until_published(system, 80)
    for name in ("verdicts", "events"):
        assert_dense(outside.records[name])
    assert not any("replay" in dict(record.headers) for record in outside.records["events"])

    relay.kill()
    await rewind_relay(system, "start")
    relay.start()
    await send_all(system, course_commands(40))
    await wait_until(lambda: len(outside.records["events"]) == len(outside.records["verdicts"]) == 200, "200 of each")
    reading = RecordedTopics(system, {})
    for output, held in (await read_topics(system, ["events", "verdicts"])).items():
        again = [copy for copy in held if ("replay", b"true") in copy.headers]
        first = [copy.as_replayed() for copy in held if ("replay", b"true") not in copy.headers]
        assert (len(again), len(first)) == (80, 120)
        assert all(copy in first for copy in again)
        assert (await reading.verify_topic(topics.full_topic_name(system.prefix, output), output, True)).sound


async def test_lost_topic_is_refilled_without_duplicates_on_other_topics(system: System) -> None:
    await start_handler(system)
    relay = await start_relay(system)
    commands = publication_commands(5)
    await send_all(system, commands)
    await wait_until_published(system, len(commands))
    with pytest.raises(subprocess.CalledProcessError):  # A relay is running.
        await run_admin_command(system, "rewind", "start")
    relay.kill()
    before = await read_topics(system)
    await recreate_topics(system, "live-events")
    await assert_relay_stops(relay, "moderated-grading admin rewind topics live-events")

    await rewind_relay(system, "topics", "live-events")
    relay.start()
    await relay.wait_until_ready()
    await wait_until_topics_hold(system, before)
    after = await read_topics(system)
    assert sorted(after.pop("live-events"), key=str) == sorted(
        (copy.as_replayed() for copy in before.pop("live-events")), key=str
    )
    assert after == before


async def test_relay_detects_a_topic_recreated_while_it_runs(system: System) -> None:
    await start_handler(system)
    relay = await start_relay(system)
    commands = course_commands(40)
    await send_all(system, commands)
    await wait_until_published(system, 40)
    await recreate_topics(system, "events")
    # Commands of the same courses: a partition that had been empty would look correct.
    changed = {"data": {"name": "Another name"}}
    await send_all(system, [{**command, "command_id": str(uuid.uuid4()), **changed} for command in commands])
    await wait_until(lambda: "moderated-grading admin rewind topics events" in relay.get_readiness()[1], "the remedy")
    relay.kill()
    await rewind_relay(system, "topics", "events")
    relay.start()
    await relay.wait_until_ready()

    async def refilled() -> list[RecordCopy]:
        held = (await read_topics(system, ["events"]))["events"]
        return held if len(held) >= 80 else []

    held = await wait_until(refilled, "the topic is filled again")
    assert sorted(("replay", b"true") in copy.headers for copy in held) == [False] * 40 + [True] * 40
    name = topics.full_topic_name(system.prefix, "events")
    assert (await RecordedTopics(system, {}).verify_topic(name, "events", True)).sound


async def test_topic_that_is_lost_again_during_its_refill_is_refilled_from_its_start(system: System) -> None:
    await start_handler(system)
    relay = await start_relay(system)
    commands = publication_commands(5)
    await send_all(system, commands)
    await wait_until_published(system, len(commands))
    relay.kill()
    before = await read_topics(system)
    await recreate_topics(system, "live-events")
    progress_name = topics.full_topic_name(system.prefix, "progress")
    progress = await read_progress(system.bootstrap, progress_name)
    assert progress is not None
    published = progress.sequences["live-events"]
    refilled = tuple(number // 2 for number in published)
    in_refill = replace(
        progress, sequences={**progress.sequences, "live-events": refilled}, replays={"live-events": published}
    )
    # As a relay leaves it that stops after half of a refill.
    await write_progress(system.bootstrap, progress_name, replace(in_refill, last_ids={}))
    await assert_relay_stops(relay, "moderated-grading admin rewind topics live-events")

    await rewind_relay(system, "topics", "live-events")
    relay.start()
    await relay.wait_until_ready()
    await wait_until_topics_hold(system, before)
    held = (await read_topics(system))["live-events"]
    assert sorted(held, key=str) == sorted((copy.as_replayed() for copy in before["live-events"]), key=str)


async def test_transaction_on_a_topic_recreated_during_its_refill_is_not_committed(system: System) -> None:
    progress = await read_progress(system.bootstrap, topics.full_topic_name(system.prefix, "progress"))
    assert progress is not None
    before = replace(progress, sequences=shard_0_sequences(events=300), replays=shard_0_sequences(events=1000))
    after = replace(before, sequences=shard_0_sequences(events=301))
    publisher = Publisher(system.bootstrap, system.prefix, 0)
    try:
        await publisher.start()
        with pytest.raises(OperatorRequired, match="events was recreated while the relay ran; nothing was committed"):
            await publisher.publish([OutgoingRecord("events", 0, None, b"{}", [])], before, after)
    finally:
        await publisher.close()


async def test_verification_reports_all_lost_topics_and_the_relay_refills_them(system: System) -> None:
    handler = await start_handler(system)
    relay = await start_relay(system)
    commands = publication_commands(5)
    await send_all(system, commands)
    await wait_until_published(system, len(commands))
    relay.kill()
    handler.kill()
    before = await read_topics(system)
    await recreate_topics(system, *TOPICS)
    reading = RecordedTopics(system, {})
    for output, held in before.items():
        lost = await reading.verify_topic(topics.full_topic_name(system.prefix, output), output, True)
        heads = Counter(copy.shard for copy in held)
        assert [(f.kind, f.shard, f.first, f.last) for f in lost.findings] == [
            ("missing", shard, 1, heads[shard]) for shard in sorted(heads)
        ]

    relay.start()
    await relay.wait_until_ready()
    await wait_until_topics_hold(system, before)
    # Rows that the log had when the topics were created count as published.
    expected = {output: [copy.as_replayed() for copy in held] for output, held in before.items()}
    assert await read_topics(system) == expected
    for output in FEED_BY_TOPIC:
        assert (await reading.verify_topic(topics.full_topic_name(system.prefix, output), output, True)).sound


async def test_processes_of_a_copied_database_refuse_the_topics_of_its_original(system: System) -> None:
    relay = await start_relay(system)
    with pytest.raises(subprocess.CalledProcessError):  # The database is in use: it may be the original.
        await run_admin_command(system, "new-installation")
    relay.kill()

    async def is_changed() -> bool:
        with contextlib.suppress(subprocess.CalledProcessError):
            await run_admin_command(system, "new-installation")
            return True
        return False

    await wait_until(is_changed, "the relay's sessions are gone")
    for name in ("handler", "relay"):
        process = system.create_process(name)
        process.start()
        assert process.popen is not None
        assert await asyncio.to_thread(process.popen.wait, DEADLINE_SECONDS) == 1
        assert "belong to another log" in process.log.read_text()


def shard_0_sequences(**numbers: int) -> dict[str, tuple[int, ...]]:
    """Return the numbers of shard 0 by output (events: 10 …), with 0 for all other shards."""
    return {output: (numbers.get(output.replace("-", "_"), 0), *[0] * 11) for output in OUTPUT_TOPICS}


RELAYED_SEQUENCES = shard_0_sequences(events=10, live_events=3, caliper=3, verdicts=8)


def topic_ends(**changed: End) -> dict[str, list[End]]:
    """Return the ends of the topics as relayed, except shard 0 of some."""
    found = {output: [End(number or None) for number in numbers] for output, numbers in RELAYED_SEQUENCES.items()}
    for output, end in changed.items():
        found[output.replace("_", "-")][0] = end
    return found


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"events": End(None, never_truncated=False)},
        {"live_events": End(3, is_replay=True)},
        {"verdicts": End(8, never_truncated=False)},
    ],
)
def test_relay_continues_if_log_and_topics_agree(changed: dict[str, End]) -> None:
    verify_topics_complete(RelayProgress(RELAYED_SEQUENCES), topic_ends(**changed))


@pytest.mark.parametrize(
    ("output", "end", "why"),
    [
        ("live_events", End(None), "ends at 0, but the relay published up to 3.*lost"),
        ("events", End(9), "ends at 9, but the relay published up to 10.*lost"),
        ("verdicts", End(9), "ends at 9, but the relay published up to 8.*progress was lost"),
    ],
)
def test_relay_stops_if_a_topic_end_differs_from_the_checkpoint(output: str, end: End, why: str) -> None:
    # It was recreated, or lost records at its end, perhaps while it was being refilled.
    for replay_ends in ({}, shard_0_sequences(**{output: 11})):
        with pytest.raises(OperatorRequired, match=f"{why}.*rewind topics {output.replace('_', '-')}$"):
            verify_topics_complete(RelayProgress(RELAYED_SEQUENCES, replay_ends), topic_ends(**{output: end}))


@pytest.mark.parametrize(
    ("sequence", "end"),
    [
        (0, End(11)),
        (0, End(11, is_replay=True)),
        (0, End(7, is_replay=True)),
        (0, End()),
        (7, End(7, is_replay=True)),
        (7, End(7)),
        (7, End(None, never_truncated=False)),
    ],
    ids=[
        "rewound to its start",
        "rewound to its start after a replay",
        "rewound to its start in the middle of a replay",
        "recreated",
        "in the middle of a replay",
        "rewound to what is left of it",
        "emptied by retention",
    ],
)
def test_relay_goes_on_with_a_replay(sequence: int, end: End) -> None:
    sequences = {**RELAYED_SEQUENCES, **{"events": shard_0_sequences(events=sequence)["events"]}}
    replay_ends = {"events": shard_0_sequences(events=11)["events"]}
    verify_topics_complete(RelayProgress(sequences, replay_ends), topic_ends(events=end))
