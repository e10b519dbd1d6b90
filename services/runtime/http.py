"""Shared by the HTTP servers, gateway and console: response headers, error handlers, health routes, metrics."""

import logging
import signal
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from typing import Any, Protocol

import asyncpg
import uvicorn
from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from prometheus_client import CollectorRegistry
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from services.runtime.errors import POSTGRES_ERRORS, Server, describe_error
from services.runtime.health import Health, HealthAnswer, metrics_answer, status_answer
from services.runtime.http_limits import HeadDeadlineProtocol
from services.runtime.request_target import AbsoluteTargetMiddleware
from services.telemetry.metrics.process import HttpMetrics

LOGGER = logging.getLogger("http")
HEADER_BYTES_MAX = 32 << 10
KEEP_ALIVE_SECONDS = 30
CONNECTIONS_MAX = 2_000
"""Maximum number of concurrent connections or requests; more are answered with 503."""
HSTS_HEADER = (b"strict-transport-security", b"max-age=31536000")
Headers = Sequence[tuple[bytes, bytes]]


class ResponseHeadersMiddleware:
    """Adds headers to every response, including the framework's own; headers that a response sets itself are kept."""

    def __init__(self, app: ASGIApp, headers: Headers) -> None:
        self.app = app
        self.headers = headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                own_headers = message.get("headers", ())
                own_names = {name for name, _ in own_headers}
                message["headers"] = [*own_headers, *(header for header in self.headers if header[0] not in own_names)]
            await send(message)

        await self.app(scope, receive, send_with_headers)


class HeadMiddleware:
    """Answers ``HEAD`` with the status and headers of ``GET`` (RFC 9110, 9.3.2); the routes only know ``GET``."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self.app(scope, receive, send)
            return

        async def send_without_body(message: MutableMapping[str, Any]) -> None:
            # End the response at once, so that an endless stream does not keep the connection.
            if message["type"] == "http.response.start":
                await send(message)
                await send({"type": "http.response.body", "body": b""})

        await self.app({**scope, "method": "GET"}, receive, send_without_body)


def add_error_handlers(
    app: FastAPI,
    *,
    http_error: Callable[[Request, HTTPException], Response],
    invalid_fields: Callable[[Request, str], Response],
    database_unavailable: Callable[[Request, str], Response],
    internal_error: Callable[[Request], Response],
) -> None:
    """Add handlers for errors that no route handles; the application answers them as JSON or as a page.

    ``invalid_fields`` receives the names of the parameters that cannot be parsed, ``database_unavailable`` a sentence
    about PostgreSQL's problem; ``internal_error`` answers an exception that the server logs.
    """

    @app.exception_handler(HTTPException)
    async def handle_http_error(request: Request, error: HTTPException) -> Response:
        return http_error(request, error)

    @app.exception_handler(RequestValidationError)
    async def handle_validation_error(request: Request, error: RequestValidationError) -> Response:
        return invalid_fields(request, ", ".join(sorted({str(detail["loc"][-1]) for detail in error.errors()})))

    async def handle_database_error(request: Request, error: Exception) -> Response:
        problem = describe_error(error, "postgresql")
        LOGGER.warning("%s", problem)
        return database_unavailable(request, problem)

    for error_type in POSTGRES_ERRORS:
        app.add_exception_handler(error_type, handle_database_error)

    @app.exception_handler(Exception)
    async def handle_unexpected_error(request: Request, error: Exception) -> Response:
        return internal_error(request)


class ProcessState(Protocol):
    """The part of ``app.state.dependencies`` that the health routes read."""

    @property
    def health(self) -> Health:
        """The loops' heartbeats."""

    def not_ready_reason(self) -> str | None:
        """Return why requests cannot be answered now; None while they can."""


class StateHealth:
    """The health of an application, for a port of its own."""

    def __init__(self, state: ProcessState) -> None:
        self.state = state

    def not_live_reason(self) -> str | None:
        """Return the loops that are stuck, None if there are none."""
        return self.state.health.not_live_reason()

    def not_ready_reason(self) -> str | None:
        """Return why requests cannot be answered now, None while they can."""
        return self.state.not_ready_reason()


def build_health_router(registry: CollectorRegistry) -> APIRouter:
    """Build the routes for supervisors and Prometheus: ``/health/live``, ``/health/ready``, ``/metrics``."""
    router = APIRouter(include_in_schema=False)

    @router.get("/health/live")
    async def live(request: Request) -> Response:
        state: ProcessState = request.app.state.dependencies
        return _to_response(status_answer(state.health.not_live_reason(), "live"))

    @router.get("/health/ready")
    async def ready(request: Request) -> Response:
        state: ProcessState = request.app.state.dependencies
        return _to_response(status_answer(state.not_ready_reason(), "ready"))

    @router.get("/metrics")
    async def metrics() -> Response:
        return _to_response(metrics_answer(registry))

    return router


def _to_response(answer: HealthAnswer) -> Response:
    status, content_type, body = answer
    return Response(body, status, media_type=content_type)


def bind_http_metrics(
    metrics: HttpMetrics,
    state: ProcessState,
    pool: "asyncpg.Pool[asyncpg.Record]",
    is_up: Mapping[Server, Callable[[], bool]],
) -> None:
    """Bind the common HTTP metrics, so that each scrape reads readiness, servers and connections."""
    metrics.ready.callback = lambda: [((), float(state.not_ready_reason() is None))]
    for server, is_server_up in is_up.items():
        metrics.server_up.labels(server).set_function(is_server_up)
    metrics.pool_in_use.callback = lambda: [((), pool.get_size() - pool.get_idle_size())]
    metrics.pool_size.callback = lambda: [((), pool.get_max_size())]


def transport_headers(url: str) -> Headers:
    """Return the headers that make browsers use only TLS, if the public ``url`` is https."""
    return [HSTS_HEADER] if url.startswith("https:") else []


async def serve_http(
    app: ASGIApp, host: str, port: int, drain_seconds: int, forwarded_allow_ips: str | None = None
) -> None:
    """Serve until SIGTERM or SIGINT; requests in progress then have ``drain_seconds`` to finish."""
    config = build_server_config(app, host, port, drain_seconds, forwarded_allow_ips)
    # uvicorn raises the signal again after it has shut down, so the process would not exit with 0.
    signal.signal(signal.SIGTERM, lambda *_: None)
    await uvicorn.Server(config).serve()


def build_server_config(
    app: ASGIApp, host: str, port: int, drain_seconds: int, forwarded_allow_ips: str | None
) -> uvicorn.Config:
    """Build the server's settings and limits.

    ``forwarded_allow_ips``: the proxies whose X-Forwarded-For and X-Forwarded-Proto are trusted.
    """
    return uvicorn.Config(
        AbsoluteTargetMiddleware(app),
        host=host,
        port=port,
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=forwarded_allow_ips is not None,
        forwarded_allow_ips=forwarded_allow_ips or "",
        http=HeadDeadlineProtocol,
        ws="none",
        limit_concurrency=CONNECTIONS_MAX,
        h11_max_incomplete_event_size=HEADER_BYTES_MAX,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=drain_seconds,
    )
