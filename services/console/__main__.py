"""Settings, keys, HTTP server."""

import logging

import uvicorn

from services.auth.jwks import JwkSet
from services.config import ConsoleSettings
from services.console.web.app import build_app
from services.runtime.main import run_process

SHUTDOWN_TIMEOUT_SECONDS = 3


async def main(settings: ConsoleSettings) -> None:
    """Serve until SIGTERM or SIGINT."""
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
    run_process("console", ConsoleSettings, main, kafka_log_level=logging.CRITICAL)
