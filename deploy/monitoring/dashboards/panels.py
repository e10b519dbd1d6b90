"""Dashboards and panels in one style, and the PromQL expressions that several of them use."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import yaml
from grafana_foundation_sdk.builders import common, prometheus, stat, statetimeline, table, timeseries
from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models import common as common_models
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.dashboard import Threshold
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

DATASOURCE = models.DataSourceRef(type_val="prometheus", uid="${datasource}")
DASHBOARD_LABELS = 'job=~"$job",instance=~"$instance"'
RULES_FILE = Path(__file__).parents[1] / "rules" / "alerts.yml"
ALERT_NAMES = [rule["alert"] for group in yaml.safe_load(RULES_FILE.read_text())["groups"] for rule in group["rules"]]
# A Prometheus may hold the alerts of other systems too, which have no label that tells them apart.
ALERT_LABELS = f'alertname=~"{"|".join(ALERT_NAMES)}"'
REJECTED_LABEL = 'outcome="rejected"'
TAG = "moderated-grading"
RUNBOOK = "deploy/monitoring/runbook.md"
GOOD, DEGRADED, BAD, IDLE = "green", "yellow", "red", "blue"
Query = prometheus.Dataquery
Panel = timeseries.Panel | stat.Panel | statetimeline.Panel | table.Panel
AnyPanel = TypeVar("AnyPanel", timeseries.Panel, stat.Panel, statetimeline.Panel, table.Panel)
State = tuple[str, str]
"""Text and colour of a value."""


def selector(name: str, labels: str = "") -> str:
    """Select a metric of the jobs and instances chosen in the dashboard's variables."""
    return f"{name}{{{DASHBOARD_LABELS}{',' + labels if labels else ''}}}"


def rate(name: str, labels: str = "") -> str:
    """Build the expression of a counter's increase per second."""
    return f"rate({selector(name, labels)}[$__rate_interval])"


def increase(name: str) -> str:
    """Build the expression of a counter's increase per point of the graph."""
    return f"increase({selector(name)}[$__rate_interval])"


def quantile(share: float, name: str, by: str = "", labels: str = "") -> str:
    """Build the expression of a quantile of a histogram."""
    return f"histogram_quantile({share}, sum by (le{', ' + by if by else ''}) ({rate(name + '_bucket', labels)}))"


def share_within(name: str, bound: str, labels: str = "") -> str:
    """Build the expression of the share of a histogram's values up to a bucket's bound, over the time range shown."""
    bucket = selector(f"{name}_bucket", f'le="{bound}"' + (f",{labels}" if labels else ""))
    return f"sum(increase({bucket}[$__range])) / sum(increase({selector(name + '_count', labels)}[$__range]))"


def query(expression: str, legend: str = "__auto") -> Query:
    """Pair an expression with the name of its series."""
    return prometheus.Dataquery().datasource(DATASOURCE).expr(expression).legend_format(legend).range()


def p50_and_p99(name: str, labels: str = "") -> list[Query]:
    """Build the expressions of the median and the 99th percentile of a histogram."""
    return [query(quantile(share, name, labels=labels), legend) for share, legend in ((0.5, "p50"), (0.99, "p99"))]


def graph(
    title: str,
    unit: str,
    queries: Sequence[Query],
    description: str,
    runbook: Sequence[str] = (),
    alert_above: float | None = None,
    objectives: Sequence[float] = (),
) -> timeseries.Panel:
    """Build a graph of lines over time.

    ``runbook``: alerts to link to; ``alert_above``: value at which one fires; ``objectives``: limits of an objective,
    ascending. Each has a dashed line.
    """
    limits = [(limit, DEGRADED) for limit in objectives] + ([] if alert_above is None else [(alert_above, BAD)])
    panel = (
        _with_header(timeseries.Panel(), title, unit, description, runbook)
        .min(0)
        .targets(_with_ref_ids(queries))
        .thresholds(_thresholds([(None, GOOD), *limits]))
        .fill_opacity(10)
        .show_points(common_models.VisibilityMode.NEVER)
        .legend(common.VizLegendOptions().show_legend(True).placement(common_models.LegendPlacement.BOTTOM))
        .tooltip(common.VizTooltipOptions().mode(common_models.TooltipDisplayMode.MULTI))
    )
    if limits:
        style = common.GraphThresholdsStyleConfig().mode(common_models.GraphTresholdsStyleMode.DASHED)
        panel.thresholds_style(style)
    return panel


def number(
    title: str,
    unit: str,
    expression: str,
    description: str,
    steps: Sequence[tuple[float | None, str]],
    runbook: Sequence[str] = (),
) -> stat.Panel:
    """Build a panel with one number on a colour. ``steps``: the colour from each value on; None is the lowest."""
    return (
        _with_header(stat.Panel(), title, unit, description, runbook)
        .targets(_with_ref_ids([query(expression)]))
        .thresholds(_thresholds(steps))
        .color_scheme(builders.FieldColor().mode(models.FieldColorModeId.THRESHOLDS))
        .color_mode(common_models.BigValueColorMode.BACKGROUND)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .height(4)
        .span(4)
    )


def states(
    title: str, queries: Sequence[Query], description: str, words: Mapping[int, State], runbook: Sequence[str] = ()
) -> statetimeline.Panel:
    """Build a timeline with one bar per series, coloured by state."""
    mapping = models.ValueMap(
        {
            str(value): models.ValueMappingResult(text=text, color=color, index=value)
            for value, (text, color) in words.items()
        }
    )
    return (
        _with_header(statetimeline.Panel(), title, "none", description, runbook)
        .targets(_with_ref_ids(queries))
        .mappings([mapping])
        .thresholds(_thresholds([(value or None, color) for value, (_, color) in words.items()]))
        .color_scheme(builders.FieldColor().mode(models.FieldColorModeId.THRESHOLDS))
        .show_value(common_models.VisibilityMode.NEVER)
        .row_height(0.8)
        .merge_values(True)
    )


def alert_list(title: str, description: str) -> table.Panel:
    """Build a list of the pending and firing alerts, from Prometheus's own series: it needs no Grafana alerting."""
    columns = {
        "alertname": "Alert",
        "severity": "Severity",
        "alertstate": "State",
        "job": "Process",
        "instance": "Instance",
    }
    expression = f"count by ({', '.join(columns)}) (ALERTS{{{ALERT_LABELS}}})"
    return (
        _with_header(table.Panel(), title, "none", description, ())
        .targets(_with_ref_ids([query(expression).instant().format(PromQueryFormat.TABLE)]))
        .with_transformation(
            models.DataTransformerConfig(
                "organize",
                options={
                    "excludeByName": {"Time": True, "Value": True},
                    "indexByName": {name: index for index, name in enumerate(columns)},
                    "renameByName": columns,
                },
            )
        )
        .height(6)
        .span(24)
    )


def build_dashboard(uid: str, title: str, description: str, rows: Mapping[str, Sequence[Panel]]) -> models.Dashboard:
    """Lay out rows of panels from left to right; a line of panels fills the grid's 24 columns."""
    dashboard = (
        builders.Dashboard(title)
        .uid(uid)
        .description(description)
        .tags([TAG])
        .readonly()
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .refresh("10s")
        .time("now-1h", "now")
        .timezone("browser")
        .link(
            builders.DashboardLink("Moderated grading")
            .type(models.DashboardLinkType.DASHBOARDS)
            .tags([TAG])
            .keep_time(True)
        )
        .variables([*_variables()])
        .annotation(_annotation("Firing alerts", f'ALERTS{{{ALERT_LABELS},alertstate="firing"}}', BAD))
        .annotation(_annotation("Process starts", f"changes({selector('process_start_time_seconds')}[1m]) > 0", IDLE))
    )
    count = 0
    for name, panels in rows.items():
        count += 1
        dashboard.with_row(builders.Row(name).id(count))
        for panel in panels:
            count += 1
            panel.id(count)
            dashboard.with_panel(panel)
    return dashboard.build()


def _with_header(panel: AnyPanel, title: str, unit: str, description: str, runbook: Sequence[str]) -> AnyPanel:
    panel.title(title).unit(unit).description(description).links(_runbook_links(runbook)).datasource(DATASOURCE)
    return panel.height(7).span(8)


def _with_ref_ids(queries: Sequence[Query]) -> list[Builder[Dataquery]]:
    return [each.ref_id(letter) for letter, each in zip("ABCDEFGH", queries, strict=False)]


def _thresholds(steps: Sequence[tuple[float | None, str]]) -> builders.ThresholdsConfig:
    absolute = builders.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE)
    return absolute.steps([Threshold(value, color) for value, color in steps])


def _runbook_links(alerts: Sequence[str]) -> list[Builder[models.DashboardLink]]:
    return [
        builders.DashboardLink(f"Runbook: {alert}")
        .type(models.DashboardLinkType.LINK)
        .url(f"${{runbook}}#{alert.lower()}")
        .target_blank(True)
        for alert in alerts
    ]


def _annotation(name: str, expression: str, color: str) -> builders.AnnotationQuery:
    """Mark the times at which an expression has a value on every graph; a switch above the panels hides them."""
    return builders.AnnotationQuery().name(name).datasource(DATASOURCE).enable(True).icon_color(color).expr(expression)


def _variables() -> list[Builder[models.VariableModel]]:
    def choice(name: str, label: str, expression: str) -> builders.QueryVariable:
        return (
            builders.QueryVariable(name)
            .label(label)
            .datasource(DATASOURCE)
            .query({"query": expression, "refId": name})
            .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
            .multi(True)
            .include_all(True)
            .all_value(".*")
            .current(models.VariableOption(text=["All"], value=["$__all"]))
        )

    return [
        builders.DatasourceVariable("datasource").label("Data source").type("prometheus"),
        choice("job", "Process", 'label_values(up{job=~"moderation-.*"}, job)'),
        choice("instance", "Instance", 'label_values(up{job=~"$job"}, instance)'),
        builders.TextBoxVariable("runbook")
        .label("Runbook")
        .description("Address at which this site serves the runbook; panels link to its headings.")
        .default_value(RUNBOOK),
    ]
