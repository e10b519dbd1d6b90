"""Settings, keys, HTTP server."""

import asyncio
import logging

import uvicorn
import uvloop

from services.auth.jwks import JwkSet
from services.config import ConsoleSettings
from services.console.web.app import build_app
from services.telemetry.json_logging import configure_logging

SHUTDOWN_TIMEOUT_SECONDS = 3


async def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    configure_logging("console")
    settings = ConsoleSettings()
    logging.getLogger().setLevel(settings.log_level)
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    keys = JwkSet(settings.jwks)
    await keys.load()
    config = uvicorn.Config(
        build_app(settings, keys),
        host=settings.console_host,
        port=settings.console_port,
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=SHUTDOWN_TIMEOUT_SECONDS,
    )
    await uvicorn.Server(config).serve()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
