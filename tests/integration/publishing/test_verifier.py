"""The verifier reports each planted fault exactly, and nothing on correct topics."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from services.eventlog.archive import archive_months, attach_month
from services.eventlog.feed_history import LogFilter
from services.eventlog.feeds import FEED_BY_TOPIC
from services.kafka.client_options import client_options
from services.kafka.topics import full_topic_name
from tests.fixtures.recorded_topics import RecordCopy, RecordedTopics
from tests.integration.cli.conftest import CommandLine

Records = list[RecordCopy]
Findings = list[tuple[str, int, int]]
"""Kind, first and last number."""

FAULT_INDEX = 4
"""Where in a shard a fault is planted: the number is one more."""


def shift_numbers(records: Records) -> Records:
    """Increase every number from one record on."""
    return [
        *records[:FAULT_INDEX],
        *(copy.with_headers(ce_sequence=f"{copy.number + 1:020d}") for copy in records[FAULT_INDEX:]),
    ]


def change_byte(copy: RecordCopy) -> RecordCopy:
    """Change one byte of the value."""
    assert copy.value is not None
    return replace(copy, value=copy.value[:-2] + bytes([copy.value[-2] ^ 1]) + copy.value[-1:])


def change_one(records: Records, change: Callable[[RecordCopy], RecordCopy]) -> Records:
    return [*records[:FAULT_INDEX], change(records[FAULT_INDEX]), *records[FAULT_INDEX + 1 :]]


def mark_replayed(records: Records) -> Records:
    return [copy.as_replayed() for copy in records]


def swap_two(records: Records) -> Records:
    return [*records[:FAULT_INDEX], records[FAULT_INDEX + 1], records[FAULT_INDEX], *records[FAULT_INDEX + 2 :]]


def append_unknown(records: Records) -> Records:
    return [*records, records[-1].with_headers(ce_sequence=f"{len(records) + 1:020d}", ce_id="never-in-the-log")]


FAULT_NUMBER = FAULT_INDEX + 1
LAST_NUMBER = -1
"""Stands for the last number of the shard; END - 1 for the one after it."""

# By fault: the change of a shard's records; the findings of a consumer; the findings of a comparison with the log.
FAULTS: dict[str, tuple[Callable[[Records], Records], Findings, Findings]] = {
    "one is dropped": (
        lambda r: r[:FAULT_INDEX] + r[FAULT_NUMBER:],
        [("missing", FAULT_NUMBER, FAULT_NUMBER)],
        [("missing", FAULT_NUMBER, FAULT_NUMBER)],
    ),
    "three are dropped": (
        lambda r: r[:FAULT_INDEX] + r[FAULT_INDEX + 3 :],
        [("missing", FAULT_NUMBER, FAULT_NUMBER + 2)],
        [("missing", FAULT_NUMBER, FAULT_NUMBER + 2)],
    ),
    "the first is dropped": (lambda r: r[1:], [("missing", 1, 1)], [("missing", 1, 1)]),
    "the last is dropped": (lambda r: r[:-1], [], [("missing", LAST_NUMBER, LAST_NUMBER)]),
    "one is repeated": (
        lambda r: [*r[:FAULT_NUMBER], *r[FAULT_INDEX:]],
        [("repeated", FAULT_NUMBER, FAULT_NUMBER)],
        [("repeated", FAULT_NUMBER, FAULT_NUMBER)],
    ),
    "two are swapped": (
        swap_two,
        [("disorder", FAULT_NUMBER, FAULT_NUMBER)],
        [("disorder", FAULT_NUMBER, FAULT_NUMBER)],
    ),
    "numbers are shifted": (
        shift_numbers,
        [("missing", FAULT_NUMBER, FAULT_NUMBER)],
        [
            ("missing", FAULT_NUMBER, FAULT_NUMBER),
            ("wrong_id", FAULT_NUMBER + 1, LAST_NUMBER),
            ("extra", LAST_NUMBER - 1, LAST_NUMBER - 1),
        ],
    ),
    "one is beyond the log": (append_unknown, [], [("extra", LAST_NUMBER - 1, LAST_NUMBER - 1)]),
    "a byte is changed": (lambda r: change_one(r, change_byte), [], [("changed", FAULT_NUMBER, FAULT_NUMBER)]),
    "a header is changed": (
        lambda r: change_one(r, lambda c: c.with_headers(ce_time="2026")),
        [],
        [("changed", FAULT_NUMBER, FAULT_NUMBER)],
    ),
    "a header is gone": (
        lambda r: change_one(r, lambda c: c.with_headers(ce_subject=None)),
        [],
        [("changed", FAULT_NUMBER, FAULT_NUMBER)],
    ),
    "another key": (
        lambda r: change_one(r, lambda c: replace(c, key=b"1")),
        [],
        [("changed", FAULT_NUMBER, FAULT_NUMBER)],
    ),
    "another id": (
        lambda r: change_one(r, lambda c: c.with_headers(ce_id="another")),
        [],
        [("wrong_id", FAULT_NUMBER, FAULT_NUMBER)],
    ),
    "another id in a replay": (
        lambda r: r + change_one(mark_replayed(r), lambda c: c.with_headers(ce_id="another")),
        [("wrong_id", FAULT_NUMBER, FAULT_NUMBER)],
        [("wrong_id", FAULT_NUMBER, FAULT_NUMBER)],
    ),
    "a byte changed in a replay": (
        lambda r: r + change_one(mark_replayed(r), change_byte),
        [("changed", FAULT_NUMBER, FAULT_NUMBER)],
        [("changed", FAULT_NUMBER, FAULT_NUMBER)],
    ),
    "a replay passes over one": (
        lambda r: r + mark_replayed(r[:FAULT_INDEX] + r[FAULT_NUMBER:]),
        [("disorder", FAULT_NUMBER, FAULT_NUMBER)],
        [("disorder", FAULT_NUMBER, FAULT_NUMBER)],
    ),
    "a refilled topic lacks one": (
        lambda r: mark_replayed(r[:FAULT_INDEX] + r[FAULT_NUMBER:]),
        [("missing", FAULT_NUMBER, FAULT_NUMBER)],
        [("missing", FAULT_NUMBER, FAULT_NUMBER)],
    ),
    "a refilled topic is in disorder": (
        lambda r: mark_replayed(swap_two(r)),
        [("disorder", FAULT_NUMBER, FAULT_NUMBER + 1)],
        [("disorder", FAULT_NUMBER, FAULT_NUMBER + 1)],
    ),
    "everything again without saying so": (
        lambda r: r + r,
        [("repeated", 1, LAST_NUMBER)],
        [("repeated", 1, LAST_NUMBER)],
    ),
    "no number": (
        lambda r: change_one(r, lambda c: c.with_headers(ce_sequence=None)),
        [("missing", FAULT_NUMBER, FAULT_NUMBER), ("unreadable", FAULT_INDEX, FAULT_INDEX)],
        [("missing", FAULT_NUMBER, FAULT_NUMBER), ("unreadable", FAULT_INDEX, FAULT_INDEX)],
    ),
    "nothing": (lambda r: r, [], []),
    "a replay of all": (lambda r: r + mark_replayed(r), [], []),
    "a replay cut short, and begun again": (lambda r: r + mark_replayed(r[:FAULT_INDEX]) + mark_replayed(r), [], []),
    "refilled, then gone on": (lambda r: mark_replayed(r[:FAULT_INDEX]) + r[FAULT_INDEX:], [], []),
    "made again while it went on, then refilled": (lambda r: r[FAULT_INDEX:] + mark_replayed(r), [], []),
}


@pytest.fixture(scope="module")
async def planted_topics(recorded_topics: RecordedTopics) -> dict[str, str]:
    """Create a topic for each fault."""
    shard, records = recorded_topics.largest_shard("events"), recorded_topics.records["events"]
    assert len(records[shard]) > 2 * FAULT_INDEX
    topics = (
        recorded_topics.create_topic({**records, shard: plant(records[shard])}) for plant, _, _ in FAULTS.values()
    )
    return dict(zip(FAULTS, await asyncio.gather(*topics), strict=True))


@pytest.mark.parametrize("fault", FAULTS)
async def test_verifier_reports_exactly_the_planted_fault(
    recorded_topics: RecordedTopics, planted_topics: dict[str, str], fault: str
) -> None:
    _, as_consumer, beside_log = FAULTS[fault]
    shard, records = recorded_topics.largest_shard("events"), recorded_topics.records["events"]

    def numbers(found: Findings) -> set[tuple[str, int, int]]:
        at = [[len(records[shard]) - 1 - n if n < 0 else n for n in numbers] for _, *numbers in found]
        return {(kind, first, last) for (kind, *_), (first, last) in zip(found, at, strict=True)}

    for beside, expected in ((False, as_consumer), (True, beside_log)):
        result = await recorded_topics.verify_topic(planted_topics[fault], "events", beside)
        assert {(found.kind, found.first, found.last) for found in result.findings} == numbers(expected)
        assert {found.shard for found in result.findings} <= {shard}
        assert result.sound == (not expected)


async def test_verifier_reports_a_record_in_the_wrong_partition(recorded_topics: RecordedTopics) -> None:
    shard = recorded_topics.largest_shard("events")
    records = recorded_topics.records["events"]
    other = (shard + 1) % 12
    stray = [replace(copy, shard=other) for copy in records[shard][-1:]]
    name = await recorded_topics.create_topic({**records, other: [*records[other], *stray]})
    for beside in (False, True):
        found = (await recorded_topics.verify_topic(name, "events", beside)).findings
        assert [(f.kind, f.shard, f.first) for f in found] == [("misplaced", other, stray[0].number)]


@pytest.mark.parametrize("output", FEED_BY_TOPIC)
async def test_verifier_reports_no_fault_on_relayed_topics(recorded_topics: RecordedTopics, output: str) -> None:
    for beside in (False, True):
        result = await recorded_topics.verify_topic(
            full_topic_name(recorded_topics.system.prefix, output), output, beside
        )
        assert result.sound, result.findings
        assert (result.removed, result.replayed) == ([], 0)
        assert result.records == sum(map(len, recorded_topics.records[output].values())) > 0


async def test_verifier_reports_missing_repeated_and_changed_dead_letters(recorded_topics: RecordedTopics) -> None:
    records = recorded_topics.records["dead-letters"]
    shard = recorded_topics.largest_shard("dead-letters")
    first, second = records[shard]
    faults: list[tuple[Records, list[str], list[str]]] = [
        ([first], [], ["missing"]),
        ([second], [], ["missing"]),
        ([first, first, second], ["repeated"], ["repeated"]),
        ([first, second, first.as_replayed()], [], []),
        ([second, first], [], ["disorder"]),
        ([first, change_byte(first), second], ["changed"], ["changed", "repeated"]),
        ([first, second, second.with_headers(original_offset="999")], [], ["extra"]),
    ]
    for planted, as_consumer, beside_log in faults:
        name = await recorded_topics.create_topic({**records, shard: planted})
        for beside, expected in ((False, as_consumer), (True, beside_log)):
            found = (await recorded_topics.verify_topic(name, "dead-letters", beside)).findings
            assert sorted(finding.kind for finding in found) == expected


async def test_verifier_distinguishes_retention_from_missing_records(recorded_topics: RecordedTopics) -> None:
    records = recorded_topics.records["events"]
    shard = recorded_topics.largest_shard("events")
    name = await recorded_topics.create_topic(
        {**records, shard: records[shard][:FAULT_INDEX] + records[shard][FAULT_NUMBER:]}
    )
    admin = AIOKafkaAdminClient(**client_options(recorded_topics.system.bootstrap))
    await admin.start()
    await admin.delete_records({TopicPartition(name, shard): RecordsToDelete(2)})
    await admin.close()
    for beside in (False, True):
        result = await recorded_topics.verify_topic(name, "events", beside)
        assert result.removed == [(shard, 1, 2)]
        assert [(found.kind, found.first, found.last) for found in result.findings] == [
            ("missing", FAULT_NUMBER, FAULT_NUMBER)
        ]


async def test_verifier_compares_archived_verdicts_by_number_only(
    recorded_topics: RecordedTopics, tmp_path: Path
) -> None:
    records = recorded_topics.records["verdicts"]
    shard = recorded_topics.largest_shard("verdicts")
    count = sum(map(len, records.values()))
    relayed = full_topic_name(recorded_topics.system.prefix, "verdicts")
    extended = await recorded_topics.create_topic({**records, shard: append_unknown(records[shard])})
    refilled = await recorded_topics.create_topic({})
    url = recorded_topics.system.database_url
    files = list(archive_months(url, tmp_path, days=-31))
    assert files
    try:
        beside = await recorded_topics.verify_topic(relayed, "verdicts", beside_log=True)
        assert (beside.findings, beside.archived, beside.left_out) == ([], count, [])
        selected = await recorded_topics.verify_topic(relayed, "verdicts", True, LogFilter(root_account=1))
        assert (selected.findings, selected.archived) == ([], count)
        (extra,) = (await recorded_topics.verify_topic(extended, "verdicts", beside_log=True)).findings
        assert (extra.kind, extra.shard, extra.first) == ("extra", shard, len(records[shard]) + 1)
        left_out = await recorded_topics.verify_topic(refilled, "verdicts", beside_log=True)
        assert left_out.findings == []
        assert left_out.left_out == [(shard, 1, len(found)) for shard, found in sorted(records.items()) if found]
        printed = await CommandLine(recorded_topics.system.environment).run_in_process("verify", relayed)
        assert (printed.exit_code, f"{count} of archived verdicts by number only" in printed.stdout) == (0, True)
    finally:
        for file in files:
            attach_month(url, file)


async def test_verify_command_prints_findings_and_sets_the_exit_code(recorded_topics: RecordedTopics) -> None:
    records = recorded_topics.records["events"]
    shard = recorded_topics.largest_shard("events")
    name = await recorded_topics.create_topic(
        {**records, shard: records[shard][:FAULT_INDEX] + records[shard][FAULT_NUMBER:]}
    )
    beside_log = CommandLine(recorded_topics.system.environment)
    as_consumer = CommandLine({**recorded_topics.system.environment, "DATABASE_URL": ""})

    sound = await beside_log.run_in_process("verify", "--json")
    assert sound.exit_code == 0, sound.stderr
    assert {result["output"]: result["sound"] for result in sound.json()} == dict.fromkeys(FEED_BY_TOPIC, True)
    faulty = await as_consumer.run_in_process("verify", name, "--of", "events")
    assert faulty.exit_code == 1
    assert f"shard {shard}: {FAULT_NUMBER} missing" in faulty.stdout
    missing = await as_consumer.run_in_process("verify", f"{name}.events")
    assert (missing.exit_code, missing.stderr.strip()) == (4, f"there is no topic {name}.events")
