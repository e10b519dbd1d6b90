"""The files here that are made from code, and what is in them."""

import json
from pathlib import Path

from deploy.monitoring.dead_letters import build_dead_letters
from deploy.monitoring.metrics_doc import render_metrics_page
from deploy.monitoring.overview import build_overview
from deploy.monitoring.pipeline import build_pipeline

DASHBOARDS = {"overview": build_overview, "pipeline": build_pipeline, "dead-letters": build_dead_letters}
FOLDER = Path(__file__).parent


def render_files() -> dict[Path, str]:
    """Their contents by path."""
    dashboards = {
        FOLDER / "grafana" / f"{name}.json": json.dumps(build(), indent=2, ensure_ascii=False) + "\n"
        for name, build in DASHBOARDS.items()
    }
    return {**dashboards, FOLDER / "metrics.md": render_metrics_page()}
