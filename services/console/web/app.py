"""The HTTP application: its parts, its pages, and the manners that every answer has."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, MutableMapping
from functools import partial
from typing import Any
from urllib.parse import quote

import asyncpg
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse, Response
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Lifespan, Receive, Scope, Send

from services.auth.jwks import Keys
from services.auth.verifier import by_reason
from services.commands.authorization import Authority
from services.config import ConsoleSettings
from services.console.operator_service import Actions
from services.console.redriver import Redriver
from services.console.status_monitor import Watch
from services.console.topic_jobs import Checks, Replays
from services.console.web import action_pages, assignment_pages, auth_pages, failure_pages, status_page, topic_pages
from services.console.web.action_pages import KINDS
from services.console.web.dependencies import Parts
from services.console.web.metrics import METRICS, topics_lost
from services.console.web.sessions import Forbidden, NotSignedIn, Sessions
from services.console.web.templates import Rendering
from services.eventlog.postgres import OPERATOR, pool, trouble
from services.runtime.health import Health

LOGGER = logging.getLogger("console")
CONNECTIONS_MAX = 8
QUERY_SECONDS_MAX = 10
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self';"
    " base-uri 'none'; frame-ancestors 'none'"
)
ALWAYS = [
    (b"content-security-policy", POLICY.encode()),
    (b"referrer-policy", b"same-origin"),
    (b"x-content-type-options", b"nosniff"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
]


class Manners:
    """Around every request: the headers every answer has; nothing is kept by a browser unless it says so."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                given = message.get("headers", [])
                kept = [] if any(name == b"cache-control" for name, _ in given) else [(b"cache-control", b"no-store")]
                message["headers"] = [*given, *ALWAYS, *kept]
            await send(message)

        await self.app(scope, receive, with_headers)


def build(settings: ConsoleSettings, keys: Keys) -> ASGIApp:
    """The application; it connects when it starts, and serves also while PostgreSQL and Kafka are away."""

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        connections = await pool(settings.url(), "console", OPERATOR, CONNECTIONS_MAX, QUERY_SECONDS_MAX)
        health = Health()
        watch = Watch(connections, settings.kafka_bootstrap, settings.topic_prefix, health)
        secure = settings.console_url.startswith("https:")
        redriver = Redriver(settings.url(), settings.kafka_bootstrap, settings.topic_prefix)
        authority = Authority(keys) if settings.command_auth == "required" else None
        app.state.parts = Parts(
            settings=settings,
            health=health,
            sessions=Sessions(keys, secure=secure),
            rendering=Rendering(),
            pool=connections,
            watch=watch,
            actions=Actions(settings.url(), settings.kafka_bootstrap, redriver.commands, authority),
            redriver=redriver,
            checks=Checks(settings),
            replays=Replays(settings),
        )
        tell(app.state.parts)
        parts: Parts = app.state.parts
        works = {
            "watching": watch.run(),
            "redriving": redriver.run(),
            "replaying": parts.replays.resume(connections),
            "reading keys": keys.keep_current(),
        }
        running = [asyncio.create_task(work, name=name) for name, work in works.items()]
        for task in running:
            task.add_done_callback(partial(ended, health))
        yield
        parts.checks.stop()
        parts.replays.stop()
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        connections.terminate()

    # Outside of all, so that also what the framework answers by itself has the manners.
    return Manners(application(lifespan))


def ended(health: Health, task: "asyncio.Task[None]") -> None:
    """Say that a work of the console has ended by a defect: without it, pages only look well."""
    error = None if task.cancelled() else task.exception()
    if error is not None:
        LOGGER.error("%s has ended", task.get_name(), exc_info=error)
        health.say(task.get_name(), f"{task.get_name()} has ended by an error that the log names: restart the console")


def tell(parts: Parts) -> None:
    """Let the metrics read what the parts know."""
    METRICS.auth_failures.read = lambda: by_reason(parts.sessions.failures)
    METRICS.jwks_age.read = lambda: [((), parts.sessions.keys.age())]
    METRICS.ready.read = lambda: [((), float(parts.health.wrong() is None))]
    METRICS.server_up.labels("kafka").set_function(lambda: "kafka" not in parts.health.servers)
    METRICS.server_up.labels("postgresql").set_function(lambda: "postgresql" not in parts.health.servers)
    METRICS.clock_offset.labels("postgresql").set_function(lambda: parts.watch.clock.total_seconds())
    METRICS.pool_in_use.read = lambda: [((), parts.pool.get_size() - parts.pool.get_idle_size())]
    METRICS.pool_size.read = lambda: [((), parts.pool.get_max_size())]
    METRICS.topics_lost.read = lambda: topics_lost(parts.watch.now)
    METRICS.redrives_waiting.read = lambda: [((), float(parts.redriver.problem is not None))]
    for kind in (*KINDS, "replay"):
        METRICS.actions.labels(kind)


def application(lifespan: Lifespan[FastAPI]) -> FastAPI:
    """The pages and the manners; ``lifespan`` gives it its parts."""
    app = FastAPI(title="Moderated Grading console", docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    for router in (
        auth_pages.router,
        status_page.router,
        failure_pages.router,
        assignment_pages.router,
        topic_pages.router,
        action_pages.router,
    ):
        app.include_router(router)
    _answer_errors(app)
    return app


def _answer_errors(app: FastAPI) -> None:
    @app.exception_handler(NotSignedIn)
    async def not_signed_in(request: Request, error: NotSignedIn) -> Response:
        if request.url.path in ("/live", "/session"):
            return Response(status_code=204)  # It ends a browser's stream; a page in its place would not.
        if error.by_bearer or request.method != "GET":
            return _problem(request, 401, "Sign in first", str(error) or "Nothing was done.")
        path = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return RedirectResponse(f"/sign-in?next={quote(path, safe='/')}", 303)

    @app.exception_handler(Forbidden)
    async def forbidden(request: Request, error: Forbidden) -> Response:
        return _problem(request, 403, "Not allowed", str(error))

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> Response:
        title = "There is no such page" if error.status_code == 404 else "This cannot be done"
        detail = "" if error.detail == "Not Found" else str(error.detail)
        return _problem(request, error.status_code, title, detail)

    @app.exception_handler(RequestValidationError)
    async def wrong_fields(request: Request, error: RequestValidationError) -> Response:
        fields = ", ".join(sorted({str(detail["loc"][-1]) for detail in error.errors()}))
        return _problem(request, 400, "This cannot be done", f"cannot be used as they are: {fields}")

    async def away(request: Request, error: Exception) -> Response:
        LOGGER.warning("%s", trouble(error))
        return _problem(request, 503, "PostgreSQL does not answer", f"{trouble(error)}. Load the page again.")

    for kind in (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError):
        app.add_exception_handler(kind, away)

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> Response:
        return _problem(request, 500, "The console made a mistake", "Its log says which.")


def _problem(request: Request, status: int, title: str, detail: str) -> Response:
    rendering: Rendering = request.app.state.parts.rendering
    return rendering.page(request, "problem.html", status, title=title, detail=detail)
