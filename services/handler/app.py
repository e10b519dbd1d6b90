"""The FastStream application: batch subscribers of one consumer group."""

import logging
from collections.abc import Awaitable, Callable
from typing import Any

from faststream import AckPolicy, FastStream
from faststream.kafka import KafkaBroker, Topic
from faststream.kafka.annotations import KafkaMessage
from pydantic import SkipValidation

from services.commands.authorization import CommandAuthorizer
from services.config.handler import HandlerSettings
from services.eventlog.installation import Installation
from services.handler.cache_share import CacheShare
from services.handler.consumer import CommandConsumer
from services.handler.faststream_adapter import faststream_security, identity_decoder, parse_batch
from services.handler.metrics import HandlerTelemetry
from services.handler.record_poll import RecordPoll
from services.kafka.client_compat import replace_poll
from services.runtime.health import Health
from services.runtime.main import limit_stop

# Not FastStream's own logger, which has a handler and a format of its own.
FRAMEWORK_LOGGER = logging.getLogger("handler.framework")
# How long a newly added partition may stay undiscovered.
METADATA_MILLISECONDS_MAX = 30_000
BATCH_SECONDS_MAX = 30.0
STOP_SECONDS_MAX = 40.0
"""A batch in progress may take BATCH_SECONDS_MAX of it; deploy/chart and deploy/compose.yaml wait 45 s."""


def build_app(
    settings: HandlerSettings,
    installation: Installation,
    health: Health,
    telemetry: HandlerTelemetry,
    authorizer: CommandAuthorizer | None,
) -> tuple[FastStream, list[CommandConsumer]]:
    """Build the application and its consumers, without connecting; ``authorizer`` None accepts every sender."""
    broker = KafkaBroker(
        settings.bootstrap_servers(),
        security=faststream_security(),
        allow_auto_create_topics=False,
        metadata_max_age_ms=METADATA_MILLISECONDS_MAX,
        logger=FRAMEWORK_LOGGER,
        graceful_timeout=BATCH_SECONDS_MAX,
        log_level=logging.DEBUG,
        consumer_only=True,
    )
    cache_share = CacheShare(settings.handler_cache_mib << 20)
    consumers = []
    for index in range(settings.handler_subscribers):
        consumer = CommandConsumer(
            f"commands-{index}", settings, installation, health, telemetry, authorizer, cache_share
        )
        consumers.append(consumer)
        subscriber = broker.subscriber(
            Topic(consumer.commands_topic, declare=False),
            group_id=f"{settings.topic_prefix}.handler",
            group_instance_id=f"{settings.handler_instance}-{index}" if settings.handler_instance else None,
            batch=True,
            fetch_max_wait_ms=50,
            auto_offset_reset="earliest",
            ack_policy=AckPolicy.NACK_ON_ERROR,
            isolation_level="read_committed",
            session_timeout_ms=10_000,
            heartbeat_interval_ms=1_000,
            rebalance_timeout_ms=30_000,
            listener=consumer,
            parser=parse_batch,
            decoder=identity_decoder,
            no_reply=True,
            title=consumer.name,
        )
        consumer.faststream_subscriber = subscriber
        subscriber(_build_handler(consumer))
        replace_poll(subscriber, consumer.with_heartbeat(RecordPoll(settings.handler_batch_records)))
    on_shutdown = [_limit_stop, *(consumer.stop for consumer in consumers)]
    return FastStream(broker, logger=FRAMEWORK_LOGGER, on_shutdown=on_shutdown), consumers


async def _limit_stop() -> None:
    limit_stop(STOP_SECONDS_MAX)


def _build_handler(consumer: CommandConsumer) -> Callable[..., Awaitable[None]]:
    async def handle(records: SkipValidation[Any], message: KafkaMessage) -> None:
        await consumer.handle(records, message)

    return handle
