"""The relay's progress or topics are lost: it stops rather than guess, and goes on from where an operator says."""

import asyncio
import json
import subprocess
import uuid
from collections import Counter
from collections.abc import Sequence

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient

from services.eventlog.feeds import Feed
from services.kafka import topics
from services.kafka.relay_progress import FEED_BY_TOPIC, OUTPUT_TOPICS, PROGRESS_KEY, RelayProgress
from services.publishing.topic_ends import End
from services.relay.startup_checks import OperatorRequired, verify_consistent
from tests.conftest import System
from tests.faults.steps import courses, publication, rewound, run, send_all, started, until_relayed
from tests.faults.test_kills import assert_dense
from tests.outputs.recorded import Copy, Recorded
from tests.processes.running import Process, until


async def lose(system: System, *outputs: str) -> None:
    """Delete topics, and let the service's own command make them again."""
    names = {topics.full_topic_name(system.prefix, name) for name in outputs}
    admin = AIOKafkaAdminClient(bootstrap_servers=system.bootstrap)
    await admin.start()
    await admin.delete_topics(list(names))
    while names & set(await admin.list_topics()):
        await asyncio.sleep(0.05)
    await admin.close()
    await run(system, "services.kafka.topics")


async def relaying(system: System) -> Process:
    relay = system.process("relay")
    relay.start()
    await relay.ready()
    return relay


async def stops(relay: Process, remedy: str) -> None:
    relay.start()
    await until(lambda: relay.health()[0] == 503 and remedy in relay.health()[1], f"the remedy: {remedy}")
    relay.kill()


async def on_topics(system: System, outputs: Sequence[str] = tuple(FEED_BY_TOPIC)) -> dict[str, list[Copy]]:
    """All that the topics hold now."""
    reading = Recorded(system, {})
    return {output: sum((await reading.read(output)).values(), []) for output in outputs}


async def holds(system: System, wanted: dict[str, list[Copy]]) -> None:
    """Wait until each topic holds as many records."""

    async def are_there() -> bool:
        return all(len(held) >= len(wanted[output]) for output, held in (await on_topics(system)).items())

    await until(are_there, "as many records on each topic")


async def test_a_relay_without_progress_stops_and_resumes_where_it_is_told(system: System) -> None:
    outside = system.outside
    await started(system)
    relay = await relaying(system)
    await send_all(system, courses(40))
    await until_relayed(system, 40)
    relay.kill()
    await lose(system, "progress")
    await stops(relay, "services.admin.rewind topics|start")

    await rewound(system, "topics")
    relay.start()
    await relay.ready()
    await send_all(system, courses(40))
    await until_relayed(system, 80)
    for name in ("verdicts", "events"):
        assert_dense(outside.records[name])
    assert not any("replay" in dict(record.headers) for record in outside.records["events"])

    relay.kill()
    await rewound(system, "start")
    relay.start()
    await send_all(system, courses(40))
    await until(lambda: len(outside.records["events"]) == len(outside.records["verdicts"]) == 200, "200 of each")
    reading = Recorded(system, {})
    for output, held in (await on_topics(system, ["events", "verdicts"])).items():
        again = [copy for copy in held if ("replay", b"true") in copy.headers]
        first = [copy.again() for copy in held if ("replay", b"true") not in copy.headers]
        assert (len(again), len(first)) == (80, 120)
        assert all(copy in first for copy in again)
        assert (await reading.verified(topics.full_topic_name(system.prefix, output), output, True)).sound


async def test_one_lost_topic_is_filled_again_and_nothing_is_repeated_on_the_others(system: System) -> None:
    await started(system)
    relay = await relaying(system)
    commands = publication(5)
    await send_all(system, commands)
    await until_relayed(system, len(commands))
    with pytest.raises(subprocess.CalledProcessError):  # A relay is running.
        await run(system, "services.admin.rewind", "start")
    relay.kill()
    before = await on_topics(system)
    await lose(system, "live-events")
    await stops(relay, "services.admin.rewind topics live-events")

    await rewound(system, "topics", "live-events")
    relay.start()
    await relay.ready()
    await holds(system, before)
    after = await on_topics(system)
    assert sorted(after.pop("live-events"), key=str) == sorted(
        (copy.again() for copy in before.pop("live-events")), key=str
    )
    assert after == before


async def test_a_topic_that_is_made_again_while_the_relay_runs_is_noticed_before_it_goes_on(system: System) -> None:
    await started(system)
    relay = await relaying(system)
    commands = courses(40)
    await send_all(system, commands)
    await until_relayed(system, 40)
    await lose(system, "events")
    # Of the same courses: a partition that had been empty would look as it should.
    changed = {"data": {"name": "Another name"}}
    await send_all(system, [{**command, "command_id": str(uuid.uuid4()), **changed} for command in commands])
    await until(lambda: "services.admin.rewind topics events" in relay.health()[1], "the remedy")
    relay.kill()
    await rewound(system, "topics", "events")
    relay.start()
    await relay.ready()

    async def refilled() -> list[Copy]:
        held = (await on_topics(system, ["events"]))["events"]
        return held if len(held) >= 80 else []

    held = await until(refilled, "the topic is filled again")
    assert sorted(("replay", b"true") in copy.headers for copy in held) == [False] * 40 + [True] * 40
    name = topics.full_topic_name(system.prefix, "events")
    assert (await Recorded(system, {}).verified(name, "events", True)).sound


async def test_when_all_topics_are_lost_the_difference_is_named_and_they_are_filled_again(system: System) -> None:
    handler = await started(system)
    relay = await relaying(system)
    commands = publication(5)
    await send_all(system, commands)
    await until_relayed(system, len(commands))
    relay.kill()
    handler.kill()
    before = await on_topics(system)
    await lose(system, *topics.TOPIC_CONFIGS)
    reading = Recorded(system, {})
    for output, held in before.items():
        lost = await reading.verified(topics.full_topic_name(system.prefix, output), output, True)
        heads = Counter(copy.shard for copy in held)
        assert [(f.kind, f.shard, f.first, f.last) for f in lost.findings] == [
            ("missing", shard, 1, heads[shard]) for shard in sorted(heads)
        ]

    relay.start()
    await relay.ready()
    await holds(system, before)
    assert await on_topics(system) == before
    for output in FEED_BY_TOPIC:
        assert (await reading.verified(topics.full_topic_name(system.prefix, output), output, True)).sound


async def test_progress_of_the_first_form_is_understood(system: System) -> None:
    await started(system)
    relay = await relaying(system)
    commands = publication(5)
    await send_all(system, commands)
    await until_relayed(system, len(commands))
    relay.kill()
    before = await on_topics(system)
    names = {"events": "positions", "verdicts": "verdicts", "dead-letters": "dead_letters"}
    fields = {field: [sum(copy.shard == n for copy in before[o]) for n in range(12)] for o, field in names.items()}
    producer = AIOKafkaProducer(bootstrap_servers=system.bootstrap)
    await producer.start()
    await producer.send_and_wait(
        topics.full_topic_name(system.prefix, "progress"), json.dumps(fields).encode(), PROGRESS_KEY, 0
    )
    await producer.stop()

    relay.start()
    await relay.ready()
    more = publication(5)
    await send_all(system, more)
    await until_relayed(system, len(commands) + len(more))
    reading = Recorded(system, {})
    for output in FEED_BY_TOPIC:
        found = await reading.verified(topics.full_topic_name(system.prefix, output), output, True)
        assert (found.findings, found.replayed) == ([], 0)


def at(**numbers: int) -> dict[str, tuple[int, ...]]:
    """Numbers of shard 0 by output (events: 10 …), all others 0."""
    return {output: (numbers.get(output.replace("-", "_"), 0), *[0] * 11) for output in OUTPUT_TOPICS}


HEADS: dict[Feed, list[int]] = {
    "events": [10] + [0] * 11, "published": [3] + [0] * 11, "verdicts": [8] + [0] * 11, "dead_letters": [0] * 12,
}  # fmt: skip
RELAYED = at(events=10, live_events=3, caliper=3, verdicts=8)


def ends(**changed: End) -> dict[str, list[End]]:
    """The topics as they were relayed, but for shard 0 of some."""
    found = {output: [End(number or None) for number in numbers] for output, numbers in RELAYED.items()}
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
def test_a_relay_goes_on_where_log_and_topics_agree(changed: dict[str, End]) -> None:
    verify_consistent(RelayProgress(RELAYED), HEADS, ends(**changed))


@pytest.mark.parametrize(
    ("output", "end", "why"),
    [
        ("live_events", End(None), "ends at 0, and 3 is the last that was relayed.*lost"),
        ("events", End(9), "ends at 9, and 10 is the last that was relayed.*lost"),
        ("verdicts", End(9), "ends at 9, and 8 is the last that was relayed.*progress was lost"),
    ],
)
def test_a_relay_stops_where_a_topic_does_not_end_where_it_should(output: str, end: End, why: str) -> None:
    with pytest.raises(OperatorRequired, match=f"{why}.*rewind topics {output.replace('_', '-')}$"):
        verify_consistent(RelayProgress(RELAYED), HEADS, ends(**{output: end}))
    # Unless it is being filled again.
    verify_consistent(RelayProgress(RELAYED, at(**{output: 11})), HEADS, ends(**{output: end}))


def test_a_relay_stops_where_the_log_was_restored_to_an_earlier_time() -> None:
    for output in ("events", "live_events", "caliper", "verdicts", "dead_letters"):
        with pytest.raises(OperatorRequired, match="restored to an earlier time"):
            verify_consistent(RelayProgress(RELAYED | {output.replace("_", "-"): (11, *[0] * 11)}), HEADS, ends())
