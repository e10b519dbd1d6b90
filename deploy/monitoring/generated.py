"""The generated files of this folder: dashboards and the list of metrics."""

from collections.abc import Callable
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from deploy.monitoring.dashboards.dead_letters import build_dead_letters
from deploy.monitoring.dashboards.overview import build_overview
from deploy.monitoring.dashboards.pipeline import build_pipeline
from deploy.monitoring.metrics_doc import render_metrics_page

DASHBOARDS: dict[str, Callable[[], Dashboard]] = {
    "overview": build_overview,
    "pipeline": build_pipeline,
    "dead-letters": build_dead_letters,
}
FOLDER = Path(__file__).parent


def render_files() -> dict[Path, str]:
    """Return the contents of each file, by path."""
    encoder = JSONEncoder(indent=2, ensure_ascii=False)
    dashboards = {
        FOLDER / "grafana" / f"{name}.json": encoder.encode(build()) + "\n" for name, build in DASHBOARDS.items()
    }
    return {**dashboards, FOLDER / "metrics.md": render_metrics_page()}
