"""Settings, health page, relay."""

import functools
from typing import TYPE_CHECKING

from services.config.relay import RelaySettings
from services.eventlog.postgres import READER, connect
from services.kafka.client_patches import patch_fetcher
from services.relay.metrics import RelayTelemetry
from services.relay.relay import run_relay
from services.runtime.background_tasks import StartTask, run_in_background
from services.runtime.health import Health, serve_health
from services.runtime.main import run_process, run_until_stopped
from services.runtime.memory import freeze_startup_objects, keep_freed_memory
from services.runtime.server_monitor import ServerMonitor
from services.telemetry.metrics.relay import RelayMetrics

if TYPE_CHECKING:
    from services.relay.tracing import RecordTraces

YOUNG_OBJECTS_MAX = 500_000
"""More than the rows and records of all lanes' transactions: a collection while they are sent would free nothing."""
BUFFER_BYTES_MAX, FREE_BYTES_MAX = 32 << 20, 64 << 20
"""A produce request of 4 MiB is copied several times; 32 MiB is the most that glibc accepts."""


def build_traces(settings: RelaySettings) -> "RecordTraces | None":
    """Build the tracer of published records; None without a collector."""
    if settings.otel_exporter_otlp_endpoint is None:
        return None
    # Imported here: the SDK takes time and memory.
    from services.relay.tracing import RecordTraces

    return RecordTraces(settings.topic_prefix)


async def main(settings: RelaySettings) -> None:
    """Run until SIGTERM or SIGINT."""
    patch_fetcher()
    health, metrics = Health(), RelayMetrics()
    telemetry = RelayTelemetry(metrics, build_traces(settings))
    connect_monitor = functools.partial(connect, settings.url(), "relay-watch", READER)
    server_monitor = ServerMonitor(settings, connect_monitor, health, metrics, check_postgres=telemetry.poll_lag)
    health_server = serve_health(health, metrics.registry, settings.health_host, settings.health_port)
    tasks: dict[str, StartTask] = {
        "monitoring servers": server_monitor.run,
        "counting dead letters": functools.partial(telemetry.count_dead_letters, connect_monitor),
    }
    async with health_server, run_in_background(health, tasks):
        keep_freed_memory(BUFFER_BYTES_MAX, FREE_BYTES_MAX)
        freeze_startup_objects(YOUNG_OBJECTS_MAX)
        await run_until_stopped(run_relay(settings, health, telemetry))


if __name__ == "__main__":
    run_process("relay", RelaySettings, main)
