"""Sends a sequence of the corpus to your own topics, for your consumer to read. Needs aiokafka.

    KAFKA_BOOTSTRAP=localhost:9092 python feed.py corpus/redelivery.jsonl my-prefix

Records go to my-prefix.live-events, my-prefix.caliper and my-prefix.events, in the partitions they were read from; the
topics are created with twelve partitions.
"""

import argparse
import json
import os
import sys
from pathlib import Path

try:
    from aiokafka import AIOKafkaProducer
    from aiokafka.admin import AIOKafkaAdminClient, NewTopic
    from kafka_options import kafka_options, run_program, start_client
except ModuleNotFoundError as error:
    sys.exit(f"feed.py: {error}; nothing was sent: pip install aiokafka")

PARTITIONS = 12


async def main(file: Path, prefix: str) -> None:
    records = [json.loads(line) for line in file.read_text().splitlines()]
    admin = AIOKafkaAdminClient(**kafka_options())
    await start_client(admin)
    topics = {f"{prefix}.{record['topic']}" for record in records} - set(await admin.list_topics())
    await admin.create_topics([NewTopic(topic, PARTITIONS, 1) for topic in topics])
    await admin.close()
    producer = AIOKafkaProducer(**kafka_options(), enable_idempotence=True)
    await start_client(producer)
    for record in records:
        await producer.send_and_wait(
            f"{prefix}.{record['topic']}",
            json.dumps(record["value"], separators=(",", ":")).encode(),
            key=record["key"].encode(),
            partition=record["partition"],
            headers=[(name, value.encode()) for name, value in record["headers"].items()],
        )
    await producer.stop()
    print(f"{len(records)} records")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description="Puts a sequence of the corpus on topics. KAFKA_BOOTSTRAP names the brokers."
    )
    parser.add_argument("file", type=Path, help="a file of the corpus")
    parser.add_argument("prefix", help="of the topics")
    arguments = parser.parse_args()
    if not os.environ.get("KAFKA_BOOTSTRAP"):
        parser.error("KAFKA_BOOTSTRAP is not set or not exported; nothing was sent: export KAFKA_BOOTSTRAP=HOST:PORT")
    run_program(main(arguments.file, arguments.prefix), "nothing was sent")
