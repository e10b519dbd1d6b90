"""The status page, and the stream of server-sent events that updates every page."""

from dataclasses import dataclass
from functools import partial

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from services.console.pipeline_status import PipelineStatus
from services.console.web.dependencies import AnyUser, ConsoleDependencies, Viewer
from services.console.web.live_stream import Fragments, require_free_stream, respond_with_stream
from services.console.web.templates import Templates

router = APIRouter()
CHART_WIDTH, CHART_HEIGHT = 720, 64
FRAGMENTS_TEMPLATE = "status_fragments.html"
FRAGMENTS = (
    "glance",
    "status",
    "notices",
    "figures",
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
async def status_page(request: Request, dependencies: ConsoleDependencies, user: AnyUser) -> Response:
    """Show the current status to operators; moderators begin at their own page."""
    if not user.can_view:
        return RedirectResponse("/moderation", 303)
    return dependencies.templates.render_page(
        request, "status.html", bars=build_bars(dependencies.monitor.status.throughput)
    )


def render_fragments(templates: Templates, status: PipelineStatus) -> Fragments:
    """Render the fragments that the pages update, by element id."""
    fragments = {name: templates.render_fragment(FRAGMENTS_TEMPLATE, name, status) for name in FRAGMENTS}
    fragments["chart"] = templates.render_fragment(
        "status_fragments.html", "chart", status, build_bars(status.throughput)
    )
    return fragments | {"title": status.summary(), "level": status.level}


@router.get("/live")
async def live_stream(dependencies: ConsoleDependencies, user: Viewer) -> Response:
    """Stream the fragments of the status to any page of the operators."""
    require_free_stream(user)

    async def render() -> Fragments:
        return render_fragments(dependencies.templates, dependencies.monitor.status)

    return respond_with_stream(user, dependencies.monitor, render, partial(dependencies.sessions.is_open, user))
