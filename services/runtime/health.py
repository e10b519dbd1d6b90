"""``/health/live``, ``/health/ready`` and ``/metrics`` of a process: for its supervisor and Prometheus."""

import asyncio
import contextlib
import json
import time
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from typing import Any

import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

Message = MutableMapping[str, Any]
LOOP_SECONDS_MAX = 25.0
JSON = b"application/json"


class Health:
    """What a process says of itself.

    Ready: nothing is wrong. ``problem``: what is wrong with the process itself; ``parts``: with a part of it by name;
    ``servers``: with a server that it needs. Live: every loop gives a sign in time, with each turn and, within a turn,
    with each question to a server and its answer; while a server is away none has to, because a restart would not bring
    the server back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.problem: str | None = "starting"
        self.parts: dict[str, str] = {}
        self.servers: dict[str, str] = {}
        self._due: dict[str, float] = {}

    def say(self, part: str, problem: str | None) -> None:
        """What is wrong with a part, or that nothing is."""
        if problem is None:
            self.parts.pop(part, None)
        else:
            self.parts[part] = problem

    def server(self, name: str, problem: str | None) -> None:
        """What is wrong with a server, or that it answers: the loops that waited for it then have their time again."""
        if problem is not None:
            self.servers[name] = problem
        elif self.servers.pop(name, None) is not None:
            again = self.clock() + LOOP_SECONDS_MAX
            self._due = {loop: max(due, again) for loop, due in self._due.items()}

    def wrong(self) -> str | None:
        """Why the process is not ready, None when it is."""
        found = [self.problem, *self.servers.values(), *self.parts.values()]
        return "; ".join(dict.fromkeys(problem for problem in found if problem is not None)) or None

    def beat(self, loop: str, seconds: float = LOOP_SECONDS_MAX) -> None:
        """A loop gives a sign, and unless it is stuck gives the next one within so many seconds."""
        self._due[loop] = self.clock() + seconds

    def stuck(self) -> str | None:
        """Loops that should have given another sign by now, None when there are none."""
        now = self.clock()
        late = sorted(loop for loop, due in self._due.items() if due < now)
        return f"stuck: {', '.join(late)}" if late and not self.servers else None


class Pages:
    """The ASGI application of a process that serves nothing else."""

    def __init__(self, health: Health, registry: CollectorRegistry) -> None:
        self.health = health
        self.registry = registry

    async def __call__(
        self, scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
    ) -> None:
        """Answer 200, or 503 with the reason."""
        status, kind, body = self._page(scope["path"])
        headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def _page(self, path: str) -> tuple[int, bytes, bytes]:
        match path:
            case "/health/live":
                return _judged(self.health.stuck(), "live")
            case "/health/ready":
                return _judged(self.health.wrong(), "ready")
            case "/metrics":
                return 200, CONTENT_TYPE_LATEST.encode(), generate_latest(self.registry)
        return 404, JSON, json.dumps({"status": "no such page"}).encode()


def _judged(problem: str | None, well: str) -> tuple[int, bytes, bytes]:
    return (200 if problem is None else 503), JSON, json.dumps({"status": problem or well}).encode()


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: the process's own loop decides when to stop."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextlib.asynccontextmanager
async def serving(health: Health, registry: CollectorRegistry, host: str, port: int) -> Any:
    """Serve the pages while the block runs; port 0 serves nothing."""
    if port == 0:
        yield
        return
    config = uvicorn.Config(
        Pages(health, registry),
        host=host,
        port=port,
        log_config=None,
        log_level="warning",
        lifespan="off",
        access_log=False,
    )
    server = _Server(config)
    task = asyncio.create_task(server.serve())
    try:
        yield
    finally:
        server.should_exit = True
        await task
