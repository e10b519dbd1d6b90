"""Limits that apply before a request is parsed: size and duration of head and body, framing, content type."""

import asyncio
import contextlib
from collections.abc import Collection
from ipaddress import ip_address, ip_network
from typing import Any

import h11
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS_MAX = 10.0
BODY_SECONDS_MAX = 30.0
DISCARDED_BYTES_MAX = 1 << 20
DISCARD_SECONDS_MAX = 2.0
"""How much of a refused body is still read: closing the connection while the client sends loses the response."""
HEAD_LINES_MAX = 200
QUERY_FIELDS_MAX = 500
IPV6_PREFIX_BITS = 64
"""An Internet subscriber usually has an IPv6 network of this size."""
CLOSE = {"connection": "close"}


class HeadDeadlineProtocol(H11Protocol):
    """Limits the duration and the lines of a request's head; uvicorn limits its bytes and the time between requests."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the timer of the first head."""
        super().connection_made(transport)
        self._head_timer: asyncio.TimerHandle | None = None
        self._head_lines = 0
        self._watch_head()

    def data_received(self, data: bytes) -> None:
        """Handle received bytes; start the timer when a head begins, stop it when the head ends."""
        if self.conn.their_state is h11.IDLE:
            # Count lines before they are parsed, because parsing is expensive.
            self._head_lines += data.partition(b"\r\n\r\n")[0].count(b"\n")
            if self._head_lines > HEAD_LINES_MAX:
                self.send_400_response(f"Send at most {HEAD_LINES_MAX} header lines.")
                return
        super().data_received(data)
        self._watch_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timer."""
        self._stop_timer()
        super().connection_lost(exc)

    def _watch_head(self) -> None:
        if self.conn.their_state is not h11.IDLE:
            self._head_lines = 0
            self._stop_timer()
        elif self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_SECONDS_MAX, self.transport.close)

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None


class RequestLimitsMiddleware:
    """Refuses bodies that are too large, too slow, of another type, or framed twice, and closes the connection.

    Refuses queries of too many fields before they are parsed, which is the costliest step of a long request.
    ``media_types``: the types that a body may have; None: any.
    """

    def __init__(self, app: ASGIApp, body_bytes_max: int, media_types: Collection[str] | None = None) -> None:
        self.app = app
        self.body_bytes_max = body_bytes_max
        self.media_types = media_types

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if "content-length" in headers and "transfer-encoding" in headers:
            # RFC 9112, 6.1: such a message may be an attempt to smuggle a second request.
            problem = "send either Content-Length or Transfer-Encoding"
            await PlainTextResponse(problem, 400, CLOSE)(scope, receive, send)
            return
        if scope["query_string"].count(b"&") >= QUERY_FIELDS_MAX:
            problem = f"the query has more than {QUERY_FIELDS_MAX} fields"
            await JSONResponse({"message": problem}, 400)(scope, receive, send)
            return
        await self.app(scope, _LimitedBody(receive, headers, self).receive, send)


class _LimitedBody:
    """The body of one request. Raises violations when the application reads it, so that the application responds."""

    def __init__(self, receive: Receive, headers: Headers, limits: RequestLimitsMiddleware) -> None:
        self._receive = receive
        self._headers = headers
        self._limits = limits
        self._deadline = asyncio.get_running_loop().time() + BODY_SECONDS_MAX
        self._bytes = 0
        self._is_complete = False

    async def receive(self) -> Message:
        """Return the next part. Raises HTTPException: 408, 413 or 415."""
        if self._is_complete:
            return await self._receive()
        if not self._bytes and (refusal := self._check_headers()) is not None:
            await self._discard()
            raise refusal
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
        except TimeoutError:
            raise HTTPException(408, f"the body took more than {BODY_SECONDS_MAX:g} s", CLOSE) from None
        self._bytes += len(message.get("body", b""))
        if self._bytes > self._limits.body_bytes_max:
            await self._discard()
            raise self._too_large()
        self._is_complete = not message.get("more_body", False)
        return message

    def _check_headers(self) -> HTTPException | None:
        length = self._headers.get("content-length", "0")
        if length.isdecimal() and int(length[:20]) > self._limits.body_bytes_max:
            return self._too_large()
        has_body = length != "0" or "transfer-encoding" in self._headers
        media_type = self._headers.get("content-type", "").partition(";")[0].strip().lower()
        if has_body and self._limits.media_types is not None and media_type not in self._limits.media_types:
            return HTTPException(415, f"send the body as {' or '.join(self._limits.media_types)}", CLOSE)
        return None

    async def _discard(self) -> None:
        discarded_bytes, is_complete = 0, False
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DISCARD_SECONDS_MAX):
                while not is_complete and discarded_bytes < DISCARDED_BYTES_MAX:
                    message = await self._receive()
                    discarded_bytes += len(message.get("body", b""))
                    is_complete = not message.get("more_body", False)

    def _too_large(self) -> HTTPException:
        bytes_max = self._limits.body_bytes_max
        return HTTPException(413, f"the body is larger than {bytes_max} bytes; nothing was changed: send less", CLOSE)


def address_key(scope: Scope) -> str:
    """Return the key for limits by address: an IPv4 address, or the network of an IPv6 address."""
    client: Any = scope.get("client")
    try:
        address = ip_address(client[0].partition("%")[0])
    except (TypeError, ValueError):
        return "unknown"
    return str(address if address.version == 4 else ip_network((address, IPV6_PREFIX_BITS), strict=False))
