"""The files here that are made from code, and what is in them."""

import json
from pathlib import Path

from deploy.monitoring.dead_letters import dead_letters
from deploy.monitoring.metrics_doc import document
from deploy.monitoring.overview import overview
from deploy.monitoring.pipeline import pipeline

DASHBOARDS = {"overview": overview, "pipeline": pipeline, "dead-letters": dead_letters}
FOLDER = Path(__file__).parent


def generated() -> dict[Path, str]:
    """Their contents by path."""
    found = {
        FOLDER / "grafana" / f"{name}.json": json.dumps(build(), indent=2, ensure_ascii=False) + "\n"
        for name, build in DASHBOARDS.items()
    }
    return {**found, FOLDER / "metrics.md": document()}
