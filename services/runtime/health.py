"""The endpoints ``/health/live``, ``/health/ready`` and ``/metrics``, for supervisors and Prometheus."""

import asyncio
import contextlib
import json
import time
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from typing import Any, Protocol

import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

AsgiMessage = MutableMapping[str, Any]
HealthAnswer = tuple[int, str, bytes]
"""Status, content type and body."""
HEARTBEAT_SECONDS_MAX = 25.0
JSON_CONTENT_TYPE = "application/json"


class Health:
    """Liveness and readiness of a process.

    It is ready if it has no ``problem``, and no component or required server has one. It is live while every loop sends
    its heartbeats in time: one for each iteration, and one before and after each query. While a server is down, no
    heartbeats are required, because a restart would not bring the server back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.problem: str | None = "starting"
        self.component_problems: dict[str, str] = {}
        self.server_problems: dict[str, str] = {}
        self._heartbeat_due: dict[str, float] = {}

    def set_component_problem(self, component: str, problem: str | None) -> None:
        """Set or clear (None) the problem of a component."""
        if problem is None:
            self.component_problems.pop(component, None)
        else:
            self.component_problems[component] = problem

    def set_server_problem(self, server: str, problem: str | None) -> None:
        """Set or clear (None) the problem of a server. Clearing it renews the deadline of every loop."""
        if problem is not None:
            self.server_problems[server] = problem
        elif self.server_problems.pop(server, None) is not None:
            next_due = self.clock() + HEARTBEAT_SECONDS_MAX
            self._heartbeat_due = {loop: max(due, next_due) for loop, due in self._heartbeat_due.items()}

    def not_ready_reason(self) -> str | None:
        """Return why the process is not ready, None if it is."""
        problems = [self.problem, *self.server_problems.values(), *self.component_problems.values()]
        return "; ".join(dict.fromkeys(problem for problem in problems if problem is not None)) or None

    def heartbeat(self, loop: str, seconds: float = HEARTBEAT_SECONDS_MAX) -> None:
        """Record that a loop is alive; its next heartbeat is due within ``seconds``."""
        self._heartbeat_due[loop] = self.clock() + seconds

    def forget(self, loop: str) -> None:
        """Expect no more heartbeats of a loop, which has ended as it should."""
        self._heartbeat_due.pop(loop, None)

    def not_live_reason(self) -> str | None:
        """Return the loops whose heartbeat is overdue, None if there are none."""
        now = self.clock()
        stalled = sorted(loop for loop, due in self._heartbeat_due.items() if due < now)
        return f"stuck: {', '.join(stalled)}" if stalled and not self.server_problems else None


class HealthStatus(Protocol):
    """The state of a process that the endpoints read."""

    def not_live_reason(self) -> str | None:
        """Return why the process must be restarted; None while it is live."""

    def not_ready_reason(self) -> str | None:
        """Return why the process does not work now; None while it is ready."""


class HealthApp:
    """ASGI application of the endpoints, for a process that serves nothing else on that port."""

    def __init__(self, health: HealthStatus, registry: CollectorRegistry) -> None:
        self.health = health
        self.registry = registry

    async def __call__(
        self,
        scope: AsgiMessage,
        receive: Callable[[], Awaitable[AsgiMessage]],
        send: Callable[[AsgiMessage], Awaitable[None]],
    ) -> None:
        """Answer 200, or 503 with the reason."""
        status, content_type, body = self._respond(scope["path"])
        headers = [(b"content-type", content_type.encode()), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def _respond(self, path: str) -> HealthAnswer:
        match path:
            case "/health/live":
                return status_answer(self.health.not_live_reason(), "live")
            case "/health/ready":
                return status_answer(self.health.not_ready_reason(), "ready")
            case "/metrics":
                return metrics_answer(self.registry)
        return 404, JSON_CONTENT_TYPE, json.dumps({"status": "no such page"}).encode()


def status_answer(problem: str | None, healthy_status: str) -> HealthAnswer:
    """Answer 200 with the healthy status, or 503 with the problem."""
    body = json.dumps({"status": problem or healthy_status}).encode()
    return 200 if problem is None else 503, JSON_CONTENT_TYPE, body


def metrics_answer(registry: CollectorRegistry) -> HealthAnswer:
    """Answer with the metrics in Prometheus's text format."""
    return 200, CONTENT_TYPE_LATEST, generate_latest(registry)


class _ServerWithoutSignalHandlers(uvicorn.Server):
    """A uvicorn server without signal handlers: the process decides when to stop."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextlib.asynccontextmanager
async def serve_health(health: HealthStatus, registry: CollectorRegistry, host: str, port: int) -> Any:
    """Serve the endpoints while the block runs; port 0 serves nothing."""
    if port == 0:
        yield
        return
    config = uvicorn.Config(
        HealthApp(health, registry),
        host=host,
        port=port,
        log_config=None,
        log_level="warning",
        lifespan="off",
        access_log=False,
    )
    server = _ServerWithoutSignalHandlers(config)
    task = asyncio.create_task(server.serve())
    try:
        yield
    finally:
        server.should_exit = True
        await task
