"""Panels and dashboards as Grafana reads them, from a title, a unit and what is asked of Prometheus."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]
GRID_COLUMNS = 24
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
LEGEND = {"displayMode": "list", "placement": "bottom", "showLegend": True}
REJECTED_LABEL = 'outcome="rejected"'
Steps = Sequence[tuple[float | None, str]]
ZERO_IS_GOOD: Steps = ((None, "green"), (1, "red"))
DASHBOARD_LABELS = 'job=~"$job",instance=~"$instance"'


@dataclass(frozen=True, slots=True)
class Query:
    """An expression and what its series are called."""

    expression: str
    legend: str = ""


@dataclass(frozen=True, slots=True)
class Panel:
    """``unit``: Grafana's name of it; ``steps``: from which value on which colour; ``mappings``: words for values."""

    title: str
    unit: str
    queries: Sequence[Query]
    kind: str = "timeseries"
    width: int = 8
    height: int = 7
    description: str = ""
    steps: Steps = ((None, "green"),)
    mappings: Sequence[tuple[int, str, str]] = ()
    decimals: int | None = None


def selector(name: str, labels: str = "") -> str:
    """A metric of the processes that the dashboard is asked about."""
    return f"{name}{{{DASHBOARD_LABELS}{',' + labels if labels else ''}}}"


def rate(name: str, labels: str = "") -> str:
    """Its steps a second."""
    return f"rate({selector(name, labels)}[$__rate_interval])"


def quantile(share: float, name: str, by: str = "", labels: str = "") -> str:
    """Below which value that share of a histogram's values lies."""
    return f"histogram_quantile({share}, sum by (le{', ' + by if by else ''}) ({rate(name + '_bucket', labels)}))"


def p50_and_p99(name: str, labels: str = "") -> list[Query]:
    """What half of a histogram's values, and all but a hundredth of them, stay below."""
    return [Query(quantile(share, name, labels=labels), legend) for share, legend in ((0.5, "p50"), (0.99, "p99"))]


def stat(
    title: str, unit: str, expression: str, steps: Steps, description: str = "", decimals: int | None = None
) -> Panel:
    """One number, coloured by what it is."""
    return Panel(title, unit, [Query(expression)], "stat", 4, 4, description, steps, decimals=decimals)


def build_dashboard(uid: str, title: str, description: str, rows: Sequence[tuple[str, Sequence[Panel]]]) -> Json:
    """A dashboard; each row's panels stand from left to right, and go on below when the row is full."""
    panels: list[Json] = []
    top = 0
    for name, row in rows:
        panels.append(
            _place_panel({"type": "row", "title": name, "collapsed": False, "panels": []}, panels, 0, top, 24, 1)
        )
        left, top, height = 0, top + 1, 0
        for panel in row:
            if left + panel.width > GRID_COLUMNS:
                left, top, height = 0, top + height, 0
            panels.append(_place_panel(_panel_json(panel), panels, left, top, panel.width, panel.height))
            left, height = left + panel.width, max(height, panel.height)
        top += height
    return {
        "uid": uid,
        "title": title,
        "description": description,
        "tags": ["moderated-grading"],
        "schemaVersion": 39,
        "version": 1,
        "editable": False,
        "graphTooltip": 1,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "browser",
        "links": [
            {"type": "dashboards", "title": "Moderated grading", "tags": ["moderated-grading"], "keepTime": True}
        ],
        "templating": {"list": _variables()},
        "panels": panels,
    }


def _place_panel(panel: Json, previous_panels: Sequence[Json], left: int, top: int, width: int, height: int) -> Json:
    return {"id": len(previous_panels) + 1, **panel, "gridPos": {"x": left, "y": top, "w": width, "h": height}}


def _panel_json(panel: Panel) -> Json:
    defaults: Json = {
        "unit": panel.unit,
        "thresholds": {"mode": "absolute", "steps": [{"value": v, "color": colour} for v, colour in panel.steps]},
        "color": {"mode": "thresholds" if panel.kind in ("stat", "state-timeline") else "palette-classic"},
        "mappings": [
            {"type": "value", "options": {str(value): {"text": text, "color": colour, "index": value}}}
            for value, text, colour in panel.mappings
        ],
    }
    if panel.decimals is not None:
        defaults["decimals"] = panel.decimals
    options: Json = {}
    match panel.kind:
        case "timeseries":
            defaults["custom"] = {"fillOpacity": 10, "showPoints": "never"}
            defaults["min"] = 0
            options = {"legend": LEGEND, "tooltip": {"mode": "multi"}}
        case "stat":
            options = {"reduceOptions": {"calcs": ["lastNotNull"]}, "colorMode": "background", "graphMode": "area"}
        case "state-timeline":
            options = {"mergeValues": True, "rowHeight": 0.8, "showValue": "never"}
    return {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": DATASOURCE,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": options,
        "targets": [
            {"refId": chr(ord("A") + number), "datasource": DATASOURCE, "expr": query.expression}
            | {"legendFormat": query.legend or "__auto", "range": True}
            for number, query in enumerate(panel.queries)
        ],
    }


def _variables() -> list[Json]:
    def query_variable(name: str, label: str, query: str) -> Json:
        return {
            "name": name,
            "label": label,
            "type": "query",
            "datasource": DATASOURCE,
            "query": {"query": query, "refId": name},
            "refresh": 2,
            "multi": True,
            "includeAll": True,
            "allValue": ".*",
            "current": {"text": ["All"], "value": ["$__all"]},
        }

    return [
        {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"},
        query_variable("job", "Process", 'label_values(up{job=~"moderation-.*"}, job)'),
        query_variable("instance", "Instance", 'label_values(up{job=~"$job"}, instance)'),
    ]
