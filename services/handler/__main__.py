"""Settings, topics check, health page, application."""

import asyncio
import contextlib
import gc
import logging
from typing import TYPE_CHECKING

import uvloop

from services.auth.jwks import Keys
from services.commands.authorization import Authority
from services.config import HandlerSettings
from services.eventlog.postgres import WRITER
from services.handler.consumer import FRAMEWORK_LOGGER, build
from services.handler.metrics import Telling
from services.kafka import client_compat
from services.kafka.topics import check
from services.runtime.health import Health, serving
from services.runtime.server_monitor import Watch, beside
from services.telemetry.json_logging import configure
from services.telemetry.metrics import HandlerMetrics

if TYPE_CHECKING:
    from services.handler.tracing import CommandTraces


async def authority_of(settings: HandlerSettings) -> Authority | None:
    """Who judges the senders of records, with its keys read; None with COMMAND_AUTH=off."""
    if settings.command_auth == "off" or settings.jwks is None:
        return None
    keys = Keys(settings.jwks)
    await keys.load()
    return Authority(keys)


def traces_of(settings: HandlerSettings) -> "CommandTraces | None":
    """Who tells of decided commands; None where no collector is named."""
    if settings.otel_exporter_otlp_endpoint is None:
        return None
    # The SDK takes time and memory: only where it is asked for.
    from services.handler.tracing import CommandTraces

    return CommandTraces()


async def main() -> None:
    """Run until SIGTERM or SIGINT; a batch in hand is finished first."""
    configure("handler")
    settings = HandlerSettings()
    logging.getLogger().setLevel(settings.log_level)
    logging.getLogger("aiokafka").setLevel(logging.WARNING)
    # It warns at each start that it makes no topics; what it says of partitions we say ourselves.
    FRAMEWORK_LOGGER.setLevel(logging.ERROR)
    client_compat.install()
    await check(settings.kafka_bootstrap, settings.topic_prefix)
    authority = await authority_of(settings)
    health, telling = Health(), Telling(HandlerMetrics(), authority, traces_of(settings))
    application, subscribers = build(settings, health, telling, authority)

    async def look() -> None:
        if health.problem is None:
            await asyncio.gather(*(subscriber.look() for subscriber in subscribers))

    watch = Watch(settings, "handler", WRITER, health, telling.metrics, ask_kafka=look)

    @application.after_startup
    async def started() -> None:
        health.problem = None
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 100)

    async with contextlib.AsyncExitStack() as running:
        pages = serving(health, telling.metrics.registry, settings.health_host, settings.health_port)
        await running.enter_async_context(pages)
        await running.enter_async_context(beside(watch.run()))
        if authority is not None:
            await running.enter_async_context(beside(authority.keys.keep_current()))
        await application.run(log_level=logging.DEBUG)


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
