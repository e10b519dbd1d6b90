"""Settings, topics check, health page, relay."""

import asyncio
import gc
import logging
import signal
from typing import TYPE_CHECKING

import uvloop

from services.config import RelaySettings
from services.eventlog.postgres import READER
from services.kafka.topics import check
from services.relay.metrics import Telling
from services.relay.relay import Relay
from services.runtime.health import Health, serving
from services.runtime.server_monitor import Watch, beside
from services.telemetry.json_logging import configure
from services.telemetry.metrics import RelayMetrics

if TYPE_CHECKING:
    from services.relay.tracing import RecordTraces


def traces_of(settings: RelaySettings) -> "RecordTraces | None":
    """Who tells of published records; None where no collector is named."""
    if settings.otel_exporter_otlp_endpoint is None:
        return None
    # The SDK takes time and memory: only where it is asked for.
    from services.relay.tracing import RecordTraces

    return RecordTraces(settings.topic_prefix)


async def main() -> None:
    """Run until SIGTERM or SIGINT."""
    configure("relay")
    settings = RelaySettings()
    logging.getLogger().setLevel(settings.log_level)
    logging.getLogger("aiokafka").setLevel(logging.WARNING)
    await check(settings.kafka_bootstrap, settings.topic_prefix)
    health, metrics = Health(), RelayMetrics()
    telling = Telling(metrics, traces_of(settings))
    watch = Watch(settings, "relay", READER, health, metrics, ask_postgres=telling.look)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    pages = serving(health, metrics.registry, settings.health_host, settings.health_port)
    async with pages, beside(watch.run()):
        # As the handler's: what is made for a transaction lives no longer than it.
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 100)
        relaying = asyncio.create_task(Relay(settings, health, telling).run())
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait({relaying, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if relaying.done():
            relaying.result()
        relaying.cancel()
        await asyncio.gather(relaying, return_exceptions=True)


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
