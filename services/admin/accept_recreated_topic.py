"""Begin a new life of the commands topic: ``python -m services.admin.accept_recreated_topic "why"``.

For a topic that was deleted and made again, or cut: its offsets start anew, and without a new source the handler stops
rather than take a new record for an old one. It cannot be taken back and has every record of the topic decided again,
so it is refused while the topic still holds what was decided of it.
"""

import argparse
import asyncio
import sys

import asyncpg
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from services.config import DatabaseSettings, KafkaSettings, WrongSettings
from services.eventlog.postgres import WRITER, connect, trouble
from services.eventlog.store import Log
from services.eventlog.topic_identity import first_records, is_another
from services.kafka.topics import topic


async def main(reason: str, *, anyway: bool) -> None:
    """Open the source and print its number. SystemExit where there is no topic, or it is the one that was decided."""
    settings = KafkaSettings()
    commands = topic(settings.topic_prefix, "commands")
    connection = await connect(DatabaseSettings().url(), "source", WRITER)
    try:
        log = Log(connection)
        if not anyway and not await _is_another(settings.kafka_bootstrap, commands, log):
            sys.exit(
                f"{commands} still holds what was decided: nothing was done. A new source has every record of it"
                " decided again; say --anyway if that is meant"
            )
        print(f"{commands} is now source {await log.open_source(commands, reason)}")
    finally:
        await connection.close()


async def _is_another(bootstrap: str, commands: str, log: Log) -> bool:
    """Whether some partition does not hold its last decided record any more, or its first, where it was."""
    source = await log.current_source(commands)
    watermarks = await log.watermarks(source, await _partitions(bootstrap, commands))
    decided: dict[TopicPartition, tuple[int, int]] = {}
    for partition, offset in watermarks.items():
        if offset >= 0:
            (time,) = (await log.append_times(source, partition, offset, offset)).values()
            decided[TopicPartition(commands, partition)] = offset, time
    if not decided:
        return False
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False)
    try:
        await consumer.start()
        ends = await consumer.end_offsets(list(decided))
        # The first record of that time or later: asked of the index, for what a record holds may be anything.
        found = await consumer.offsets_for_times({place: time for place, (_, time) in decided.items()})
        beginnings = await first_records(consumer, decided)
    finally:
        await consumer.stop()
    for place, (offset, time) in decided.items():
        first = found[place]
        if ends[place] <= offset or first is None or first.timestamp != time or first.offset > offset:
            return True
    for place, beginning in beginnings.items():
        if await is_another(log, source, place.partition, beginning):
            return True
    return False


async def _partitions(bootstrap: str, commands: str) -> list[int]:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    try:
        await admin.start()
        if commands not in await admin.list_topics():
            sys.exit(f"topic {commands} does not exist: run python -m services.kafka.topics")
        (described,) = await admin.describe_topics([commands])
        return [partition["partition"] for partition in described["partitions"]]
    finally:
        await admin.close()


def asked(arguments: list[str]) -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(
        "python -m services.admin.accept_recreated_topic",
        description="Begin a new life of the commands topic, which was made again or cut. It cannot be taken back.",
    )
    parser.add_argument("reason", help="why the topic begins anew: kept for good")
    parser.add_argument("--anyway", action="store_true", help="also where the topic holds what was decided")
    said = parser.parse_args(arguments)
    if not said.reason.strip():
        parser.error("say why the topic begins anew")
    return said


if __name__ == "__main__":
    said = asked(sys.argv[1:])
    try:
        asyncio.run(main(said.reason, anyway=said.anyway))
    except WrongSettings as error:
        sys.exit(str(error))
    except KafkaError as error:
        sys.exit(f"Kafka does not answer: {type(error).__name__}")
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
        sys.exit(trouble(error))
