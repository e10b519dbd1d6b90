"""The checker is checked: each planted fault is found and named exactly, and none where there is none."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from deploy.local.paths import ROOT
from services.kafka.relay_progress import FEED_BY_TOPIC
from services.kafka.topics import full_topic_name
from tests.outputs.recorded import Copy, Recorded

Records = list[Copy]
Found = list[tuple[str, int, int]]
"""Kind, first and last number."""

AT = 4
"""Where in a shard a fault is planted: the number is one more."""


def shifted(records: Records) -> Records:
    """From a place on every number is one too high."""
    return [*records[:AT], *(copy.stating(ce_sequence=f"{copy.number + 1:020d}") for copy in records[AT:])]


def changed(copy: Copy) -> Copy:
    """One byte of the value."""
    assert copy.value is not None
    return replace(copy, value=copy.value[:-2] + bytes([copy.value[-2] ^ 1]) + copy.value[-1:])


def one(records: Records, change: Callable[[Copy], Copy]) -> Records:
    return [*records[:AT], change(records[AT]), *records[AT + 1 :]]


def again(records: Records) -> Records:
    return [copy.again() for copy in records]


def swapped(records: Records) -> Records:
    return [*records[:AT], records[AT + 1], records[AT], *records[AT + 2 :]]


def beyond(records: Records) -> Records:
    return [*records, records[-1].stating(ce_sequence=f"{len(records) + 1:020d}", ce_id="never-in-the-log")]


N = AT + 1
END = -1
"""Stands for the last number of the shard; END - 1 for the one after it."""

# What is planted in the records of a shard; what a consumer finds; what is found beside the log.
FAULTS: dict[str, tuple[Callable[[Records], Records], Found, Found]] = {
    "one is dropped": (lambda r: r[:AT] + r[N:], [("missing", N, N)], [("missing", N, N)]),
    "three are dropped": (lambda r: r[:AT] + r[AT + 3 :], [("missing", N, N + 2)], [("missing", N, N + 2)]),
    "the first is dropped": (lambda r: r[1:], [("missing", 1, 1)], [("missing", 1, 1)]),
    "the last is dropped": (lambda r: r[:-1], [], [("missing", END, END)]),
    "one is repeated": (lambda r: [*r[:N], *r[AT:]], [("repeated", N, N)], [("repeated", N, N)]),
    "two are swapped": (swapped, [("disorder", N, N)], [("disorder", N, N)]),
    "numbers are shifted": (
        shifted, [("missing", N, N)], [("missing", N, N), ("wrong_id", N + 1, END), ("extra", END - 1, END - 1)],
    ),
    "one is beyond the log": (beyond, [], [("extra", END - 1, END - 1)]),
    "a byte is changed": (lambda r: one(r, changed), [], [("changed", N, N)]),
    "a header is changed": (lambda r: one(r, lambda c: c.stating(ce_time="2026")), [], [("changed", N, N)]),
    "a header is gone": (lambda r: one(r, lambda c: c.stating(ce_subject=None)), [], [("changed", N, N)]),
    "another key": (lambda r: one(r, lambda c: replace(c, key=b"1")), [], [("changed", N, N)]),
    "another id": (lambda r: one(r, lambda c: c.stating(ce_id="another")), [], [("wrong_id", N, N)]),
    "another id in a replay": (
        lambda r: r + one(again(r), lambda c: c.stating(ce_id="another")), [("wrong_id", N, N)], [("wrong_id", N, N)],
    ),
    "a byte changed in a replay": (
        lambda r: r + one(again(r), changed), [("changed", N, N)], [("changed", N, N)],
    ),
    "a replay passes over one": (
        lambda r: r + again(r[:AT] + r[N:]), [("disorder", N, N)], [("disorder", N, N)],
    ),
    "a refilled topic lacks one": (
        lambda r: again(r[:AT] + r[N:]), [("missing", N, N)], [("missing", N, N)],
    ),
    "a refilled topic is in disorder": (
        lambda r: again(swapped(r)), [("disorder", N, N + 1)], [("disorder", N, N + 1)],
    ),
    "everything again without saying so": (lambda r: r + r, [("repeated", 1, END)], [("repeated", 1, END)]),
    "no number": (lambda r: one(r, lambda c: c.stating(ce_sequence=None)), [("missing", N, N), ("unreadable", AT, AT)],
                  [("missing", N, N), ("unreadable", AT, AT)]),
    "nothing": (lambda r: r, [], []),
    "a replay of all": (lambda r: r + again(r), [], []),
    "a replay cut short, and begun again": (lambda r: r + again(r[:AT]) + again(r), [], []),
    "refilled, then gone on": (lambda r: again(r[:AT]) + r[AT:], [], []),
    "made again while it went on, then refilled": (lambda r: r[AT:] + again(r), [], []),
}  # fmt: skip


@pytest.fixture(scope="module")
async def planted(recorded: Recorded) -> dict[str, str]:
    """A topic for each fault."""
    shard, records = recorded.fullest("events"), recorded.records["events"]
    assert len(records[shard]) > 2 * AT
    topics = (recorded.planted({**records, shard: plant(records[shard])}) for plant, _, _ in FAULTS.values())
    return dict(zip(FAULTS, await asyncio.gather(*topics), strict=True))


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_planted_fault_is_found_and_named_and_nothing_else(
    recorded: Recorded, planted: dict[str, str], fault: str
) -> None:
    _, as_consumer, beside_log = FAULTS[fault]
    shard, records = recorded.fullest("events"), recorded.records["events"]

    def numbers(found: Found) -> set[tuple[str, int, int]]:
        at = [[len(records[shard]) - 1 - n if n < 0 else n for n in numbers] for _, *numbers in found]
        return {(kind, first, last) for (kind, *_), (first, last) in zip(found, at, strict=True)}

    for beside, expected in ((False, as_consumer), (True, beside_log)):
        result = await recorded.verified(planted[fault], "events", beside)
        assert {(found.kind, found.first, found.last) for found in result.findings} == numbers(expected)
        assert {found.shard for found in result.findings} <= {shard}
        assert result.sound == (not expected)


async def test_a_record_in_another_shard_s_partition_is_misplaced(recorded: Recorded) -> None:
    shard = recorded.fullest("events")
    records = recorded.records["events"]
    other = (shard + 1) % 12
    stray = [replace(copy, shard=other) for copy in records[shard][-1:]]
    name = await recorded.planted({**records, other: [*records[other], *stray]})
    for beside in (False, True):
        found = (await recorded.verified(name, "events", beside)).findings
        assert [(f.kind, f.shard, f.first) for f in found] == [("misplaced", other, stray[0].number)]


@pytest.mark.parametrize("output", FEED_BY_TOPIC)
async def test_nothing_is_wrong_with_what_the_relay_wrote(recorded: Recorded, output: str) -> None:
    for beside in (False, True):
        result = await recorded.verified(full_topic_name(recorded.system.prefix, output), output, beside)
        assert result.sound, result.findings
        assert (result.removed, result.replayed) == ([], 0)
        assert result.records == sum(map(len, recorded.records[output].values())) > 0


async def test_a_dead_letter_that_is_missing_repeated_or_changed_is_found(recorded: Recorded) -> None:
    records = recorded.records["dead-letters"]
    shard = recorded.fullest("dead-letters")
    first, second = records[shard]
    faults: list[tuple[Records, list[str], list[str]]] = [
        ([first], [], ["missing"]),
        ([second], [], ["missing"]),
        ([first, first, second], ["repeated"], ["repeated"]),
        ([first, second, first.again()], [], []),
        ([second, first], [], ["disorder"]),
        ([first, changed(first), second], ["changed"], ["changed", "repeated"]),
        ([first, second, second.stating(original_offset="999")], [], ["extra"]),
    ]
    for planted, as_consumer, beside_log in faults:
        name = await recorded.planted({**records, shard: planted})
        for beside, expected in ((False, as_consumer), (True, beside_log)):
            found = (await recorded.verified(name, "dead-letters", beside)).findings
            assert sorted(finding.kind for finding in found) == expected


async def test_what_retention_removed_is_told_apart_from_what_is_missing(recorded: Recorded) -> None:
    records = recorded.records["events"]
    shard = recorded.fullest("events")
    name = await recorded.planted({**records, shard: records[shard][:AT] + records[shard][N:]})
    admin = AIOKafkaAdminClient(bootstrap_servers=recorded.system.bootstrap)
    await admin.start()
    await admin.delete_records({TopicPartition(name, shard): RecordsToDelete(2)})
    await admin.close()
    for beside in (False, True):
        result = await recorded.verified(name, "events", beside)
        assert result.removed == [(shard, 1, 2)]
        assert [(found.kind, found.first, found.last) for found in result.findings] == [("missing", N, N)]


async def test_the_command_says_what_is_wrong_and_where_and_with_which_code(recorded: Recorded) -> None:
    records = recorded.records["events"]
    shard = recorded.fullest("events")
    name = await recorded.planted({**records, shard: records[shard][:AT] + records[shard][N:]})
    as_consumer = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    as_consumer |= {name: value for name, value in recorded.system.environment.items() if name != "DATABASE_URL"}

    def run(environment: dict[str, str], *arguments: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "services.publishing.verify", *arguments]
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)

    sound = run(recorded.system.environment, "--json")
    assert sound.returncode == 0, sound.stderr
    results = json.loads(sound.stdout)
    assert {result["output"]: result["sound"] for result in results} == dict.fromkeys(FEED_BY_TOPIC, True)
    faulty = run(as_consumer, name, "--of", "events")
    assert faulty.returncode == 1
    assert f"shard {shard}: {N} missing" in faulty.stdout
    unchecked = run(as_consumer, f"{name}.events")
    assert (unchecked.returncode, unchecked.stderr.strip()) == (2, f"there is no topic {name}.events")
