"""The floor of a command's latency: a bare consumer, one committed insert and one Kafka transaction, nothing decided.

``python -m deploy.benchmarks.bare_pipeline`` reads DATABASE_URL, KAFKA_BOOTSTRAP and TOPIC_PREFIX. Records of
``commands`` end, unchanged, on ``verdicts``. As in handler and relay, inserts and Kafka transactions run concurrently,
and each takes all records that wait for it.
"""

import asyncio
import os
import threading
from collections.abc import Callable

import psycopg
import uvloop
from confluent_kafka import Consumer, Message, TopicPartition

from deploy.local.kafka import client_settings
from services.kafka.client_patches import shorten_transaction_backoff
from services.kafka.partitioning import ALL_SHARDS
from services.kafka.records import OutgoingRecord
from services.kafka.topics import full_topic_name
from services.kafka.transactions import create_transactional_producer, send_transaction

CREATE_TABLE = 'create table if not exists bare (partition integer, "offset" bigint, value bytea)'
INSERT = "insert into bare select * from unnest(%s::integer[], %s::bigint[], %s::bytea[])"
# Identifies a record for the probe that waits for it.
ID_HEADER = "ce_causationid"
RECORDS_MAX = 1_000
POLL_SECONDS = 0.2


async def main(url: str, bootstrap: str, prefix: str) -> None:
    """Run until the process is ended."""
    shorten_transaction_backoff()
    committed: asyncio.Queue[Message] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def pass_on(messages: list[Message]) -> None:
        for message in messages:
            loop.call_soon_threadsafe(committed.put_nowait, message)

    threading.Thread(target=_insert, args=(url, bootstrap, prefix, pass_on), daemon=True).start()
    producer = create_transactional_producer(bootstrap, f"{prefix}.bare")
    await producer.start()
    while True:
        messages = [await committed.get()]
        while not committed.empty():
            messages.append(committed.get_nowait())
        await send_transaction(
            producer, [_copy(message) for message in messages], lambda name: full_topic_name(prefix, name)
        )


def _insert(url: str, bootstrap: str, prefix: str, pass_on: Callable[[list[Message]], None]) -> None:
    """Insert records as they arrive, one transaction for all that have arrived, and pass on what is committed."""
    consumer = Consumer(
        {
            **client_settings(bootstrap),
            "group.id": f"{prefix}.bare",
            "enable.auto.commit": False,
            "fetch.wait.max.ms": 100,
        }
    )
    topic = full_topic_name(prefix, "commands")
    consumer.assign([TopicPartition(topic, shard, 0) for shard in ALL_SHARDS])
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(CREATE_TABLE)
        while True:
            first = consumer.poll(POLL_SECONDS)
            if first is None:
                continue
            messages = [message for message in (first, *consumer.consume(RECORDS_MAX, 0)) if not message.error()]
            columns = [[message.partition(), message.offset(), message.value()] for message in messages]
            connection.execute(INSERT, [list(column) for column in zip(*columns, strict=True)])
            pass_on(messages)


def _copy(message: Message) -> OutgoingRecord:
    command_id: bytes = dict(message.headers() or ())[ID_HEADER]  # type: ignore
    return OutgoingRecord(
        "verdicts", message.partition() or 0, message.key(), message.value(), [(ID_HEADER, command_id)]
    )


if __name__ == "__main__":
    uvloop.run(main(os.environ["DATABASE_URL"], os.environ["KAFKA_BOOTSTRAP"], os.environ["TOPIC_PREFIX"]))
