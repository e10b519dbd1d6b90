"""The status page, and the stream of server-sent events that updates every page."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from fastapi import APIRouter, Request
from fastapi.responses import Response
from sse_starlette import EventSourceResponse, ServerSentEvent

from services.console.pipeline_status import PipelineStatus
from services.console.status_monitor import StatusMonitor
from services.console.web.dependencies import ConsoleDependencies, Viewer
from services.console.web.metrics import METRICS
from services.console.web.templates import Templates

router = APIRouter()
HEARTBEAT_SECONDS = 1.0
# Faster than users read, slow enough for a page that stays open all night on battery power.
UPDATE_INTERVAL_SECONDS = 0.3
RETRY_MILLISECONDS = 1_000
CHART_WIDTH, CHART_HEIGHT = 720, 64
FRAGMENTS_TEMPLATE = "status_fragments.html"
FRAGMENTS = ("glance", "status", "notices", "figures", "partitions", "outputs", "publications", "recent")


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar of the chart, in the units of its viewBox."""

    x: float
    y: float
    width: float
    height: float


def build_bars(throughput: tuple[int, ...]) -> list[Bar]:
    """Scale the throughput to bars, the highest as high as the chart."""
    maximum, width = max(throughput, default=0) or 1, CHART_WIDTH / max(len(throughput), 1)
    heights = [CHART_HEIGHT * value / maximum for value in throughput]
    return [
        Bar(round(number * width, 1), round(CHART_HEIGHT - height, 1), round(width - 1.5, 1), round(height, 1))
        for number, height in enumerate(heights)
    ]


@router.get("/")
async def status_page(request: Request, dependencies: ConsoleDependencies, user: Viewer) -> Response:
    """Show the current status."""
    return dependencies.templates.render_page(
        request, "status.html", bars=build_bars(dependencies.monitor.status.throughput)
    )


def render_fragments(templates: Templates, status: PipelineStatus) -> dict[str, str]:
    """Render the fragments that the pages update, by element id."""
    fragments = {name: templates.render_fragment(FRAGMENTS_TEMPLATE, name, status) for name in FRAGMENTS}
    fragments["chart"] = templates.render_fragment(
        "status_fragments.html", "chart", status, build_bars(status.throughput)
    )
    return fragments | {"title": status.summary(), "level": status.level}


@router.get("/live")
async def live_stream(dependencies: ConsoleDependencies, user: Viewer) -> Response:
    """Stream server-sent events: first all fragments, then the changed ones; a heartbeat each second."""
    return EventSourceResponse(
        _stream_updates(dependencies.monitor, dependencies.templates, partial(dependencies.sessions.is_open, user)),
        ping=3_600,
    )


async def _stream_updates(
    monitor: StatusMonitor, templates: Templates, is_open: Callable[[], Awaitable[bool]]
) -> AsyncIterator[ServerSentEvent]:
    sent_fragments: dict[str, str] = {}
    version, heartbeat_at = -1, 0.0
    with METRICS.live_clients.track_inprogress():
        while await is_open():
            await monitor.wait_for_change(version, HEARTBEAT_SECONDS)
            version = monitor.version
            fragments = render_fragments(templates, monitor.status)
            changed_fragments = {name: text for name, text in fragments.items() if sent_fragments.get(name) != text}
            now = time.monotonic()
            if changed_fragments or now - heartbeat_at >= HEARTBEAT_SECONDS:
                sent_fragments, heartbeat_at = fragments, now
                yield ServerSentEvent(
                    json.dumps(changed_fragments), event="fragments", id=str(version), retry=RETRY_MILLISECONDS
                )
                await asyncio.sleep(UPDATE_INTERVAL_SECONDS)
