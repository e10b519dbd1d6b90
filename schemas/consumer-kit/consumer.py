"""Keeps the published grades in a table: every event counted once, none missed. Needs aiokafka.

KAFKA_BOOTSTRAP=localhost:9092 python consumer.py moderation.live-events grades.sqlite [--once]
"""

import argparse
import json
import os
import sqlite3
import sys
from typing import Any

try:
    from aiokafka import AIOKafkaConsumer
    from kafka_options import kafka_options, run_program, start_client
except ModuleNotFoundError as error:
    sys.exit(f"consumer.py: {error}; nothing was read: pip install aiokafka")

TABLES = """
create table if not exists grade (
    submission_id text primary key, root_account_id text, course_id text, assignment_id text, student_id text,
    score real, grade text,
    posted bool,  -- Whether the student may see it: an event with "muted": true is for staff only.
    sequence integer
);
create index if not exists grades_of_an_assignment on grade (root_account_id, assignment_id);
create table if not exists counted (ce_id text primary key, shard text, sequence integer);
create index if not exists counted_numbers on counted (shard, sequence);
create table if not exists shard (number text primary key, sequence integer);
"""
STORE_GRADE = """
insert into grade values (?, ?, ?, ?, ?, ?, ?, ?, ?)
on conflict (submission_id) do update set score = excluded.score, grade = excluded.grade, posted = excluded.posted,
    sequence = excluded.sequence
where excluded.sequence > grade.sequence
"""
COUNT_BETWEEN = "select count(*) from counted where shard = ? and sequence > ? and sequence < ?"


class SequenceGap(Exception):
    """Events are missing before the current one, which was not stored.

    Ask the service's operators for a replay (``deploy/operate replay``) to a topic of your own and read that topic into
    the same table; then continue here: the replayed events fill the gap.
    """


def count_once(database: sqlite3.Connection, headers: dict[str, str], event: dict[str, Any]) -> bool:
    """Process one event, all or nothing; return False if it was counted before. Raises SequenceGap."""
    shard, sequence = headers["ce_shard"], int(headers["ce_sequence"])
    with database:
        is_new = database.execute(
            "insert or ignore into counted values (?, ?, ?)", (headers["ce_id"], shard, sequence)
        ).rowcount
        if not is_new:
            return False
        if "replay" not in headers:  # A replay is a selection: its numbers have gaps.
            last = database.execute("select sequence from shard where number = ?", (shard,)).fetchone()
            if last is not None:
                (counted,) = database.execute(COUNT_BETWEEN, (shard, last[0], sequence)).fetchone()
                if counted != sequence - last[0] - 1:
                    raise SequenceGap(f"shard {shard}: {sequence} came after {last[0]}")
            database.execute("insert or replace into shard values (?, ?)", (shard, sequence))
        metadata, body = event["metadata"], event["body"]
        ids = (body["submission_id"], metadata["root_account_id"], metadata["context_id"], body["assignment_id"])
        values = (body["student_id"], body["score"], body["grade"], not body["muted"], sequence)
        database.execute(STORE_GRADE, (*ids, *values))
    return True


async def at_end(consumer: AIOKafkaConsumer) -> bool:
    """Return whether everything that is on the topic now has been read."""
    partitions = consumer.assignment()
    ends = await consumer.end_offsets(partitions) if partitions else {}
    return bool(ends) and all([await consumer.position(partition) >= end for partition, end in ends.items()])


async def main(topic: str, file: str, once: bool) -> None:
    """Read the topic into the table. Without ``once`` it goes on until it is stopped."""
    database = sqlite3.connect(file)
    database.executescript(TABLES)
    consumer = AIOKafkaConsumer(
        topic,
        **kafka_options(),
        group_id=f"grades in {file}",
        isolation_level="read_committed",  # Skips records of aborted transactions.
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    await start_client(consumer)
    counted = known = 0
    try:
        while True:
            batches = await consumer.getmany(timeout_ms=200)
            for records in batches.values():
                for record in records:
                    headers = {name: value.decode() for name, value in record.headers}
                    is_new = count_once(database, headers, json.loads(record.value or b""))
                    counted, known = counted + is_new, known + (not is_new)
                    if not once:
                        print("counted" if is_new else "known", headers["ce_subject"], flush=True)
            if batches:
                await consumer.commit()  # After the table: records that are read again are recognised by their ce_id.
            if once and await at_end(consumer):
                break
    finally:
        await consumer.stop()
    (grades,) = database.execute("select count(*) from grade").fetchone()
    print(f"{counted} events counted, {known} known already; {file} holds {grades} grades")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description="Keeps published grades in a table. KAFKA_BOOTSTRAP names the brokers."
    )
    parser.add_argument("topic", help="the topic of live events, or of a replay")
    parser.add_argument("file", help="the SQLite database with the table")
    parser.add_argument("--once", action="store_true", help="end when everything on the topic has been read")
    arguments = parser.parse_args()
    if not os.environ.get("KAFKA_BOOTSTRAP"):
        parser.error("KAFKA_BOOTSTRAP is not set or not exported; nothing was read: export KAFKA_BOOTSTRAP=HOST:PORT")
    try:
        run_program(main(arguments.topic, arguments.file, arguments.once), "nothing was read")
    except SequenceGap as gap:
        sys.exit(
            f"consumer.py: events are missing: {gap}. The later one was not stored. Ask for a replay to a topic of your"
            f" own, read that topic into {arguments.file} with --once, then read {arguments.topic} again"
        )
