"""Dashboards, rules and runbook are current, well formed, and use only metrics that exist."""

import json
import re
import shutil
import subprocess
from itertools import combinations
from pathlib import Path

import httpx
import pytest
import yaml

from deploy.monitoring.generated import FOLDER, render_files
from deploy.monitoring.metrics_doc import METRICS_BY_PROCESS
from tests.fixtures.process_runner import Json, Process

NAME = re.compile(r"\b(moderation[a-z0-9_:]+|process_[a-z_]+|up)\b(?=[\[{ )]|$)")
DASHBOARDS = sorted((FOLDER / "grafana").glob("*.json"))
RULES = sorted((FOLDER / "rules").glob("*.yml"))
VARIABLES = {"datasource", "job", "instance", "runbook"}
GRAFANA_URL = "{{ $externalLabels.grafana_url }}"
RUNBOOK_URL = "{{ with $externalLabels.console_url }}{{ . }}/runbook{{ else }}deploy/monitoring/runbook.md{{ end }}"
"""The beginnings of an alert's links, as Prometheus fills them in."""


def panels(path: Path) -> list[Json]:
    found: list[Json] = json.loads(path.read_text())["panels"]
    return found


def expressions(path: Path) -> list[str]:
    return [target["expr"] for panel in panels(path) for target in panel.get("targets", ())]


def rules() -> list[Json]:
    return [rule for path in RULES for group in yaml.safe_load(path.read_text())["groups"] for rule in group["rules"]]


def alerts() -> dict[str, Json]:
    return {rule["alert"]: rule for rule in rules() if "alert" in rule}


def names(expression: str) -> set[str]:
    return set(NAME.findall(re.sub(r'"[^"]*"', '""', expression)))


def run_tool(tool: str, *arguments: str | Path, stdin: str = "") -> None:
    """Run one of Prometheus's own tools and require success."""
    program = shutil.which(tool)
    assert program is not None, f"{tool} is missing: run deploy/setup tests"
    result = subprocess.run([program, *map(str, arguments)], input=stdin, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("path", render_files(), ids=lambda path: path.name)
def test_generated_monitoring_files_are_current(path: Path) -> None:
    assert path.read_text() == render_files()[path], "run python -m deploy.monitoring"


def test_promtool_accepts_the_rules_and_their_unit_tests() -> None:
    run_tool("promtool", "check", "config", "--syntax-only", FOLDER / "prometheus.yml")
    run_tool("promtool", "check", "rules", *RULES)
    run_tool("promtool", "test", "rules", *sorted((FOLDER / "tests").glob("*.yml")))


def test_every_alert_has_firing_and_non_firing_cases() -> None:
    cases: set[tuple[str, bool]] = set()
    for path in (FOLDER / "tests").glob("*.yml"):
        for test in yaml.safe_load(path.read_text())["tests"]:
            cases |= {(case["alertname"], bool(case["exp_alerts"])) for case in test["alert_rule_test"]}
    assert cases == {(alert, fires) for alert in alerts() for fires in (True, False)}


@pytest.mark.parametrize("alert", alerts())
def test_alert_has_severity_summary_dashboard_and_runbook_entry(alert: str) -> None:
    rule = alerts()[alert]
    severity, annotations = rule["labels"]["severity"], rule["annotations"]
    runbook = (FOLDER / "runbook.md").read_text()
    entry = re.search(rf"^### {alert}\n\*(\w+)\.\*(.*?)(?=^##|\Z)", runbook, re.DOTALL | re.MULTILINE)
    assert entry is not None, f"no entry {alert} in the runbook"
    assert entry[1] == severity
    meaning, *steps = entry[2].split("\n- **")
    assert len(meaning.split()) >= 5
    assert [step.split(":**")[0] for step in steps] == ["Look", "Run", "Healed"]
    assert annotations["runbook_url"] == f"{RUNBOOK_URL}#{alert.lower()}"
    assert annotations["dashboard"].removeprefix(f"{GRAFANA_URL}/d/") in {
        json.loads(path.read_text())["uid"] for path in DASHBOARDS
    }
    assert annotations["summary"]


def test_runbook_entries_match_the_defined_alerts() -> None:
    assert set(re.findall(r"^### (\w+)$", (FOLDER / "runbook.md").read_text(), re.MULTILINE)) == alerts().keys()


def test_runbook_names_only_existing_panels() -> None:
    titles = {panel["title"] for path in DASHBOARDS for panel in panels(path)}
    named = re.findall(r"\*([A-Z][^*]*\?)\*", (FOLDER / "runbook.md").read_text())
    assert named
    assert set(named) - titles == set()


def test_inhibit_rules_match_existing_alerts_and_never_themselves() -> None:
    run_tool("amtool", "check-config", FOLDER / "alertmanager.yml")
    found = yaml.safe_load((FOLDER / "alertmanager.yml").read_text())["inhibit_rules"]

    def matched(matchers: list[str]) -> set[str]:
        patterns = [re.fullmatch(r'alertname=~?"(.+)"', matcher) for matcher in matchers]
        assert all(patterns), matchers
        parts = [part for pattern in patterns if pattern for part in pattern[1].split("|")]
        hits = {part: {alert for alert in alerts() if re.fullmatch(part, alert)} for part in parts}
        assert all(hits.values()), hits
        return set().union(*hits.values())

    for rule in found:
        assert "installation" in rule["equal"], "one installation says nothing about another"
        assert not matched(rule["source_matchers"]) & matched(rule["target_matchers"])
        if matched(rule["source_matchers"]) & {"PartitionStopped", "PartitionStalled"}:
            assert len(rule["equal"]) > 1, "one stopped partition says nothing about other partitions and processes"
    servers = matched(found[0]["source_matchers"])
    assert servers == {"KafkaAway", "PostgreSQLAway"}


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_dashboard_is_well_formed(path: Path) -> None:
    board = json.loads(path.read_text())
    found = [panel for panel in board["panels"] if panel["type"] != "row"]
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)
    assert {variable["name"] for variable in board["templating"]["list"]} == VARIABLES
    for panel in found:
        title = panel["title"]
        assert title, panel
        assert panel["description"].endswith("."), title
        assert panel["fieldConfig"]["defaults"]["unit"], title
        assert panel["datasource"]["uid"] == "${datasource}", title
        assert [target["refId"] for target in panel["targets"]] == list("ABCDEFGH"[: len(panel["targets"])]), title
        assert panel["type"] != "timeseries" or title.endswith("?"), title
        for target in panel["targets"]:
            for name in names(target["expr"]) - {rule.get("record") for rule in rules()}:
                selectors = re.findall(rf"\b{name}\b(\S*)", target["expr"])
                assert all('{job=~"$job",instance=~"$instance"' in selector for selector in selectors), title
    for one, other in combinations(board["panels"], 2):
        assert not overlap(one["gridPos"], other["gridPos"]), (one["title"], other["title"])
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in board["panels"])


def test_the_overview_begins_with_the_alerts_of_these_rules_and_no_others() -> None:
    row, first = panels(FOLDER / "grafana" / "overview.json")[:2]
    (target,) = first["targets"]
    assert (row["type"], first["type"], target["format"], target["instant"]) == ("row", "table", "table", True)
    selected = re.search(r'ALERTS\{alertname=~"([^"]+)"\}', target["expr"])
    assert selected is not None
    assert set(selected[1].split("|")) == set(alerts())


def test_dashboards_link_to_each_other() -> None:
    boards = [json.loads(path.read_text()) for path in DASHBOARDS]
    assert len({board["uid"] for board in boards}) == len(boards)
    for board in boards:
        assert board["links"]
        for link in board["links"]:
            assert all(set(link["tags"]) <= set(other["tags"]) for other in boards)


def test_the_dashboard_of_an_alert_links_to_its_runbook_entry() -> None:
    linked: set[tuple[str, str]] = set()
    for path in DASHBOARDS:
        links = [link["url"] for panel in panels(path) for link in panel.get("links", ())]
        assert all(link.startswith("${runbook}#") for link in links)
        dashboard = f"{GRAFANA_URL}/d/{json.loads(path.read_text())['uid']}"
        linked |= {(dashboard, link.removeprefix("${runbook}#")) for link in links}
    expected = {(rule["annotations"]["dashboard"], alert.lower()) for alert, rule in alerts().items()}

    assert expected - linked == set()
    assert {anchor for _, anchor in linked} == {alert.lower() for alert in alerts()}


def overlap(a: dict[str, int], b: dict[str, int]) -> bool:
    apart = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
    return not (apart or a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"])


def test_dashboards_and_rules_use_only_exposed_metrics(worked: dict[str, Process]) -> None:
    live = {sample.name for process in worked.values() for family in process.get_metrics() for sample in family.samples}
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    asked = [rule["expr"] for rule in rules()] + [each for path in DASHBOARDS for each in expressions(path)]

    assert set().union(*map(names, asked)) - live - recorded - {"up"} == set()


@pytest.mark.parametrize("name", METRICS_BY_PROCESS)
def test_promtool_accepts_the_exposed_metrics(worked: dict[str, Process], name: str) -> None:
    run_tool("promtool", "check", "metrics", stdin=httpx.get(f"{worked[name].url}/metrics", timeout=90).text)


def test_every_metric_is_used_by_a_dashboard_or_a_rule() -> None:
    asked = " ".join([rule["expr"] for rule in rules()] + [each for path in DASHBOARDS for each in expressions(path)])
    described = {each.name for metrics in METRICS_BY_PROCESS.values() for each in metrics().descriptions}

    assert {name for name in described if name not in asked} == set()
