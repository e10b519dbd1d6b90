"""The console's HTTP application: dependencies, pages, error pages, metrics."""

import contextlib
import functools
from collections.abc import AsyncIterator, Callable
from urllib.parse import quote

from fastapi import FastAPI, Request
from fastapi.responses import RedirectResponse, Response
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Lifespan

from services.auth.jwks import JwkSet
from services.auth.token_rules import TokenRules
from services.auth.verifier import failure_counts
from services.commands.authorization import CommandAuthorizer
from services.config.console import ConsoleSettings
from services.console.operator_service import OperatorService
from services.console.reader_groups import ReaderGroups
from services.console.redriver import Redriver
from services.console.replay_jobs import ReplayJobs
from services.console.status_monitor import StatusMonitor
from services.console.verification_jobs import VerificationJobs
from services.console.web import (
    action_pages,
    adjudication_page,
    assignment_pages,
    audit_pages,
    auth_pages,
    command_pages,
    explanation_page,
    failure_pages,
    moderation_home,
    moderation_watch,
    publication_pages,
    runbook_pages,
    search_page,
    status_page,
    topic_pages,
)
from services.console.web.action_pages import ACTION_KINDS
from services.console.web.dependencies import Dependencies
from services.console.web.metrics import METRICS, foreign_records, topics_lost
from services.console.web.openid import OpenIdProvider
from services.console.web.sessions import BACKGROUND_PATHS, Sessions
from services.console.web.signed_in_user import Forbidden, NotSignedIn
from services.console.web.templates import Templates
from services.eventlog.postgres import OPERATOR, create_pool
from services.runtime.access_log import AccessLogMiddleware
from services.runtime.background_tasks import StartTask, run_in_background
from services.runtime.errors import Server
from services.runtime.health import Health, serve_health
from services.runtime.http import (
    HeadMiddleware,
    ResponseHeadersMiddleware,
    StateHealth,
    add_error_handlers,
    bind_http_metrics,
    build_health_router,
    transport_headers,
)
from services.runtime.http_limits import RequestLimitsMiddleware

CONNECTIONS_MAX = 8
FORM_BYTES_MAX = 16 << 10
FORM_MEDIA_TYPES = ("application/x-www-form-urlencoded",)
"""Forms hold only texts, no files."""
QUERY_TIMEOUT_SECONDS = 10
HTTP_ERROR_TITLES = {404: "Page not found", 429: "Too many requests", 503: "Unavailable"}
INTERNAL_ERROR = "The console's log has the details. If you submitted a form, check Actions before you submit it again."
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self';"
    " base-uri 'none'; frame-ancestors 'none'"
)
RESPONSE_HEADERS = [
    (b"content-security-policy", CONTENT_SECURITY_POLICY.encode()),
    (b"referrer-policy", b"same-origin"),
    (b"x-content-type-options", b"nosniff"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    # Browsers do not store a response unless it allows that.
    (b"cache-control", b"no-store"),
]


def build_app(settings: ConsoleSettings, keys: JwkSet) -> ASGIApp:
    """Build the application. It also serves pages while PostgreSQL or Kafka does not answer."""

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        connection_pool = await create_pool(settings.url(), "console", OPERATOR, CONNECTIONS_MAX, QUERY_TIMEOUT_SECONDS)
        health = Health()
        monitor = StatusMonitor(connection_pool, settings.kafka_bootstrap, settings.topic_prefix, health)
        redriver = Redriver(settings.url(), settings.kafka_bootstrap, settings.topic_prefix)
        rules = TokenRules.of(settings)
        authorizer = (
            None
            if settings.command_auth == "off"
            else CommandAuthorizer(
                keys, settings.live_events_shard, rules, requires_bound_tokens=settings.command_auth == "bound"
            )
        )
        app.state.dependencies = Dependencies(
            settings=settings,
            health=health,
            sessions=Sessions(
                keys,
                rules,
                settings.console_url,
                settings.console_idle_seconds,
                settings.unauthenticated_requests_per_minute,
                None if settings.console_openid_issuer is None else OpenIdProvider(settings),
                requests_per_minute=settings.requests_per_minute,
                live_events_shard=settings.live_events_shard,
            ),
            templates=Templates(),
            pool=connection_pool,
            monitor=monitor,
            operator_service=OperatorService(
                settings.url(),
                settings.kafka_bootstrap,
                redriver.commands_topic,
                authorizer,
                settings.live_events_shard,
            ),
            redriver=redriver,
            verification_jobs=(verification_jobs := VerificationJobs(settings)),
            replay_jobs=ReplayJobs(settings),
            reader_groups=ReaderGroups(settings.kafka_bootstrap, list(verification_jobs.jobs_by_topic)),
        )
        bind_metrics(app.state.dependencies)
        dependencies: Dependencies = app.state.dependencies
        background: dict[str, StartTask] = {
            "polling the status": monitor.run,
            "redriving": redriver.run,
            "replaying": functools.partial(dependencies.replay_jobs.resume, connection_pool),
            "reading keys": keys.keep_current,
        }
        own_port = serve_health(
            StateHealth(dependencies), METRICS.registry, settings.health_host, settings.separate_health_port
        )
        async with run_in_background(health, background), own_port:
            yield
            dependencies.verification_jobs.stop()
            dependencies.replay_jobs.stop()
        connection_pool.terminate()

    # Outermost, so that the framework's own responses get the headers too.
    logged_pages = AccessLogMiddleware(
        build_pages_app(lifespan, with_health=settings.separate_health_port == 0),
        shows_records=lambda template: template.startswith(("/assignments/", "/verdicts/")),
    )
    pages = RequestLimitsMiddleware(logged_pages, FORM_BYTES_MAX, FORM_MEDIA_TYPES)
    headers = [*RESPONSE_HEADERS, *transport_headers(settings.console_url)]
    return ResponseHeadersMiddleware(HeadMiddleware(pages), headers)


def bind_metrics(dependencies: Dependencies) -> None:
    """Connect the metrics to the objects whose values they expose."""
    METRICS.auth_failures.callback = lambda: failure_counts(dependencies.sessions.failure_counts)
    METRICS.jwks_age.callback = lambda: [((), dependencies.sessions.keys.age())]
    server_problems = dependencies.health.server_problems
    is_up: dict[Server, Callable[[], bool]] = {
        "kafka": lambda: "kafka" not in server_problems,
        "postgresql": lambda: "postgresql" not in server_problems,
    }
    bind_http_metrics(METRICS, dependencies, dependencies.pool, is_up)
    METRICS.clock_offset.labels("postgresql").set_function(lambda: dependencies.monitor.clock_offset.total_seconds())
    METRICS.topics_lost.callback = lambda: topics_lost(dependencies.monitor.status)
    METRICS.foreign_records.callback = lambda: foreign_records(dependencies.monitor.status)
    METRICS.redrives_waiting.callback = lambda: [((), float(dependencies.redriver.problem is not None))]
    for kind in (*ACTION_KINDS, "replay"):
        METRICS.actions.labels(kind)


def build_pages_app(lifespan: Lifespan[FastAPI], *, with_health: bool) -> FastAPI:
    """Build the pages and error pages; ``lifespan`` sets ``app.state.dependencies``.

    Without ``with_health`` the health endpoints have a port of their own.
    """
    app = FastAPI(title="Moderated Grading console", docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    for router in (
        auth_pages.router,
        *([build_health_router(METRICS.registry)] if with_health else []),
        status_page.router,
        failure_pages.router,
        assignment_pages.router,
        moderation_home.router,
        moderation_watch.router,
        publication_pages.router,
        adjudication_page.router,
        explanation_page.router,
        command_pages.router,
        topic_pages.router,
        action_pages.router,
        audit_pages.router,
        runbook_pages.router,
        search_page.router,
    ):
        app.include_router(router)
    _add_error_handlers(app)
    return app


def _add_error_handlers(app: FastAPI) -> None:
    @app.exception_handler(NotSignedIn)
    async def not_signed_in(request: Request, error: NotSignedIn) -> Response:
        if request.url.path.endswith(BACKGROUND_PATHS):
            return Response(status_code=204)  # 204 stops an EventSource; an error page would make it retry.
        if error.has_bearer_token or request.method != "GET":
            return _render_problem(
                request,
                401,
                "Sign in first",
                f"{error}. Nothing was changed." if str(error) else "Nothing was changed.",
            )
        path = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return RedirectResponse(f"/sign-in?next={quote(path, safe='/')}", 303)

    @app.exception_handler(Forbidden)
    async def forbidden(request: Request, error: Forbidden) -> Response:
        return _render_problem(request, 403, "Not allowed", str(error))

    add_error_handlers(
        app,
        http_error=_http_error,
        invalid_fields=lambda request, fields: _render_problem(
            request, 400, "Invalid request", f"These fields are missing or invalid: {fields}. Nothing was changed."
        ),
        database_unavailable=lambda request, problem: _render_problem(
            request, 503, "The log is unavailable", f"{problem}. Reload the page later."
        ),
        internal_error=lambda request: _render_problem(request, 500, "Internal error", INTERNAL_ERROR),
    )


def _http_error(request: Request, error: HTTPException) -> Response:
    title = HTTP_ERROR_TITLES.get(error.status_code, "Invalid request")
    detail = "" if error.detail == "Not Found" else str(error.detail)
    response = _render_problem(request, error.status_code, title, detail)
    response.headers.update(error.headers or {})
    return response


def _render_problem(request: Request, status: int, title: str, detail: str) -> Response:
    templates: Templates = request.app.state.dependencies.templates
    return templates.render_page(request, "problem.html", status, title=title, detail=detail)
