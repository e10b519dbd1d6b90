"""Request targets in absolute form, as clients send them to proxies and when they follow a link."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from services.runtime.http import build_server_config


async def show(request: Request) -> Response:
    raw_path: bytes = request.scope["raw_path"]
    return PlainTextResponse(f"{request.path_params['path']} of {raw_path.decode()} with {request.url.query}")


@pytest.fixture(scope="module")
async def address() -> AsyncIterator[tuple[str, int]]:
    """Serve the route, and return host and port."""
    app = Starlette(routes=[Route("/{path:path}", show)])
    server = uvicorn.Server(build_server_config(app, "127.0.0.1", 0, 1, None))
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    yield server.servers[0].sockets[0].getsockname()
    server.should_exit = True
    await task


@pytest.mark.parametrize(
    ("target", "answer"),
    [
        ("/a%2Fb?page=2", "a/b of /a%2Fb with page=2"),
        ("http://other.example:8080/a%2Fb?page=2", "a/b of /a%2Fb with page=2"),
        ("HTTPS://other.example/http://x/", "http://x/ of /http://x/ with "),
        ("http://other.example", " of / with "),
    ],
)
async def test_target_in_absolute_form_is_the_path_without_its_host(
    target: str, answer: str, address: tuple[str, int]
) -> None:
    reader, writer = await asyncio.open_connection(*address)
    writer.write(f"GET {target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode())
    head, _, body = (await asyncio.wait_for(reader.read(), 20)).partition(b"\r\n\r\n")
    writer.close()
    assert (head.split(b" ")[1], body.decode()) == (b"200", answer)
