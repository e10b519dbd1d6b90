"""Settings, keys, HTTP server."""

import asyncio
import logging

import uvicorn
import uvloop

from services.auth.jwks import Keys
from services.config import ConsoleSettings
from services.console.web.app import build
from services.telemetry.json_logging import configure

DRAIN_SECONDS = 3


async def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    configure("console")
    settings = ConsoleSettings()
    logging.getLogger().setLevel(settings.log_level)
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    keys = Keys(settings.jwks)
    await keys.load()
    config = uvicorn.Config(
        build(settings, keys),
        host=settings.console_host,
        port=settings.console_port,
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=DRAIN_SECONDS,
    )
    await uvicorn.Server(config).serve()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
