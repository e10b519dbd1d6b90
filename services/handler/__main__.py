"""Run the handler: settings, topic check, health endpoint, application."""

import contextlib
import functools
import logging
from typing import TYPE_CHECKING

from services.auth.jwks import JwkSet
from services.auth.token_rules import TokenRules
from services.commands.authorization import CommandAuthorizer
from services.config.handler import HandlerSettings
from services.eventlog.installation import Installation, fetch_installation
from services.eventlog.postgres import WRITER, connect
from services.eventlog.snapshot_code import form_id
from services.handler.app import FRAMEWORK_LOGGER, build_app
from services.handler.key_expiry import delete_expired_keys
from services.handler.metrics import HandlerTelemetry
from services.handler.partition_watch import PartitionWatch
from services.kafka.topics import verify_topics
from services.runtime.background_tasks import StartTask, run_in_background
from services.runtime.failpoints import failpoints
from services.runtime.health import Health, serve_health
from services.runtime.main import run_process
from services.runtime.memory import freeze_startup_objects
from services.runtime.server_monitor import ServerMonitor
from services.runtime.start import wait_for_brokers, wait_for_postgres
from services.telemetry.metrics.handler import HandlerMetrics

if TYPE_CHECKING:
    from services.handler.tracing import CommandTraces


async def read_installation(settings: HandlerSettings) -> Installation:
    """Read the log's installation. Raises POSTGRES_ERRORS."""
    async with failpoints.around("handler.installation"):
        return await fetch_installation(settings.url(), "handler", WRITER)


async def verify_own_topics(settings: HandlerSettings, installation: Installation) -> None:
    """Check all topics; see ``verify_topics``."""
    async with failpoints.around("handler.verify_topics"):
        await verify_topics(
            settings.kafka_bootstrap, settings.topic_prefix, installation.shard_count, str(installation.id)
        )


async def load_authorizer(settings: HandlerSettings) -> CommandAuthorizer | None:
    """Build the authorizer and load its keys; None with COMMAND_AUTH=off."""
    if settings.command_auth == "off" or settings.jwks is None:
        return None
    keys = JwkSet(settings.jwks, age_seconds_max=settings.jwks_age_max)
    await keys.load()
    return CommandAuthorizer(
        keys,
        settings.live_events_shard,
        TokenRules.of(settings),
        requires_bound_tokens=settings.command_auth == "bound",
    )


def build_traces(settings: HandlerSettings) -> "CommandTraces | None":
    """Build the trace exporter, None without an OTLP endpoint."""
    if settings.otel_exporter_otlp_endpoint is None:
        return None
    # Imported here because the SDK takes time and memory.
    from services.handler.tracing import CommandTraces

    return CommandTraces()


async def main(settings: HandlerSettings) -> None:
    """Run until SIGTERM or SIGINT; the batch in progress is finished first.

    Raises:
        CodeUnreadable: there are to be snapshots, and the source files cannot be read.
    """
    if settings.handler_snapshot_events:
        # Before anything is waited for: the files may be replaced by those of another version.
        form_id()
    # FastStream warns at each start that it creates no topics, and repeats our log lines about partitions.
    FRAMEWORK_LOGGER.setLevel(logging.ERROR)
    installation = await wait_for_postgres(functools.partial(read_installation, settings))
    await wait_for_brokers(functools.partial(verify_own_topics, settings, installation))
    authorizer = await load_authorizer(settings)
    health, telemetry = Health(), HandlerTelemetry(HandlerMetrics(), authorizer, build_traces(settings))
    application, consumers = build_app(settings, installation, health, telemetry, authorizer)

    watch = PartitionWatch(consumers, settings, installation.shard_count, telemetry.metrics)

    async def check_kafka() -> None:
        if health.problem is None:
            await watch.check_kafka()

    connect_monitor = functools.partial(connect, settings.url(), "handler-watch", WRITER)
    server_monitor = ServerMonitor(
        settings, connect_monitor, health, telemetry.metrics, check_kafka=check_kafka, check_postgres=watch.check_log
    )

    @application.after_startup
    async def on_started() -> None:
        health.problem = None
        freeze_startup_objects()

    async with contextlib.AsyncExitStack() as stack:
        health_server = serve_health(health, telemetry.metrics.registry, settings.health_host, settings.health_port)
        await stack.enter_async_context(health_server)
        stack.push_async_callback(watch.topic_offsets.stop)
        background: dict[str, StartTask] = {
            "monitoring servers": server_monitor.run,
            "deleting keys of past days": functools.partial(
                delete_expired_keys,
                connect_monitor,
                settings.dead_letter_days,
                settings.clock_difference_seconds_max,
            ),
        }
        if authorizer is not None:
            background["reading keys"] = authorizer.keys.keep_current
        await stack.enter_async_context(run_in_background(health, background))
        await application.run(log_level=logging.DEBUG)


if __name__ == "__main__":
    run_process("handler", HandlerSettings, main)
