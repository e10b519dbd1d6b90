"""Invalid and unusual valid records through the real topics: one outcome each, without effect on other records."""

import json
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import MessageSizeTooLargeError
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy

from services.kafka.client_options import client_options
from services.kafka.topics import full_topic_name
from tests.fixtures.bad_inputs import BAD_INPUTS, SINGLE_RECORD_ENTRIES, RawRecord, build_record
from tests.fixtures.fault_helpers import wait_until_log_is_read
from tests.fixtures.process_runner import wait_until
from tests.fixtures.system import System


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
    batch: Any = producer.create_batch()
    batch._builder = _DefaultRecordBatchBuilderPy(2, 0, 0, -1, -1, 0, 1 << 21)
    headers = [(decode_header_name(name), value) for name, value in bad.headers]
    assert batch.append(key=bad.key, value=bad.value, timestamp=bad.timestamp_ms, headers=headers) is not None
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


@pytest.mark.parametrize("entry", SINGLE_RECORD_ENTRIES, ids=[f"{e['id']}-{e['group']}" for e in SINGLE_RECORD_ENTRIES])
async def test_record_has_the_outcome_expected_by_the_corpus(
    entry: dict[str, Any], seeded: System, raw_producer: AIOKafkaProducer
) -> None:
    bad, outside, partition = build_record(entry), seeded.client, 5
    allowed = [entry["expected"], *entry.get("also_ok", ())]
    try:
        offset = await produce_raw_record(raw_producer, seeded, bad, partition)
    except MessageSizeTooLargeError:
        assert "broker-reject:MessageSizeTooLarge" in allowed
        return
    sentinel = {**BAD_INPUTS["bases"]["record_grade"], "command_id": str(uuid.uuid4())}
    await outside.send_raw(json.dumps(sentinel).encode(), b"1001", partition=partition)
    assert (await outside.wait_for_verdict(sentinel["command_id"]))["status"] == "accepted"
    # The record before the sentinel is decided, too. A second outcome of it may be published later than the first.
    await wait_until_log_is_read(seeded, "verdicts", "dead-letters")
    letters, verdicts = find_dead_letters(seeded, partition, offset), outside.verdicts.get(bad.command_id, [])
    assert len(letters) + len(verdicts) == 1
    if letters:
        assert (letters[0].key, letters[0].value) == (bad.key, bad.value)
        assert "dead-letter" in allowed
        return
    verdict = verdicts[0]
    outcome = verdict["status"] if verdict["reason"] is None else f"rejected:{verdict['reason']}"
    assert outcome in allowed, verdict


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
