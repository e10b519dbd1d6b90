"""The stream of server-sent events that updates a page."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable

from fastapi.responses import Response
from sse_starlette import EventSourceResponse, ServerSentEvent

from services.console.status_monitor import StatusMonitor
from services.console.web.metrics import METRICS

HEARTBEAT_SECONDS = 1.0
# Faster than users read, slow enough for a page that stays open all night on battery power.
UPDATE_INTERVAL_SECONDS = 0.3
RETRY_MILLISECONDS = 1_000
Fragments = dict[str, str]
"""HTML by element id; besides ``title``, the summary that screen readers announce, and ``level``."""


def respond_with_stream(
    monitor: StatusMonitor, render: Callable[[], Awaitable[Fragments]], is_open: Callable[[], Awaitable[bool]]
) -> Response:
    """Send first all fragments, then the changed ones, and a heartbeat each second, while ``is_open``."""
    return EventSourceResponse(_stream_updates(monitor, render, is_open), ping=3_600)


async def _stream_updates(
    monitor: StatusMonitor, render: Callable[[], Awaitable[Fragments]], is_open: Callable[[], Awaitable[bool]]
) -> AsyncIterator[ServerSentEvent]:
    sent_fragments: Fragments = {}
    version, heartbeat_at = -1, 0.0
    with METRICS.live_clients.track_inprogress():
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
