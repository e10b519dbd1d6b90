"""Start the scheduler: read settings, serve health endpoints, send due publications."""

import functools
import logging

from services.auth.signer import TokenSigner
from services.auth.token_rules import TokenRules
from services.config.scheduler import SchedulerSettings
from services.eventlog.postgres import READER, connect
from services.runtime.background_tasks import run_in_background
from services.runtime.health import Health, serve_health
from services.runtime.main import run_process, run_until_stopped
from services.runtime.memory import freeze_startup_objects
from services.runtime.server_monitor import ServerMonitor
from services.scheduler.outlook import Outlook
from services.scheduler.scheduler import Scheduler
from services.scheduler.sender import PublicationSender
from services.telemetry.metrics.scheduler import SchedulerMetrics


async def main(settings: SchedulerSettings) -> None:
    """Run until SIGTERM or SIGINT."""
    health, metrics = Health(), SchedulerMetrics()
    signer = None if settings.command_key is None else TokenSigner(settings.command_key)
    sender = PublicationSender(settings, signer, TokenRules.of(settings).own_claims())
    connect_monitor = functools.partial(connect, settings.url(), "scheduler-watch", READER)
    server_monitor = ServerMonitor(settings, connect_monitor, health, metrics)
    tasks = {"monitoring servers": server_monitor.run, "observing schedules": Outlook(settings, metrics).run}
    health_server = serve_health(health, metrics.registry, settings.health_host, settings.health_port)
    async with health_server, run_in_background(health, tasks):
        freeze_startup_objects()
        await run_until_stopped(Scheduler(settings, health, metrics, sender).run())


if __name__ == "__main__":
    run_process("scheduler", SchedulerSettings, main, kafka_log_level=logging.CRITICAL)
