"""The first page, and the stream that keeps every page fresh."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

from fastapi import APIRouter, Request
from fastapi.responses import Response
from sse_starlette import EventSourceResponse, ServerSentEvent

from services.console.pipeline_status import Now
from services.console.status_monitor import Watch
from services.console.web.dependencies import ConsoleParts, Viewer
from services.console.web.metrics import METRICS
from services.console.web.templates import Rendering

router = APIRouter()
BEAT_SECONDS = 1.0
# Sooner than anybody reads, and seldom enough for the battery of who watches all night.
BETWEEN_SECONDS = 0.3
RETRY_MILLISECONDS = 1_000
CHART_WIDTH, CHART_HEIGHT = 720, 64
PARTS = ("glance", "status", "notices", "figures", "partitions", "outputs", "publications", "recent")


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar of the chart, in its own units."""

    x: float
    y: float
    width: float
    height: float


def bars(flow: tuple[int, ...]) -> list[Bar]:
    """The flow of commands as bars, the highest as high as the chart."""
    top, width = max(flow, default=0) or 1, CHART_WIDTH / max(len(flow), 1)
    heights = [CHART_HEIGHT * value / top for value in flow]
    return [
        Bar(round(number * width, 1), round(CHART_HEIGHT - height, 1), round(width - 1.5, 1), round(height, 1))
        for number, height in enumerate(heights)
    ]


@router.get("/")
async def page(request: Request, parts: ConsoleParts, person: Viewer) -> Response:
    """How things stand now."""
    return parts.rendering.page(request, "now.html", bars=bars(parts.watch.now.flow))


def rendered(rendering: Rendering, now: Now) -> dict[str, str]:
    """The parts of the pages that change by themselves, by their id."""
    html = {name: rendering.part("now_parts.html", name, now) for name in PARTS}
    html["chart"] = rendering.part("now_parts.html", "chart", now, bars(now.flow))
    return html | {"title": now.sentence(), "level": now.level}


@router.get("/live")
async def live(parts: ConsoleParts, person: Viewer) -> Response:
    """Server-sent events: first everything, then what has changed, and a beat each second to show that we are there."""
    return EventSourceResponse(_events(parts.watch, parts.rendering, person.expires_at), ping=3_600)


async def _events(watch: Watch, rendering: Rendering, until: float) -> AsyncIterator[ServerSentEvent]:
    sent: dict[str, str] = {}
    version, beat_at = -1, 0.0
    with METRICS.live_clients.track_inprogress():
        while time.time() < until:
            await watch.changed_since(version, BEAT_SECONDS)
            version = watch.version
            html = rendered(rendering, watch.now)
            changed = {name: text for name, text in html.items() if sent.get(name) != text}
            now = time.monotonic()
            if changed or now - beat_at >= BEAT_SECONDS:
                sent, beat_at = html, now
                yield ServerSentEvent(json.dumps(changed), event="parts", id=str(version), retry=RETRY_MILLISECONDS)
                await asyncio.sleep(BETWEEN_SECONDS)
