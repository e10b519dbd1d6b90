"""The composed service plays a season, stops in order and keeps its decisions."""

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
import yaml

from deploy.local.paths import ROOT, wait_until_ready
from tests.system.containers.composition import PROCESSES, Composition, composed
from tests.system.containers.conftest import Engine

# Prometheus starts, scrapes every 15 s and evaluates the rules every 15 s.
MONITORED_SECONDS = 90


@pytest.fixture(scope="module")
def composition(engine: Engine) -> Iterator[Composition]:
    with composed(engine) as composition:
        yield composition


def test_season_is_decided_and_published_by_the_composed_service(composition: Composition) -> None:
    urls = {f"{name}_URL": f"http://127.0.0.1:{composition.ports[f'{name}_PORT']}" for name in ("GATEWAY", "CONSOLE")}
    bootstrap = {"KAFKA_BOOTSTRAP": composition.address("KAFKA_PORT"), "TOPIC_PREFIX": "moderation"}
    season = subprocess.run(
        [sys.executable, "-m", "deploy.season.demo"],
        cwd=ROOT,
        env={**os.environ, **bootstrap, **urls},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert season.returncode == 0, season.stdout[-3_000:] + season.stderr[-3_000:]
    assert "every grade published once" in season.stdout


def test_console_accepts_a_token_of_the_composed_keys(composition: Composition) -> None:
    url = f"http://127.0.0.1:{composition.ports['CONSOLE_PORT']}/"
    request = urllib.request.Request(
        url, headers={"Authorization": f"Bearer {composition.token(1, 'moderation.viewer')}"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert answer.status == 200


def ask_prometheus(composition: Composition, path: str, **parameters: str) -> Any:
    """Return the data of an answer of Prometheus's API. Raises OSError."""
    url = f"http://127.0.0.1:{composition.ports['PROMETHEUS_PORT']}/api/v1/{path}?{urlencode(parameters)}"
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.load(answer)["data"]


def test_prometheus_scrapes_every_process_and_evaluates_every_rule(composition: Composition) -> None:
    composition.compose("up", "--detach", "prometheus")
    files = [yaml.safe_load(path.read_text()) for path in sorted((ROOT / "deploy/monitoring/rules").glob("*.yml"))]
    written = {
        rule.get("alert") or rule["record"] for file in files for group in file["groups"] for rule in group["rules"]
    }
    seen: dict[str, Any] = {}

    def is_complete() -> bool:
        try:
            targets = ask_prometheus(composition, "targets")["activeTargets"]
            groups = ask_prometheus(composition, "rules")["groups"]
        except OSError:
            return False
        seen["targets"] = {target["labels"]["job"]: target["health"] for target in targets}
        seen["rules"] = {rule["name"]: rule["health"] for group in groups for rule in group["rules"]}
        return {*seen["targets"].values(), *seen["rules"].values()} == {"up", "ok"}

    assert wait_until_ready(is_complete, lambda: True, MONITORED_SECONDS), (
        seen,
        composition.compose("logs", "--tail", "20", "prometheus"),
    )
    assert seen["targets"].keys() == {f"moderation-{name}" for name in PROCESSES}
    assert seen["rules"].keys() == written


def test_prometheus_answers_the_query_of_every_panel(composition: Composition) -> None:
    boards = [json.loads(path.read_text()) for path in sorted((ROOT / "deploy/monitoring/grafana").glob("*.json"))]
    queries = [target["expr"] for board in boards for panel in board["panels"] for target in panel.get("targets", ())]
    variables = {"$job": "moderation-.*", "$instance": ".*", "$__rate_interval": "1m", "$__range": "1h"}
    with_data = 0
    for query in queries:
        for variable, value in variables.items():
            query = query.replace(variable, value)
        # HTTPError: it is not PromQL.
        with_data += bool(ask_prometheus(composition, "query", query=query)["result"])
    # Rates need more samples, and other panels show faults, which did not happen.
    assert len(queries) > 50
    assert with_data


def test_processes_stop_in_order_and_start_again(composition: Composition) -> None:
    composition.compose("stop", *composition.processes)
    for service in composition.processes:
        exit_code = composition.state(service)["ExitCode"]
        assert exit_code == 0, (service, composition.compose("logs", "--tail", "5", service))
    composition.compose("start", *composition.processes)
    composition.wait_until_healthy()
