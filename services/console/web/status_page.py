"""The status page, and the stream of server-sent events that updates every page."""

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Literal

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from services.console.pipeline_status import PipelineStatus
from services.console.status_monitor import StatusMonitor
from services.console.verdict_history import PERIODS, PeriodFigures, PeriodName
from services.console.web.dependencies import AnyUser, ConsoleDependencies, Viewer
from services.console.web.live_stream import Fragments, require_free_stream, respond_with_stream
from services.console.web.templates import Templates

router = APIRouter()
PeriodQuery = Literal["15min"] | PeriodName
CHART_WIDTH, CHART_HEIGHT = 720, 64
FRAGMENTS_TEMPLATE = "status_fragments.html"
FRAGMENTS = (
    "glance",
    "status",
    "notices",
    "partitions",
    "outputs",
    "lanes",
    "processes",
    "publications",
    "recent",
)


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
async def status_page(
    request: Request, dependencies: ConsoleDependencies, user: AnyUser, period: PeriodQuery = "15min"
) -> Response:
    """Show the current status to operators, with figures of a period; moderators begin at their own page."""
    if not user.can_view:
        return RedirectResponse("/moderation", 303)
    history = find_history(dependencies.monitor, period)
    bars = build_bars(dependencies.monitor.status.throughput if history is None else history.decided_by_bar)
    return dependencies.templates.render_page(request, "status.html", bars=bars, history=history, periods=PERIODS)


def find_history(monitor: StatusMonitor, period: PeriodQuery) -> PeriodFigures | None:
    """Return the figures of a period; None for the last 15 minutes, which the status holds in finer steps."""
    if period == "15min":
        return None
    return monitor.verdict_stats.history.recent_figures(PERIODS[period], monitor.status.at or datetime.now(UTC))


def render_fragments(templates: Templates, status: PipelineStatus, history: PeriodFigures | None = None) -> Fragments:
    """Render the fragments that the pages update, by element id."""
    fragments = {name: templates.render_fragment(FRAGMENTS_TEMPLATE, name, status) for name in FRAGMENTS}
    bars = build_bars(status.throughput if history is None else history.decided_by_bar)
    fragments["figures"] = templates.render_fragment(FRAGMENTS_TEMPLATE, "figures", status, history)
    fragments["chart"] = templates.render_fragment(FRAGMENTS_TEMPLATE, "chart", status, history, bars)
    return fragments | {"title": status.summary(), "level": status.level}


@router.get("/live")
async def live_stream(dependencies: ConsoleDependencies, user: Viewer, period: PeriodQuery = "15min") -> Response:
    """Stream the fragments of the status, with figures of a period, to any page of the operators."""
    require_free_stream(user)

    async def render() -> Fragments:
        monitor = dependencies.monitor
        return render_fragments(dependencies.templates, monitor.status, find_history(monitor, period))

    return respond_with_stream(user, dependencies.monitor, render, partial(dependencies.sessions.is_open, user))
