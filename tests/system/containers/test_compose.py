"""The composed service plays a season, stops in order and keeps its decisions."""

import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator

import pytest

from deploy.local.paths import ROOT
from tests.system.containers.composition import Composition, composed
from tests.system.containers.conftest import Engine


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


def test_processes_stop_in_order_and_start_again(composition: Composition) -> None:
    composition.compose("stop", *composition.processes)
    for service in composition.processes:
        exit_code = composition.state(service)["ExitCode"]
        assert exit_code == 0, (service, composition.compose("logs", "--tail", "5", service))
    composition.compose("start", *composition.processes)
    composition.wait_until_healthy()
