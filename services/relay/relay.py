"""The relay's work: checks at the start, then its share of the lanes."""

import asyncio
import logging

from schemas.topics import count_lanes
from services.config.relay import RelaySettings
from services.eventlog.installation import Installation, fetch_installation
from services.eventlog.postgres import READER
from services.kafka.topics import verify_topics
from services.relay.lane import Lane
from services.relay.lease_keeper import LeaseKeeper
from services.relay.metrics import RelayTelemetry
from services.runtime.errors import INFRASTRUCTURE_ERRORS, describe_error
from services.runtime.failpoints import failpoints
from services.runtime.health import Health

LOGGER = logging.getLogger("relay")
RETRY_SECONDS = 1.0


async def run_relay(settings: RelaySettings, health: Health, telemetry: RelayTelemetry) -> None:
    """Relay until cancelled.

    Raises:
        TopicConfigError: topics are missing, belong to another log, or have unsafe settings.
    """
    installation = await _verify_installation(settings, health)
    lane_numbers = range(count_lanes(installation.shard_count))
    telemetry.start(lane_numbers)
    lanes = [Lane(lane, installation, settings, health, telemetry) for lane in lane_numbers]
    health.problem = None
    await LeaseKeeper(settings, lanes, health, telemetry).run()


async def _verify_installation(settings: RelaySettings, health: Health) -> Installation:
    """Check log and topics; while a server is down, log it and wait."""
    while True:
        try:
            async with failpoints.around("relay.verify_topics"):
                installation = await fetch_installation(settings.url(), "relay", READER)
                await verify_topics(
                    settings.kafka_bootstrap, settings.topic_prefix, installation.shard_count, str(installation.id)
                )
                return installation
        except INFRASTRUCTURE_ERRORS as error:
            problem = describe_error(error)
            if health.problem != problem:
                LOGGER.warning("%s", problem)
            health.problem = problem
        await asyncio.sleep(RETRY_SECONDS)
