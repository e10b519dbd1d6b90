"""Behaviour of both HTTP applications: headers on every response, one answer per kind of error, health routes."""

from types import SimpleNamespace

import asyncpg
import httpx
import pytest
from fastapi import FastAPI, Request, Response
from starlette.responses import JSONResponse

from services.runtime.health import Health
from services.runtime.http import (
    ResponseHeadersMiddleware,
    add_error_handlers,
    build_health_router,
    build_server_config,
    transport_headers,
)
from services.telemetry.metrics.process import HttpMetrics

HEADERS = [(b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store")]


def build_client(health: Health) -> httpx.AsyncClient:
    app = FastAPI()
    app.state.dependencies = SimpleNamespace(health=health, not_ready_reason=health.not_ready_reason)
    app.include_router(build_health_router(HttpMetrics("console").registry))

    @app.get("/cached")
    async def cached() -> Response:
        return Response("static", headers={"cache-control": "max-age=60"})

    @app.get("/numbers")
    async def numbers(first: int, second: int) -> int:
        return first + second

    @app.get("/fail/{kind}")
    async def fail(kind: str) -> None:
        raise {"postgresql": asyncpg.InternalClientError("secret"), "bug": KeyError("secret")}[kind]

    add_error_handlers(
        app,
        http_error=lambda request, error: JSONResponse(f"http {error.detail}", error.status_code),
        invalid_fields=lambda request, fields: JSONResponse(f"invalid {fields}", 400),
        database_unavailable=lambda request, problem: JSONResponse(f"unavailable {problem}", 503),
        internal_error=lambda request: JSONResponse("bug", 500),
    )
    transport = httpx.ASGITransport(ResponseHeadersMiddleware(app, HEADERS), raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://test")


@pytest.mark.parametrize(
    ("path", "status", "body"),
    [
        ("/nowhere", 404, "http Not Found"),
        ("/numbers?first=one&second=2.5", 400, "invalid first, second"),
        ("/fail/postgresql", 503, "unavailable PostgreSQL does not answer: InternalClientError"),
        ("/fail/bug", 500, "bug"),
    ],
)
async def test_error_is_answered_with_all_headers_and_without_its_message(path: str, status: int, body: str) -> None:
    async with build_client(Health()) as client:
        response = await client.get(path)
    assert (response.status_code, response.json()) == (status, body)
    assert [response.headers[name.decode()] for name, _ in HEADERS] == ["nosniff", "no-store"]


async def test_header_set_by_a_response_is_kept() -> None:
    async with build_client(Health()) as client:
        response = await client.get("/cached")
    assert response.headers.get_list("cache-control") == ["max-age=60"]


async def test_health_routes_follow_the_process_health() -> None:
    health = Health()
    async with build_client(health) as client:
        starting = await client.get("/health/ready")
        health.problem = None
        ready, live, metrics = [await client.get(path) for path in ("/health/ready", "/health/live", "/metrics")]
    assert (starting.status_code, starting.json()) == (503, {"status": "starting"})
    assert (ready.status_code, ready.json(), live.json()) == (200, {"status": "ready"}, {"status": "live"})
    assert "moderation_build_info" in metrics.text


@pytest.mark.parametrize(
    ("trusted", "proxy", "seen"),
    [
        ("10.0.0.1", "10.0.0.1", ["203.0.113.9", "https"]),
        ("10.0.0.0/8", "10.1.2.3", ["203.0.113.9", "https"]),
        ("10.0.0.1", "192.0.2.1", ["192.0.2.1", "http"]),
        (None, "10.0.0.1", ["10.0.0.1", "http"]),
        (None, "127.0.0.1", ["127.0.0.1", "http"]),
    ],
)
async def test_forwarded_address_is_used_from_trusted_proxies_only(
    trusted: str | None, proxy: str, seen: list[str]
) -> None:
    app = FastAPI()

    @app.get("/")
    async def show(request: Request) -> list[str]:
        assert request.client is not None
        return [request.client.host, request.url.scheme]

    config = build_server_config(app, "127.0.0.1", 0, 1, trusted)
    config.load()
    transport = httpx.ASGITransport(config.loaded_app, client=(proxy, 1))
    forwarded = {"x-forwarded-for": "203.0.113.9", "x-forwarded-proto": "https"}
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        assert (await client.get("/", headers=forwarded)).json() == seen


def test_hsts_header_is_sent_if_the_public_url_is_https() -> None:
    assert transport_headers("https://a.example") == [(b"strict-transport-security", b"max-age=31536000")]
    assert transport_headers("http://a.example") == []
