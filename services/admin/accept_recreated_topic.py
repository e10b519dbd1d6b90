"""Begin a new life of the commands topic: ``python -m services.admin.accept_recreated_topic "why"``.

For a topic that was deleted and made again, or cut: its offsets start anew, and without a new source the handler stops
rather than take a new record for an old one. It cannot be taken back and has every record of the topic decided again,
so it is refused while the topic still holds what was decided of it.
"""

import argparse
import asyncio
import sys

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from services.config import DatabaseSettings, KafkaSettings, SettingsError
from services.eventlog.postgres import WRITER, connect
from services.eventlog.store import EventStore
from services.eventlog.topic_identity import is_recreated, read_first_records
from services.kafka.topics import full_topic_name
from services.runtime.errors import INFRASTRUCTURE_ERRORS, describe_error


async def main(reason: str, *, force: bool) -> None:
    """Open the source and print its number. SystemExit where there is no topic, or it is the one that was decided."""
    settings = KafkaSettings()
    commands_topic = full_topic_name(settings.topic_prefix, "commands")
    connection = await connect(DatabaseSettings().url(), "source", WRITER)
    try:
        store = EventStore(connection)
        if not force and not await _is_topic_recreated(settings.kafka_bootstrap, commands_topic, store):
            sys.exit(
                f"{commands_topic} still holds what was decided: nothing was done. A new source has every record of it"
                " decided again; say --anyway if that is meant"
            )
        print(f"{commands_topic} is now source {await store.start_incarnation(commands_topic, reason)}")
    finally:
        await connection.close()


async def _is_topic_recreated(bootstrap: str, commands_topic: str, store: EventStore) -> bool:
    """Whether some partition does not hold its last decided record any more, or its first, where it was."""
    incarnation = await store.current_incarnation(commands_topic)
    watermarks = await store.watermarks(incarnation, await _list_partitions(bootstrap, commands_topic))
    last_decided: dict[TopicPartition, tuple[int, int]] = {}
    for partition, offset in watermarks.items():
        if offset >= 0:
            (time,) = (await store.append_times(incarnation, partition, offset, offset)).values()
            last_decided[TopicPartition(commands_topic, partition)] = offset, time
    if not last_decided:
        return False
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False)
    try:
        await consumer.start()
        end_offsets = await consumer.end_offsets(list(last_decided))
        # The first record of that time or later: asked of the index, for what a record holds may be anything.
        records_by_partition = await consumer.offsets_for_times(
            {place: time for place, (_, time) in last_decided.items()}
        )
        first_by_partition = await read_first_records(consumer, last_decided)
    finally:
        await consumer.stop()
    for place, (offset, time) in last_decided.items():
        first = records_by_partition[place]
        if end_offsets[place] <= offset or first is None or first.timestamp != time or first.offset > offset:
            return True
    for place, first_record in first_by_partition.items():
        if await is_recreated(store, incarnation, place.partition, first_record):
            return True
    return False


async def _list_partitions(bootstrap: str, commands_topic: str) -> list[int]:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    try:
        await admin.start()
        if commands_topic not in await admin.list_topics():
            sys.exit(f"topic {commands_topic} does not exist: run python -m services.kafka.topics")
        (described,) = await admin.describe_topics([commands_topic])
        return [partition["partition"] for partition in described["partitions"]]
    finally:
        await admin.close()


def parse_args(arguments: list[str]) -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(
        "python -m services.admin.accept_recreated_topic",
        description="Begin a new life of the commands topic, which was made again or cut. It cannot be taken back.",
    )
    parser.add_argument("reason", help="why the topic begins anew: kept for good")
    parser.add_argument("--anyway", action="store_true", help="also where the topic holds what was decided")
    args = parser.parse_args(arguments)
    if not args.reason.strip():
        parser.error("say why the topic begins anew")
    return args


if __name__ == "__main__":
    said = parse_args(sys.argv[1:])
    try:
        asyncio.run(main(said.reason, force=said.anyway))
    except SettingsError as error:
        sys.exit(str(error))
    except INFRASTRUCTURE_ERRORS as error:
        sys.exit(describe_error(error))
