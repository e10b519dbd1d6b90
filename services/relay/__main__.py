"""Settings, topics check, health page, relay."""

import asyncio
import gc
import logging
import signal
from typing import TYPE_CHECKING

import uvloop

from services.config import RelaySettings
from services.eventlog.postgres import READER
from services.kafka.topics import verify_topics
from services.relay.metrics import RelayTelemetry
from services.relay.relay import Relay
from services.runtime.health import Health, serve_health
from services.runtime.server_monitor import ServerMonitor, run_in_background
from services.telemetry.json_logging import configure_logging
from services.telemetry.metrics import RelayMetrics

if TYPE_CHECKING:
    from services.relay.tracing import RecordTraces


def build_traces(settings: RelaySettings) -> "RecordTraces | None":
    """Who tells of published records; None where no collector is named."""
    if settings.otel_exporter_otlp_endpoint is None:
        return None
    # The SDK takes time and memory: only where it is asked for.
    from services.relay.tracing import RecordTraces

    return RecordTraces(settings.topic_prefix)


async def main() -> None:
    """Run until SIGTERM or SIGINT."""
    configure_logging("relay")
    settings = RelaySettings()
    logging.getLogger().setLevel(settings.log_level)
    logging.getLogger("aiokafka").setLevel(logging.WARNING)
    await verify_topics(settings.kafka_bootstrap, settings.topic_prefix)
    health, metrics = Health(), RelayMetrics()
    telemetry = RelayTelemetry(metrics, build_traces(settings))
    server_monitor = ServerMonitor(settings, "relay", READER, health, metrics, check_postgres=telemetry.poll_lag)
    stop_requested = asyncio.Event()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signal_number, stop_requested.set)
    health_server = serve_health(health, metrics.registry, settings.health_host, settings.health_port)
    async with health_server, run_in_background(server_monitor.run()):
        # As the handler's: what is made for a transaction lives no longer than it.
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 100)
        relay_task = asyncio.create_task(Relay(settings, health, telemetry).run())
        stop_task = asyncio.create_task(stop_requested.wait())
        await asyncio.wait({relay_task, stop_task}, return_when=asyncio.FIRST_COMPLETED)
        if relay_task.done():
            relay_task.result()
        relay_task.cancel()
        await asyncio.gather(relay_task, return_exceptions=True)


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
