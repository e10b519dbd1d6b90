"""Headers of every response of the gateway, the port of its health routes, and its OpenAPI document."""

from functools import cache
from types import SimpleNamespace

import httpx
from fastapi import FastAPI

from services.gateway.app import create_fastapi_app
from services.gateway.openapi import render_openapi
from services.gateway.openapi_document import OPENAPI_FILE
from services.runtime.health import Health

HEALTH_PATHS = ("/health/live", "/health/ready", "/metrics")


@cache
def build_app(*, with_health: bool) -> FastAPI:
    app, health = create_fastapi_app(with_health=with_health), Health()
    app.state.dependencies = SimpleNamespace(health=health, not_ready_reason=health.not_ready_reason)
    return app


def build_client(*, with_health: bool) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(build_app(with_health=with_health)), base_url="http://test")


async def test_health_and_metrics_are_not_on_the_public_port_if_they_have_their_own() -> None:
    async with build_client(with_health=False) as own, build_client(with_health=True) as shared:
        for path in HEALTH_PATHS:
            assert (await own.get(path)).status_code == 404, path
            assert (await shared.get(path)).status_code in (200, 503), path


def test_served_openapi_document_is_that_of_the_routes() -> None:
    assert OPENAPI_FILE.read_text() == render_openapi(), "run python -m services.gateway.openapi"


async def test_responses_forbid_caching() -> None:
    async with build_client(with_health=True) as client:
        for path in ("/openapi.json", "/health/live", "/nowhere"):
            assert (await client.get(path)).headers["cache-control"] == "no-store"
