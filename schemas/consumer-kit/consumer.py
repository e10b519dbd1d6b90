"""Keeps the published grades in a table: every event counted once, none missed. Needs aiokafka.

KAFKA_BOOTSTRAP=localhost:9092 python consumer.py moderation.live-events grades.sqlite [--once]
"""

import asyncio
import json
import sqlite3
import sys
from typing import Any

from aiokafka import AIOKafkaConsumer
from kafka_options import kafka_options

TABLES = """
create table if not exists grade (submission_id text primary key, student_id text, score real, grade text, posted bool);
create table if not exists counted (ce_id text primary key);
create table if not exists shard (number text primary key, sequence integer);
"""


class SequenceGap(Exception):
    """Events are missing: ask the service's operators to emit them again (``deploy/operate replay``)."""


def count_once(database: sqlite3.Connection, headers: dict[str, str], event: dict[str, Any]) -> bool:
    """Take in one event, all or nothing; False where it has been counted before. Raises SequenceGap."""
    with database:
        is_new = database.execute("insert or ignore into counted values (?)", (headers["ce_id"],)).rowcount
        if not is_new:
            return False
        if "replay" not in headers:  # A replay is a selection: its numbers have gaps.
            shard, sequence = headers["ce_shard"], int(headers["ce_sequence"])
            last = database.execute("select sequence from shard where number = ?", (shard,)).fetchone()
            if last is not None and sequence != last[0] + 1:
                raise SequenceGap(f"shard {shard}: {sequence} came after {last[0]}")
            database.execute("insert or replace into shard values (?, ?)", (shard, sequence))
        body = event["body"]
        grade = (body["submission_id"], body["student_id"], body["score"], body["grade"], not body["muted"])
        database.execute("insert or replace into grade values (?, ?, ?, ?, ?)", grade)
    return True


async def at_end(consumer: AIOKafkaConsumer) -> bool:
    partitions = consumer.assignment()
    ends = await consumer.end_offsets(partitions) if partitions else {}
    return bool(ends) and all([await consumer.position(partition) >= end for partition, end in ends.items()])


async def main(topic: str, file: str, once: bool) -> None:
    database = sqlite3.connect(file)
    database.executescript(TABLES)
    consumer = AIOKafkaConsumer(
        topic,
        **kafka_options(),
        group_id=f"grades in {file}",
        isolation_level="read_committed",  # Not what a transaction wrote that was never committed.
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    await consumer.start()
    try:
        while True:
            batches = await consumer.getmany(timeout_ms=200)
            for records in batches.values():
                for record in records:
                    headers = {name: value.decode() for name, value in record.headers}
                    is_new = count_once(database, headers, json.loads(record.value or b""))
                    print("counted" if is_new else "known", headers["ce_subject"], flush=True)
            if batches:
                await consumer.commit()  # After the table: what is read again is known by its ce_id.
            if once and await at_end(consumer):
                return
    finally:
        await consumer.stop()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], "--once" in sys.argv))
