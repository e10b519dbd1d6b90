"""A consumer's connection to the log, and the objects that use it."""

import functools
from dataclasses import dataclass

from services.commands.authorization import CommandAuthorizer
from services.commands.batch_limits import BatchLimits, give_way
from services.commands.processor import CommandProcessor
from services.config.handler import HandlerSettings
from services.eventlog.installation import Installation
from services.eventlog.postgres import WRITER, HeartbeatConnection, connect
from services.eventlog.store import EventStore
from services.handler.passed_markers import PassedMarkers
from services.handler.position_tracker import PositionTracker
from services.kafka.topics import full_topic_name
from services.runtime.failpoints import failpoints
from services.runtime.health import Health


@dataclass(frozen=True, slots=True)
class LogSession:
    """A processor and a position tracker that share a connection."""

    connection: HeartbeatConnection
    processor: CommandProcessor
    position_tracker: PositionTracker


async def open_log_session(
    settings: HandlerSettings,
    installation: Installation,
    authorizer: CommandAuthorizer | None,
    health: Health,
    loop_name: str,
    passed_markers: PassedMarkers,
) -> LogSession:
    """Connect as a writer; each query sends a heartbeat for the loop. Raises POSTGRES_ERRORS."""

    async def give_way_with_heartbeat() -> None:
        health.heartbeat(loop_name)
        await give_way()

    connection = await _connect(settings)
    try:
        connection.heartbeat = functools.partial(health.heartbeat, loop_name)
        log = EventStore(connection, settings.clock_difference_seconds_max)
        event_store = failpoints.arm(log, "handler.log")
        failpoints.arm(log.encryption_keys, "handler.keys")
        incarnation = await event_store.current_incarnation(full_topic_name(settings.topic_prefix, "commands"))
        processor = CommandProcessor(
            event_store,
            incarnation,
            installation.shard_count,
            authorizer,
            live_events_shard=settings.live_events_shard,
            limits=BatchLimits(settings.handler_batch_events, settings.handler_batch_bytes),
            snapshot_events=settings.handler_snapshot_events,
            give_way=give_way_with_heartbeat,
        )
        return LogSession(connection, processor, PositionTracker(event_store, incarnation, passed_markers))
    except BaseException:
        connection.terminate()
        raise


async def read_watermarks(settings: HandlerSettings, partitions: list[int]) -> dict[int, int]:
    """Read the highest processed offset of partitions (-1: none) over a separate connection."""
    connection = await _connect(settings)
    try:
        event_store = failpoints.arm(EventStore(connection), "handler.log")
        incarnation = await event_store.current_incarnation(full_topic_name(settings.topic_prefix, "commands"))
        return await event_store.watermarks(incarnation, partitions)
    finally:
        await connection.close()


async def _connect(settings: HandlerSettings) -> HeartbeatConnection:
    async with failpoints.around("handler.connect"):
        return failpoints.arm(await connect(settings.url(), "handler", WRITER), "handler.connection")
