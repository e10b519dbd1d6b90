"""``admin accept-recreated-topic``: continue with a commands topic that was deleted and recreated, or truncated.

Offsets of such a topic start again, so that the log would mistake new records for processed ones. The handler stops
those partitions until an administrator starts a new source: from then on all records of the topic are new. A source
cannot be removed, and while the topic still holds processed records a new one would process them a second time:
without ``--force`` that is refused. Partitions that lack nothing go on after their last processed record; what running
handlers decide meanwhile would be decided once more, so that the command is refused while there are any.
"""

import asyncio
import time
from collections.abc import Mapping
from typing import Annotated

import asyncpg
import typer
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from services.config.database import DatabaseSettings
from services.config.kafka import KafkaSettings
from services.eventlog.postgres import WRITER, close_quickly, connect
from services.eventlog.process_sessions import is_handler_connected
from services.eventlog.store import EventStore
from services.eventlog.topic_identity import is_recreated, read_first_records
from services.kafka.client_options import client_options
from services.kafka.topics import full_topic_name
from services.runtime.command_line import ActionRefused, run_command

SESSION_END_SECONDS_MAX = 5
"""A handler that was stopped just now may still have sessions for a moment."""
ProcessedRecords = dict[TopicPartition, tuple[int, int]]
"""By partition, offset and append time of the last record that the log has processed."""


def accept_recreated_topic_command(
    reason: Annotated[str, typer.Argument(metavar="REASON", help="Why the topic starts again; stored in the log.")],
    force: Annotated[
        bool, typer.Option("--force", help="Accept it even if it still holds processed records: reprocess them all.")
    ] = False,
) -> None:
    """Accept a recreated or truncated commands topic: process every record it holds as new. Cannot be undone."""
    if not reason.strip():
        raise typer.BadParameter("state a reason: why does the topic start again?")

    async def work() -> tuple[str, int]:
        kafka_settings = KafkaSettings()
        commands_topic = full_topic_name(kafka_settings.topic_prefix, "commands")
        return commands_topic, await accept_recreated_topic(
            kafka_settings.kafka_bootstrap, DatabaseSettings().url(), commands_topic, reason, force=force
        )

    commands_topic, source = run_command(work, is_administrators=True)
    typer.echo(f"{commands_topic} is now source {source}: start the handlers")


async def accept_recreated_topic(
    bootstrap: str, database_url: str, commands_topic: str, reason: str, *, force: bool
) -> int:
    """Start a new source for the commands topic (full name) and return its number.

    Raises:
        ActionRefused: the topic does not exist, or still holds processed records and ``force`` is off, or a handler is
            running; nothing was changed.
        KafkaError, OSError, asyncpg.PostgresError, TimeoutError: Kafka or PostgreSQL does not answer.
    """
    partitions = await _list_partitions(bootstrap, commands_topic)
    connection = await connect(database_url, "source", WRITER)
    consumer = AIOKafkaConsumer(**client_options(bootstrap), enable_auto_commit=False)
    try:
        await consumer.start()
        store = EventStore(connection)
        beginning_offsets = await consumer.beginning_offsets(partitions)
        beginnings = [beginning_offsets[partition] for partition in partitions]
        if not force:
            unchanged = await _find_unchanged(consumer, beginning_offsets, store)
            if len(unchanged) == len(partitions):
                raise ActionRefused(
                    f"{commands_topic} still contains the records that were processed; nothing was changed. Accepting"
                    " it as new reprocesses all of them: if that is intended, use --force"
                )
            beginnings = [
                max(beginning_offsets[partition], unchanged.get(partition, -1) + 1) for partition in partitions
            ]
        await _verify_handlers_stopped(connection)
        return await store.start_incarnation(commands_topic, reason, beginnings)
    finally:
        await consumer.stop()
        await close_quickly(connection)


async def _verify_handlers_stopped(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    deadline = time.monotonic() + SESSION_END_SECONDS_MAX
    while await is_handler_connected(connection):
        if time.monotonic() > deadline:
            raise ActionRefused(
                "a handler is connected to the log; nothing was changed. Stop all handlers and run this again: what one"
                " decides meanwhile would be decided once more. If none runs, its host was lost: end the sessions"
                " moderation-handler and moderation-handler-watch with pg_terminate_backend"
            )
        await asyncio.sleep(0.2)


async def _find_unchanged(
    consumer: AIOKafkaConsumer, beginning_offsets: Mapping[TopicPartition, int], store: EventStore
) -> dict[TopicPartition, int]:
    """Return the watermarks of the partitions that lack no unprocessed record and no processed one that can be told.

    Such a partition reaches beyond its watermark, has the last processed record if the log has one there, and its first
    record is the one that was processed at that offset.
    """
    partitions = list(beginning_offsets)
    incarnation = await store.current_incarnation(partitions[0].topic)
    watermarks = await store.watermarks(incarnation, [place.partition for place in partitions])
    unchanged = {
        place: watermarks[place.partition]
        for place, beginning in beginning_offsets.items()
        if beginning <= watermarks[place.partition] + 1
    }
    end_offsets = await consumer.end_offsets(partitions)
    unchanged = {place: watermark for place, watermark in unchanged.items() if end_offsets[place] > watermark}
    last_processed = await _read_last_processed(unchanged, store, incarnation)
    for place in await _find_missing(consumer, last_processed):
        del unchanged[place]
    first_records = await read_first_records(consumer, list(unchanged))
    for place, first_record in first_records.items():
        if await is_recreated(store, incarnation, place.partition, first_record):
            del unchanged[place]
    return unchanged


async def _read_last_processed(
    watermarks: Mapping[TopicPartition, int], store: EventStore, incarnation: int
) -> ProcessedRecords:
    last_processed: ProcessedRecords = {}
    for place, offset in watermarks.items():
        # None where the partition began later when it was accepted, and nothing of it was processed since.
        for append_time in (await store.append_times(incarnation, place.partition, offset, offset)).values():
            last_processed[place] = offset, append_time
    return last_processed


async def _find_missing(consumer: AIOKafkaConsumer, last_processed: ProcessedRecords) -> list[TopicPartition]:
    """Return the partitions that lack their last processed record, according to the topic's time index."""
    if not last_processed:
        return []
    append_times = {topic_partition: append_time for topic_partition, (_, append_time) in last_processed.items()}
    # The first record of each partition with that append time or a later one.
    found_records = await consumer.offsets_for_times(append_times)
    missing = []
    for topic_partition, (offset, append_time) in last_processed.items():
        found = found_records[topic_partition]
        if found is None or found.timestamp != append_time or found.offset > offset:
            missing.append(topic_partition)
    return missing


async def _list_partitions(bootstrap: str, commands_topic: str) -> list[TopicPartition]:
    admin = AIOKafkaAdminClient(**client_options(bootstrap))
    try:
        await admin.start()
        if commands_topic not in await admin.list_topics():
            raise ActionRefused(
                f"topic {commands_topic} does not exist; nothing was changed. Create it with: moderated-grading admin"
                " create-topics"
            )
        (description,) = await admin.describe_topics([commands_topic])
        return [TopicPartition(commands_topic, number) for number in range(len(description["partitions"]))]
    finally:
        await admin.close()
