"""The stream of server-sent events that updates a page."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager

from fastapi import HTTPException
from fastapi.responses import Response
from sse_starlette import EventSourceResponse, ServerSentEvent

from services.console.status_monitor import StatusMonitor
from services.console.web.metrics import METRICS
from services.console.web.signed_in_user import SignedInUser

HEARTBEAT_SECONDS = 1.0
# Faster than users read, slow enough for a page that stays open all night on battery power.
UPDATE_INTERVAL_SECONDS = 0.3
RETRY_MILLISECONDS = 1_000
# More than a user looks at: pages in background tabs close their streams.
STREAMS_PER_USER_MAX = 20
Fragments = dict[str, str]
"""HTML by element id; besides ``title``, the summary that screen readers announce, and ``level``."""
_open_streams: Counter[tuple[int, int]] = Counter()
"""The number of open streams by root account and user; only those who have one."""


def respond_with_stream(
    user: SignedInUser,
    monitor: StatusMonitor,
    render: Callable[[], Awaitable[Fragments]],
    is_open: Callable[[], Awaitable[bool]],
) -> Response:
    """Send first all fragments, then the changed ones, and a heartbeat each second, while ``is_open``."""
    return EventSourceResponse(_stream_updates(user, monitor, render, is_open), ping=3_600)


def require_free_stream(user: SignedInUser) -> None:
    """Raise HTTPException (429) if the user has too many open streams."""
    if _open_streams[_stream_key(user)] >= STREAMS_PER_USER_MAX:
        raise HTTPException(429, f"You have {STREAMS_PER_USER_MAX} open pages of this console. Close some of them.")


def _stream_key(user: SignedInUser) -> tuple[int, int]:
    return user.root_account_id, user.user_id


@contextmanager
def _count_stream(user: SignedInUser) -> Iterator[None]:
    key = _stream_key(user)
    _open_streams[key] += 1
    try:
        yield
    finally:
        _open_streams[key] -= 1
        if not _open_streams[key]:
            del _open_streams[key]


async def _stream_updates(
    user: SignedInUser,
    monitor: StatusMonitor,
    render: Callable[[], Awaitable[Fragments]],
    is_open: Callable[[], Awaitable[bool]],
) -> AsyncIterator[ServerSentEvent]:
    sent_fragments: Fragments = {}
    version, heartbeat_at = -1, 0.0
    with METRICS.live_clients.track_inprogress(), _count_stream(user):
        while await is_open():
            await monitor.wait_for_change(version, HEARTBEAT_SECONDS)
            version = monitor.version
            fragments = await render()
            changed_fragments = {name: text for name, text in fragments.items() if sent_fragments.get(name) != text}
            now = time.monotonic()
            if changed_fragments or now - heartbeat_at >= HEARTBEAT_SECONDS:
                sent_fragments, heartbeat_at = fragments, now
                yield ServerSentEvent(
                    json.dumps(changed_fragments), event="fragments", id=str(version), retry=RETRY_MILLISECONDS
                )
                await asyncio.sleep(UPDATE_INTERVAL_SECONDS)
