"""The profile ``monitoring`` of compose gives Prometheus and Grafana what is in this repository.

No test starts Grafana: these compare its configuration with the dashboards and with the services of compose.
"""

import json
import re
from typing import Any

import yaml

from deploy.local.paths import ROOT

Json = dict[str, Any]
COMPOSE: Json = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text())
GRAFANA = ROOT / "deploy/containers/grafana"


def mounts(service: str) -> dict[str, str]:
    """Return the files and folders that a service reads, by their path in the container."""
    rows = [row.split(":") for row in COMPOSE["services"][service]["volumes"]]
    return {row[1]: row[0] for row in rows if row[0].startswith("./")}


def test_grafana_is_given_the_dashboards_and_the_source_that_they_name() -> None:
    (provider,) = yaml.safe_load((GRAFANA / "dashboards/moderation.yaml").read_text())["providers"]
    (source,) = yaml.safe_load((GRAFANA / "datasources/prometheus.yaml").read_text())["datasources"]
    dashboards = ROOT / "deploy" / mounts("grafana")[provider["options"]["path"]]

    assert (ROOT / "deploy" / mounts("grafana")["/etc/grafana/provisioning"]).resolve() == GRAFANA
    assert provider["type"] == "file"
    found = [json.loads(path.read_text()) for path in dashboards.glob("*.json")]
    assert len({dashboard["uid"] for dashboard in found}) == len(found) > 1
    # Each dashboard lets its user choose a source of this type; the only one is chosen at once.
    chosen = [v["query"] for board in found for v in board["templating"]["list"] if v["type"] == "datasource"]
    assert chosen == [source["type"]] * len(found)
    host, port = re.fullmatch(r"http://(\w+):(\d+)", source["url"]).groups()  # type: ignore[union-attr]
    assert COMPOSE["services"][host]["ports"][0].endswith(f":{port}")


def test_prometheus_finds_rules_and_targets_where_its_configuration_names_them() -> None:
    configuration = yaml.safe_load((ROOT / "deploy/monitoring/prometheus.yml").read_text())
    mounted = {path.removeprefix("/etc/prometheus/"): ROOT / "deploy" / at for path, at in mounts("prometheus").items()}
    (scrape,) = configuration["scrape_configs"]

    assert scrape["file_sd_configs"] == [{"files": ["targets.json"]}]
    jobs = {row["targets"][0]: row["labels"]["job"] for row in json.loads(mounted["targets.json"].read_text())}
    processes = {name for name in COMPOSE["services"] if f"moderation-{name}" in jobs.values()}
    assert jobs == {f"{name}:8080": f"moderation-{name}" for name in processes}
    assert processes == {"handler", "relay", "gateway", "scheduler", "console"}
    named = {path.removeprefix("rules/") for path in configuration["rule_files"]}
    assert named == {path.name for path in mounted["rules"].glob("*.yml")}


def test_images_that_can_be_built_are_those_of_compose() -> None:
    built = re.findall(r"\$\{(\w+_IMAGE):-([^}]+)\}", (ROOT / "deploy/containers/build-images").read_text())
    composed = re.findall(r"\$\{(\w+_IMAGE):-([^}]+)\}", (ROOT / "deploy/compose.yaml").read_text())
    assert set(composed) - set(built) == {image for image in composed if image[0] == "GRAFANA_IMAGE"}
    assert all(":" in image for name, image in composed if not name.startswith("MODERATION"))
