"""``GET /health/live`` and ``/health/ready`` of a process, for its supervisor."""

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from typing import Any

import uvicorn

Message = MutableMapping[str, Any]


class Health:
    """What a process says of itself. ``problem``: why it is not ready, None when it is."""

    def __init__(self) -> None:
        self.problem: str | None = "starting"

    async def __call__(
        self, scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
    ) -> None:
        """Answer 200, or 503 with the reason."""
        status, body = 404, "no such page"
        if scope["path"] == "/health/live":
            status, body = 200, "live"
        elif scope["path"] == "/health/ready":
            status, body = (200, "ready") if self.problem is None else (503, self.problem)
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": json.dumps({"status": body}).encode()})


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: the process's own loop decides when to stop."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextlib.asynccontextmanager
async def serving(health: Health, port: int) -> Any:
    """Serve ``health`` on 127.0.0.1 while the block runs; port 0 serves nothing."""
    if port == 0:
        yield
        return
    config = uvicorn.Config(health, host="127.0.0.1", port=port, log_level="warning", lifespan="off", access_log=False)
    server = _Server(config)
    task = asyncio.create_task(server.serve())
    try:
        yield
    finally:
        server.should_exit = True
        await task
