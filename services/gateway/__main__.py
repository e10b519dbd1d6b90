"""Start the gateway: read settings and keys, check the topics, serve HTTP."""

import logging

from services.auth.jwks import JwkSet
from services.config.gateway import GatewaySettings
from services.gateway.app import build_app
from services.runtime.http import serve_http
from services.runtime.main import run_process
from services.runtime.memory import freeze_startup_objects

DRAIN_SECONDS = 20


async def main(settings: GatewaySettings) -> None:
    """Serve until SIGTERM or SIGINT, then finish the requests in progress."""
    keys = JwkSet(settings.jwks, age_seconds_max=settings.jwks_age_max)
    await keys.load()
    app = build_app(settings, keys)
    freeze_startup_objects()
    await serve_http(app, settings.gateway_host, settings.gateway_port, DRAIN_SECONDS, settings.forwarded_allow_ips)


if __name__ == "__main__":
    run_process("gateway", GatewaySettings, main, kafka_log_level=logging.CRITICAL)
