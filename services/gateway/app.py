"""The HTTP application: its dependencies, routes, middleware and error handlers."""

import asyncio
import contextlib
import logging
import time
import uuid
from collections.abc import AsyncIterator, Callable, MutableMapping
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from starlette.types import ASGIApp, Lifespan, Receive, Scope, Send

from services.auth.jwks import JwkSet
from services.auth.signer import TokenSigner
from services.auth.token_rules import TokenRules
from services.auth.verifier import failure_counts
from services.config.gateway import GatewaySettings
from services.eventlog.postgres import READER, Pool, create_pool
from services.eventlog.stream_reader import StreamReader
from services.gateway import (
    adjudication_routes,
    agreement_routes,
    allocation_routes,
    canvas_grading,
    canvas_moderation,
    canvas_reads,
    course_routes,
    docs_page,
    explanation_routes,
    publication_routes,
    revision_routes,
    sampling_routes,
    service_routes,
)
from services.gateway.authentication import Authentication
from services.gateway.command_client import CommandClient
from services.gateway.command_producer import CommandProducer
from services.gateway.dependencies import Dependencies
from services.gateway.error_handlers import add_gateway_error_handlers
from services.gateway.metrics import METRICS
from services.gateway.openapi_document import read_document
from services.gateway.pending_places import PendingPlaces
from services.gateway.rails_params import BODY_BYTES_MAX
from services.gateway.rails_paths import RailsPathMiddleware
from services.gateway.state_cache import StateCache
from services.gateway.state_document_cache import StateDocumentCache
from services.gateway.verdict_waiter import VerdictWaiter
from services.kafka.topics import full_topic_name
from services.runtime.access_log import AccessLogMiddleware
from services.runtime.background_tasks import run_in_background
from services.runtime.errors import Server
from services.runtime.health import Health, serve_health
from services.runtime.http import (
    Headers,
    HeadMiddleware,
    ResponseHeadersMiddleware,
    StateHealth,
    bind_http_metrics,
    build_health_router,
    transport_headers,
)
from services.runtime.http_limits import RequestLimitsMiddleware

if TYPE_CHECKING:
    from services.gateway.tracing import RequestTraces

LOGGER = logging.getLogger("gateway")
CONNECTIONS_MAX = 8
READ_SECONDS_MAX = 10
API_ROUTERS = (
    canvas_reads.router,
    canvas_moderation.router,
    canvas_grading.router,
    course_routes.router,
    service_routes.router,
    agreement_routes.router,
    publication_routes.router,
    adjudication_routes.router,
    revision_routes.router,
    sampling_routes.router,
    allocation_routes.router,
    explanation_routes.router,
    docs_page.router,
)
HEALTH_ROUTER = build_health_router(METRICS.registry)
COMMON_HEADERS = [
    # Responses hold marks: no browser or proxy may store them.
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
]


class RequestContextMiddleware:
    """Gives every request an id and counts it; the response carries the id and the caller's rate limit."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        state: dict[str, Any] = scope.setdefault("state", {})
        state["context_id"] = str(uuid.uuid4())
        started_at, status = time.monotonic(), 500

        async def send_with_headers(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                response_headers = {"X-Request-Context-Id": state["context_id"], **state.get("rate_limit_headers", {})}
                encoded_headers = [(name.lower().encode(), text.encode()) for name, text in response_headers.items()]
                message["headers"] = [*message.get("headers", ()), *encoded_headers]
            await send(message)

        try:
            await self.app(scope, receive, send_with_headers)
        finally:
            operation = getattr(scope.get("route"), "operation_id", None) or "other"
            METRICS.requests.labels(operation, str(status)).inc()
            METRICS.request_seconds.labels(operation).observe(time.monotonic() - started_at)


def build_app(settings: GatewaySettings, keys: JwkSet) -> FastAPI:
    """Build the application. It connects at start-up and keeps serving while PostgreSQL or Kafka is down."""
    signer = None if settings.command_key is None else TokenSigner(settings.command_key)
    commands_topic = full_topic_name(settings.topic_prefix, "commands")

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        connection_pool = await create_pool(settings.url(), "gateway", READER, CONNECTIONS_MAX, READ_SECONDS_MAX)
        health = Health()
        command_producer = CommandProducer(settings.kafka_bootstrap, commands_topic, health)
        verdict_waiter = VerdictWaiter(settings.url(), commands_topic, health)
        rules = TokenRules.of(settings)
        authentication = Authentication(
            keys,
            settings.requests_per_minute,
            settings.live_events_shard,
            rules,
            unauthenticated_per_minute=settings.unauthenticated_requests_per_minute,
        )
        reader = StreamReader(connection_pool, asyncio.Semaphore(CONNECTIONS_MAX))
        pending_places = PendingPlaces(connection_pool)
        app.state.dependencies = Dependencies(
            authentication=authentication,
            health=health,
            reader=reader,
            state_cache=StateCache(reader, settings.gateway_cache_mib << 20),
            document_cache=StateDocumentCache(),
            producer=command_producer,
            verdict_waiter=verdict_waiter,
            command_client=CommandClient(
                command_producer,
                verdict_waiter,
                pending_places,
                signer,
                settings.verdict_wait_seconds,
                settings.gateway_url,
                create_request_traces(settings),
                rules.own_claims(),
            ),
            pending_places=pending_places,
            commands_topic=commands_topic,
            gateway_url=settings.gateway_url,
            lms_url=settings.lms_url,
            live_events_shard=settings.live_events_shard,
        )
        bind_metrics(app.state.dependencies, connection_pool)
        background = {
            "sending commands": command_producer.run,
            "reading verdicts": verdict_waiter.run,
            "reading keys": keys.keep_current,
        }
        own_port = serve_health(
            StateHealth(app.state.dependencies), METRICS.registry, settings.health_host, settings.separate_health_port
        )
        async with run_in_background(health, background), own_port:
            yield
        connection_pool.terminate()

    return create_fastapi_app(
        lifespan,
        [*COMMON_HEADERS, *transport_headers(settings.gateway_url)],
        with_health=settings.separate_health_port == 0,
    )


def create_request_traces(settings: GatewaySettings) -> "RequestTraces | None":
    """Create the tracer of commands over HTTP; None if no collector is configured."""
    if settings.otel_exporter_otlp_endpoint is None:
        return None
    # Imported only if it is used: the SDK costs time and memory.
    from services.gateway.tracing import RequestTraces

    return RequestTraces()


def bind_metrics(dependencies: Dependencies, connection_pool: Pool) -> None:
    """Let the metrics read the dependencies' state at each scrape."""
    authentication, command_producer, verdict_waiter = (
        dependencies.authentication,
        dependencies.producer,
        dependencies.verdict_waiter,
    )
    METRICS.auth_failures.callback = lambda: failure_counts(authentication.failures)
    METRICS.jwks_age.callback = lambda: [((), authentication.keys.age())]
    is_up: dict[Server, Callable[[], bool]] = {
        "kafka": lambda: command_producer.problem is None,
        "postgresql": lambda: verdict_waiter.problem is None,
    }
    bind_http_metrics(METRICS, dependencies, connection_pool, is_up)


def create_fastapi_app(
    lifespan: Lifespan[FastAPI] | None = None, headers: Headers = COMMON_HEADERS, *, with_health: bool = True
) -> FastAPI:
    """Build the routes, middleware and error handlers; ``lifespan`` sets ``app.state.dependencies``.

    ``headers`` are added to every response. Without ``with_health`` the health endpoints have a port of their own.
    """
    app = FastAPI(
        title="Moderated Grading",
        version="1.0",
        description="Canvas's Moderated Grading API. Every write is a command on Kafka; reads fold the event log.",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
    )
    routers = (*API_ROUTERS, HEALTH_ROUTER) if with_health else API_ROUTERS
    for router in routers:
        app.include_router(router)
    app.add_middleware(RequestLimitsMiddleware, body_bytes_max=BODY_BYTES_MAX)
    # Innermost: the other middlewares give the routes a copy of the request.
    app.add_middleware(AccessLogMiddleware, shows_records=lambda template: "/assignments/" in template)
    app.add_middleware(RequestContextMiddleware)
    app.add_middleware(ResponseHeadersMiddleware, headers=headers)
    app.add_middleware(RailsPathMiddleware)
    app.add_middleware(HeadMiddleware)
    add_gateway_error_handlers(app, routers)
    app.openapi = read_document  # type: ignore[method-assign]
    return app
