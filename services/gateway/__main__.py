"""Settings, keys, topics, HTTP server."""

import asyncio
import gc
import logging

import uvicorn
import uvloop

from services.auth.jwks import JwkSet
from services.config import GatewaySettings
from services.gateway.app import build_app
from services.telemetry.json_logging import configure_logging

HEADER_BYTES_MAX = 64 << 10
DRAIN_SECONDS = 20


async def main() -> None:
    """Serve until SIGTERM or SIGINT; requests in hand are answered first."""
    configure_logging("gateway")
    settings = GatewaySettings()
    logging.getLogger().setLevel(settings.log_level)
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    keys = JwkSet(settings.jwks)
    await keys.load()
    app = build_app(settings, keys)
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
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
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
