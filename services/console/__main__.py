"""Start the console: ``python -m services.console``."""

import logging

from services.auth.jwks import JwkSet
from services.config.console import ConsoleSettings
from services.console.web.app import build_app
from services.runtime.http import serve_http
from services.runtime.main import run_process

SHUTDOWN_TIMEOUT_SECONDS = 3


async def main(settings: ConsoleSettings) -> None:
    """Serve until SIGTERM or SIGINT."""
    keys = JwkSet(settings.jwks, age_seconds_max=settings.jwks_age_max)
    await keys.load()
    await serve_http(
        build_app(settings, keys),
        settings.console_host,
        settings.console_port,
        SHUTDOWN_TIMEOUT_SECONDS,
        settings.forwarded_allow_ips,
    )


if __name__ == "__main__":
    run_process("console", ConsoleSettings, main, kafka_log_level=logging.CRITICAL)
