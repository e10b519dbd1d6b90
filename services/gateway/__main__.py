"""Settings, keys, topics, HTTP server."""

import logging

import uvicorn

from services.auth.jwks import JwkSet
from services.config import GatewaySettings
from services.gateway.app import build_app
from services.runtime.main import freeze_startup_objects, run_process

HEADER_BYTES_MAX = 64 << 10
DRAIN_SECONDS = 20


async def main(settings: GatewaySettings) -> None:
    """Serve until SIGTERM or SIGINT; requests in hand are answered first."""
    keys = JwkSet(settings.jwks)
    await keys.load()
    app = build_app(settings, keys)
    freeze_startup_objects()
    config = uvicorn.Config(
        app,
        host=settings.gateway_host,
        port=settings.gateway_port,
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        h11_max_incomplete_event_size=HEADER_BYTES_MAX,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=DRAIN_SECONDS,
    )
    await uvicorn.Server(config).serve()


if __name__ == "__main__":
    run_process("gateway", GatewaySettings, main, kafka_log_level=logging.CRITICAL)
