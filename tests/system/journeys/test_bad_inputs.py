"""Invalid and unusual valid records through the real topics: one outcome each, without effect on other records.

Records of the corpus, alone and in batches; test_bad_sequences.py has its sequences.
"""

import json
import uuid
from collections.abc import AsyncIterator, Iterable
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import MessageSizeTooLargeError
from aiokafka.record.default_records import DefaultRecordBase, _DefaultRecordBatchBuilderPy

from services.kafka.client_options import client_options
from services.kafka.topics import full_topic_name
from tests.fixtures.bad_inputs import (
    BAD_INPUTS,
    SINGLE_RECORD_ENTRIES,
    RawRecord,
    allowed_outcomes,
    build_record,
    outcome_of,
    replays,
)
from tests.fixtures.fault_helpers import wait_until_log_is_read
from tests.fixtures.process_runner import wait_until
from tests.fixtures.system import System

BATCH_BYTES_MAX = 64 << 20
"""As many as the batches of the corpus have, decompressed."""
EXPANDED_SHARE = 50
"""By what the batch that expands to a gigabyte is divided: the broker decompresses it, in a heap of less."""


class RawHeaderName(str):
    """A header name that is not UTF-8 on the wire."""

    raw: bytes

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        return self.raw


def decode_header_name(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        name = RawHeaderName("?")
        name.raw = raw
        return name


@pytest.fixture(scope="session")
async def raw_producer(seeded: System) -> AsyncIterator[AIOKafkaProducer]:
    """Create a producer without idempotence: only such a producer accepts batches built elsewhere."""
    producer = AIOKafkaProducer(**client_options(seeded.bootstrap), acks="all")
    await producer.start()
    yield producer
    await producer.stop()


async def produce_raw_record(producer: AIOKafkaProducer, system: System, bad: RawRecord, partition: int) -> int:
    """Produce a record unchanged and return its offset."""
    return await produce_raw_batch(producer, system, [bad], partition)


async def produce_raw_batch(
    producer: AIOKafkaProducer,
    system: System,
    records: Iterable[RawRecord],
    partition: int,
    compression: int = DefaultRecordBase.CODEC_NONE,
) -> int:
    """Produce records unchanged, as one batch, and return the offset of the first."""
    batch: Any = producer.create_batch()
    batch._builder = _DefaultRecordBatchBuilderPy(2, compression, 0, -1, -1, 0, BATCH_BYTES_MAX)
    for record in records:
        headers = [(decode_header_name(name), value) for name, value in record.headers]
        appended = batch.append(key=record.key, value=record.value, timestamp=record.timestamp_ms, headers=headers)
        assert appended is not None
    future = await producer.send_batch(batch, full_topic_name(system.prefix, "commands"), partition=partition)
    return int((await future).offset)


def find_dead_letters(system: System, partition: int, offset: int) -> list[Any]:
    commands = full_topic_name(system.prefix, "commands").encode()
    coordinates = {
        "original_topic": commands,
        "original_partition": b"%d" % partition,
        "original_offset": b"%d" % offset,
    }
    return [r for r in system.client.records["dead-letters"] if coordinates.items() <= dict(r.headers).items()]


async def send_sentinel(system: System, partition: int) -> None:
    """Send a valid command after what is tested, on its partition; it must be accepted."""
    sentinel = {**BAD_INPUTS["bases"]["record_grade"], "command_id": str(uuid.uuid4())}
    await system.client.send_raw(json.dumps(sentinel).encode(), b"1001", partition=partition)
    assert (await system.client.wait_for_verdict(sentinel["command_id"]))["status"] == "accepted"


@pytest.mark.cases("bad records over Kafka")
@pytest.mark.parametrize("entry", SINGLE_RECORD_ENTRIES, ids=[f"{e['id']}-{e['group']}" for e in SINGLE_RECORD_ENTRIES])
async def test_record_has_the_outcome_expected_by_the_corpus(
    entry: dict[str, Any], seeded: System, raw_producer: AIOKafkaProducer
) -> None:
    bad, outside, partition = build_record(entry), seeded.client, 5
    allowed = allowed_outcomes(entry)
    try:
        offset = await produce_raw_record(raw_producer, seeded, bad, partition)
    except MessageSizeTooLargeError:
        assert "broker-reject:MessageSizeTooLarge" in allowed
        return
    await send_sentinel(seeded, partition)
    # The record before the sentinel is decided, too. A second outcome of it may be published later than the first.
    await wait_until_log_is_read(seeded, "verdicts", "dead-letters")
    letters, verdicts = find_dead_letters(seeded, partition, offset), outside.verdicts.get(bad.command_id, [])
    assert len(letters) + len(verdicts) == 1
    if letters:
        assert (letters[0].key, letters[0].value) == (bad.key, bad.value)
        assert "dead-letter" in allowed
        return
    assert outcome_of(verdicts[0]) in allowed, verdicts[0]


@pytest.mark.cases("bad records over Kafka")
@replays("C193")
async def test_batch_that_expands_beyond_the_limit_is_refused_by_the_broker(
    entry: dict[str, Any], seeded: System, raw_producer: AIOKafkaProducer
) -> None:
    (number, size), partition = entry["generator"]["args"], 5
    bomb = [RawRecord("", b"1001", bytes(size))] * (number // EXPANDED_SHARE)
    with pytest.raises(MessageSizeTooLargeError):
        await produce_raw_batch(raw_producer, seeded, bomb, partition, DefaultRecordBase.CODEC_ZSTD)
    assert "broker-reject:MessageSizeTooLarge" in allowed_outcomes(entry)
    await send_sentinel(seeded, partition)


@pytest.mark.cases("bad records over Kafka")
@replays("C195")
async def test_unreadable_record_within_a_batch_affects_none_of_the_others(
    entry: dict[str, Any], seeded: System, raw_producer: AIOKafkaProducer
) -> None:
    (number, index), partition, outside = entry["generator"]["args"], 5, seeded.client
    base = BAD_INPUTS["bases"]["record_grade"]
    # Each score differs from the one before, so that each command has an effect.
    commands = [
        {**base, "command_id": str(uuid.uuid4()), "data": {**base["data"], "score": n % 10}} for n in range(number - 1)
    ]
    ids = [command["command_id"] for command in commands]
    records = [RawRecord(command["command_id"], b"1001", json.dumps(command).encode()) for command in commands]
    records.insert(index, RawRecord("", b"1001", b"{"))
    first_offset = await produce_raw_batch(raw_producer, seeded, records, partition)
    await send_sentinel(seeded, partition)
    await wait_until_log_is_read(seeded, "verdicts", "dead-letters", "events")

    verdicts = [json.loads(record.value or b"") for record in outside.records["verdicts"]]
    decided = [verdict for verdict in verdicts if verdict["command_id"] in set(ids)]
    # Each once, in the order of the batch.
    assert [verdict["command_id"] for verdict in decided] == ids
    assert {(verdict["status"], verdict["duplicate"]) for verdict in decided} == {("accepted", False)}
    effects = [len(outside.outputs_by_command.get(("events", command_id), ())) for command_id in ids]
    assert effects == [verdict["events"] for verdict in decided]
    offsets = range(first_offset, first_offset + number)
    letters = {offset: find_dead_letters(seeded, partition, offset) for offset in offsets}
    assert {offset: len(found) for offset, found in letters.items() if found} == {first_offset + index: 1}
    assert letters[first_offset + index][0].value == b"{"


async def test_reply_to_header_publishes_no_record(seeded: System) -> None:
    command = {**BAD_INPUTS["bases"]["record_grade"], "command_id": str(uuid.uuid4())}
    headers = [("reply_to", full_topic_name(seeded.prefix, "live-events").encode())]
    await seeded.client.send_raw(json.dumps(command).encode(), b"1001", headers)
    assert (await seeded.client.wait_for_verdict(command["command_id"]))["status"] == "accepted"
    # The framework would have logged it before the next record's verdict.
    await seeded.client.send_and_wait({**command, "command_id": str(uuid.uuid4())})
    await seeded.client.wait_until_read("live-events")
    caused = {command["command_id"].encode(), None}
    live = [dict(record.headers) for record in seeded.client.records["live-events"]]
    assert [headers for headers in live if headers.get("ce_causationid") in caused] == []


async def test_record_filled_by_a_header_name_that_is_not_utf8_becomes_a_dead_letter_on_its_topic(
    seeded: System, raw_producer: AIOKafkaProducer
) -> None:
    bad, partition = RawRecord("", None, b"x", [(b"\xff" * 1_048_501, b"")]), 5
    offset = await produce_raw_record(raw_producer, seeded, bad, partition)
    await wait_until(lambda: find_dead_letters(seeded, partition, offset), "the dead letter")
    (letter,) = find_dead_letters(seeded, partition, offset)
    # Escaped, the whole name would make it larger than its topic takes.
    assert (letter.key, letter.value, letter.headers[0]) == (None, b"x", ("\\xff\\xff\\xff…", b""))
