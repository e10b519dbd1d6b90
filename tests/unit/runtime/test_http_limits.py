"""Limits of requests: framing, size, type and time of the body, time of the head, grouping of addresses."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import uvicorn
from fastapi import FastAPI, Request

from services.runtime import http, http_limits
from services.runtime.http_limits import (
    HEAD_LINES_MAX,
    QUERY_FIELDS_MAX,
    HeadDeadlineProtocol,
    RequestLimitsMiddleware,
    address_key,
)

BYTES_MAX = 100
FORM = b"content-type: application/x-www-form-urlencoded\r\n"
Ask = Callable[..., Awaitable[bytes]]


class _Server(uvicorn.Server):
    def install_signal_handlers(self) -> None:
        pass


@pytest.fixture(scope="module")
async def ask() -> AsyncIterator[Ask]:
    """Return a function that sends parts of a request and reads until the server closes the connection."""
    app = FastAPI()

    @app.post("/")
    async def read(request: Request) -> int:
        return len(await request.body())

    limited = RequestLimitsMiddleware(app, BYTES_MAX, ["application/x-www-form-urlencoded"])
    config = uvicorn.Config(limited, port=0, http=HeadDeadlineProtocol, ws="none", log_config=None, lifespan="off",
                            timeout_keep_alive=0.2)  # type: ignore[arg-type]  # fmt: skip
    server = _Server(config)
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]

    async def send(*parts: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for part in parts:
            writer.write(part)
            await writer.drain()
        answer = await asyncio.wait_for(reader.read(), 20)
        writer.close()
        return answer

    with pytest.MonkeyPatch.context() as limits:
        limits.setattr(http_limits, "BODY_SECONDS_MAX", 0.2)
        limits.setattr(http_limits, "DISCARD_SECONDS_MAX", 0.2)
        yield send
    server.should_exit = True
    await task


@pytest.fixture
def _short_heads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_limits, "HEAD_SECONDS_MAX", 0.2)


def head(*lines: bytes, close: bool = True) -> bytes:
    return b"POST / HTTP/1.1\r\nhost: x\r\n" + (b"connection: close\r\n" if close else b"") + b"".join(lines) + b"\r\n"


@pytest.mark.parametrize(("fields", "status"), [(QUERY_FIELDS_MAX, 200), (QUERY_FIELDS_MAX + 1, 400), (12_000, 400)])
async def test_query_of_too_many_fields_is_refused_unparsed(fields: int, status: int, ask: Ask) -> None:
    answer = await ask(b"POST /?" + b"&".join([b"x"] * fields) + b" HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert (b"more than 500 fields" in answer) == (status == 400)


async def test_body_up_to_the_limit_is_read(ask: Ask) -> None:
    answer = await ask(head(FORM, b"content-length: 100\r\n"), b"x" * 100)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(b"100")


REFUSED_BODIES = [
    ([FORM, b"content-length: 101\r\n"], b"", 413),
    ([FORM, b"content-length: " + b"9" * 19 + b"\r\n"], b"", 413),
    ([FORM, b"transfer-encoding: chunked\r\n"], b"65\r\n" + b"x" * 101 + b"\r\n0\r\n\r\n", 413),
    ([b"content-type: multipart/form-data; boundary=x\r\n", b"content-length: 5\r\n"], b"--x--", 415),
    ([b"content-length: 1\r\n"], b"x", 415),
    ([FORM, b"content-length: 5\r\n"], b"1234", 408),
    ([FORM, b"transfer-encoding: chunked\r\n"], b"1\r\nx\r\n", 408),
    ([FORM, b"content-length: 5\r\n", b"transfer-encoding: chunked\r\n"], b"0\r\n\r\nGET / HTTP/1.1\r\n\r\n", 400),
]  # fmt: skip


@pytest.fixture(scope="module")
async def refusals(ask: Ask) -> list[bytes]:
    """The answers to all refused bodies, which the server waits for at the same time."""
    return await asyncio.gather(*(ask(head(*lines, close=False), body) for lines, body, _ in REFUSED_BODIES))


@pytest.mark.parametrize(("number", "status"), [(number, row[2]) for number, row in enumerate(REFUSED_BODIES)])
def test_refused_body_closes_the_connection(number: int, status: int, refusals: list[bytes]) -> None:
    answer = refusals[number]
    assert answer.startswith(b"HTTP/1.1 %d " % status), answer
    assert answer.count(b"HTTP/1.1") == 1
    assert b"connection: close" in answer.lower()


@pytest.mark.usefixtures("_short_heads")
@pytest.mark.parametrize("sent", [b"", b"POST / HTTP/1.1\r\nhost: x\r\n"])
async def test_connection_without_a_complete_head_is_closed_in_time(sent: bytes, ask: Ask) -> None:
    assert await ask(sent) == b""


async def test_request_head_with_too_many_lines_is_refused(ask: Ask) -> None:
    allowed = [b"x: 1\r\n"] * (HEAD_LINES_MAX - 10)
    assert (await ask(head(FORM, b"content-length: 30\r\n", *allowed), b"\n" * 30)).startswith(b"HTTP/1.1 200 ")
    half = b"x: 1\r\n" * HEAD_LINES_MAX
    for parts in ([head(half, half)], [b"POST / HTTP/1.1\r\n" + half, half]):
        assert (await ask(*parts)).startswith(b"HTTP/1.1 400 ")


@pytest.mark.usefixtures("_short_heads")
async def test_head_of_a_second_request_on_a_connection_is_limited_too(ask: Ask) -> None:
    answer = await ask(head(FORM, b"content-length: 1\r\n", close=False), b"x", b"POST / HTTP")
    assert answer.count(b"HTTP/1.1 200") == 1


@pytest.mark.parametrize(
    ("client", "key"),
    [
        (("203.0.113.9", 1), "203.0.113.9"),
        (("2001:db8:1:2:3:4:5:6", 1), "2001:db8:1:2::/64"),
        (("fe80::1%eth0", 1), "fe80::/64"),
        (None, "unknown"),
        (("socket", 0), "unknown"),
    ],
)
def test_addresses_are_grouped_by_subscriber(client: tuple[str, int] | None, key: str) -> None:
    assert address_key({"type": "http", "client": client}) == key


async def test_request_beyond_the_connections_is_refused_until_others_close(monkeypatch: pytest.MonkeyPatch) -> None:
    connections_max = 3
    monkeypatch.setattr(http, "CONNECTIONS_MAX", connections_max)
    server = _Server(http.build_server_config(FastAPI(), "127.0.0.1", 0, 1, None))
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]

    async def status() -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        answer = await asyncio.wait_for(reader.read(), 20)
        writer.close()
        return int(answer.split()[1])

    idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(connections_max)]
    while len(server.server_state.connections) < connections_max:
        await asyncio.sleep(0.01)
    refused = await status()
    for _, writer in idle:
        writer.close()
    while server.server_state.connections:
        await asyncio.sleep(0.01)
    answered = await status()
    server.should_exit = True
    await task

    assert (refused, answered) == (503, 404)
