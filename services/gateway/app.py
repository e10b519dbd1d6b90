"""The HTTP application: its parts, its routes, and the manners that every answer has."""

import asyncio
import contextlib
import logging
import time
import uuid
from collections.abc import AsyncIterator, MutableMapping
from typing import TYPE_CHECKING, Any

import asyncpg
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Lifespan, Receive, Scope, Send

from services.auth.jwks import Keys
from services.auth.signer import Signer
from services.auth.verifier import by_reason
from services.config import GatewaySettings
from services.eventlog.postgres import READER, Pool, pool, trouble
from services.eventlog.stream_reader import Reader
from services.gateway import agreement_routes, canvas_reads, canvas_writes, health_routes, service_routes
from services.gateway.authentication import Authentication
from services.gateway.command_client import Commands, Pending, pending
from services.gateway.command_producer import Sender
from services.gateway.dependencies import Parts
from services.gateway.metrics import METRICS
from services.gateway.openapi_docs import without_own_errors
from services.gateway.responses import NOT_FOUND, Refused, answer, unavailable
from services.gateway.state_cache import States
from services.gateway.state_document_cache import StateDocuments
from services.gateway.verdict_waiter import Verdicts
from services.kafka.topics import topic
from services.runtime.health import Health

if TYPE_CHECKING:
    from services.gateway.tracing import RequestTraces

LOGGER = logging.getLogger("gateway")
CONNECTIONS_MAX = 8
READ_SECONDS_MAX = 10
INTERNAL_ERROR = {"errors": [{"message": "An error occurred.", "error_code": "internal_server_error"}]}
ROUTERS = (
    canvas_reads.router,
    canvas_writes.router,
    service_routes.router,
    agreement_routes.router,
    health_routes.router,
)
ALWAYS = [
    (b"cache-control", b"max-age=0, private, must-revalidate"),
    (b"x-content-type-options", b"nosniff"),
]


class Manners:
    """Around every request: an id, the headers every answer has, and what the metrics count."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        state: dict[str, Any] = scope.setdefault("state", {})
        state["context_id"] = str(uuid.uuid4())
        begun, status = time.monotonic(), 500

        async def with_headers(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                own_headers = {"X-Request-Context-Id": state["context_id"], **state.get("allowance", {})}
                encoded = [(name.lower().encode(), text.encode()) for name, text in own_headers.items()]
                message["headers"] = [*message.get("headers", ()), *encoded, *ALWAYS]
            await send(message)

        try:
            await self.app(scope, receive, with_headers)
        finally:
            operation = getattr(scope.get("route"), "operation_id", None) or "other"
            METRICS.requests.labels(operation, str(status)).inc()
            METRICS.request_seconds.labels(operation).observe(time.monotonic() - begun)


def build(settings: GatewaySettings, keys: Keys) -> FastAPI:
    """The application; it connects when it starts, and serves also while PostgreSQL and Kafka are away."""
    signer = None if settings.command_key is None else Signer(settings.command_key)
    commands = topic(settings.topic_prefix, "commands")

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        connections = await pool(settings.url(), "gateway", READER, CONNECTIONS_MAX, READ_SECONDS_MAX)
        health = Health()
        sender = Sender(settings.kafka_bootstrap, commands, health)
        verdicts = Verdicts(settings.url(), commands, health)
        authentication = Authentication(keys, settings.requests_per_minute)
        reader = Reader(connections)
        app.state.parts = Parts(
            authentication=authentication,
            health=health,
            reader=reader,
            states=States(reader),
            documents=StateDocuments(),
            sender=sender,
            verdicts=verdicts,
            commands=Commands(
                sender, verdicts, signer, settings.verdict_wait_seconds, settings.gateway_url, traces_of(settings)
            ),
            commands_topic=commands,
            gateway_url=settings.gateway_url,
            lms_url=settings.lms_url,
        )
        tell(app.state.parts, connections)
        work = (sender.run(), verdicts.run(), keys.keep_current())
        running = [asyncio.create_task(each) for each in work]
        yield
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        connections.terminate()

    return application(lifespan)


def traces_of(settings: GatewaySettings) -> "RequestTraces | None":
    """Who tells of commands over HTTP; None where no collector is named."""
    if settings.otel_exporter_otlp_endpoint is None:
        return None
    # The SDK takes time and memory: only where it is asked for.
    from services.gateway.tracing import RequestTraces

    return RequestTraces()


def tell(parts: Parts, connections: Pool) -> None:
    """Let the metrics read what the parts know."""
    authentication, sender, verdicts = parts.authentication, parts.sender, parts.verdicts
    METRICS.auth_failures.read = lambda: by_reason(authentication.failures)
    METRICS.jwks_age.read = lambda: [((), authentication.keys.age())]
    METRICS.ready.read = lambda: [((), float(parts.problem() is None))]
    METRICS.server_up.labels("kafka").set_function(lambda: sender.problem is None)
    METRICS.server_up.labels("postgresql").set_function(lambda: verdicts.problem is None)
    METRICS.pool_in_use.read = lambda: [((), connections.get_size() - connections.get_idle_size())]
    METRICS.pool_size.read = lambda: [((), connections.get_max_size())]


def application(lifespan: Lifespan[FastAPI] | None = None) -> FastAPI:
    """The routes and the manners; ``lifespan`` gives it its parts."""
    app = FastAPI(
        title="Moderated Grading",
        version="1.0",
        description="Canvas's Moderated Grading API. Every write is a command on Kafka; reads fold the event log.",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    for router in ROUTERS:
        app.include_router(router)
    app.add_middleware(Manners)
    _answer_errors(app)
    document = without_own_errors(app.openapi())
    app.openapi = lambda: document  # type: ignore[method-assign]
    return app


def _allowed(request: Request) -> str:
    """All methods of a path; the router names those of the first route alone."""
    routes = (route for router in ROUTERS for route in router.routes if isinstance(route, Route))
    found = (route.methods or () for route in routes if route.matches(request.scope)[0] != Match.NONE)
    return ", ".join(sorted({method for methods in found for method in methods}))


def _answer_errors(app: FastAPI) -> None:
    @app.exception_handler(Refused)
    async def refused(request: Request, error: Refused) -> Response:
        return answer(request, error.body, error.status, error.headers)

    @app.exception_handler(Pending)
    async def no_verdict_yet(request: Request, error: Pending) -> Response:
        body, headers = pending(error)
        return answer(request, body, 202, headers)

    @app.exception_handler(HTTPException)
    async def no_such_page(request: Request, error: HTTPException) -> Response:
        body = NOT_FOUND if error.status_code == 404 else {"errors": [{"message": str(error.detail)}]}
        headers = {"Allow": _allowed(request)} if error.status_code == 405 else error.headers
        return answer(request, body, error.status_code, headers)

    @app.exception_handler(RequestValidationError)
    async def wrong_parameters(request: Request, error: RequestValidationError) -> Response:
        fields = ", ".join(sorted({str(detail["loc"][-1]) for detail in error.errors()}))
        return answer(request, {"message": f"cannot be used as they are: {fields}"}, 400)

    async def away(request: Request, error: Exception) -> Response:
        LOGGER.warning("%s", trouble(error))
        refused = unavailable("PostgreSQL does not answer")
        return answer(request, refused.body, refused.status, refused.headers)

    for kind in (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError):
        app.add_exception_handler(kind, away)

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> Response:
        return answer(request, INTERNAL_ERROR, 500)
