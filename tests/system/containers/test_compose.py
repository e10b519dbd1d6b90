"""The composed service plays a season, stops in order and keeps its decisions."""

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from functools import partial

import pytest

from deploy.local.paths import ROOT, free_port, wait_until_ready
from tests.system.containers.conftest import COMPOSE_FILE, Engine

PROCESSES = ("handler", "relay", "gateway", "scheduler", "console")
READY_SECONDS = 240


class Composition:
    """The service that compose started, on free ports."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.project = f"mg{os.getpid()}"
        self._container_ids: dict[str, str] = {}
        self.ports = {name: str(free_port()) for name in ("KAFKA_PORT", "GATEWAY_PORT", "CONSOLE_PORT")}

    def compose(self, *arguments: str, check: bool = True) -> str:
        """Run compose and return its output."""
        command = ["docker-compose", "--project-name", self.project, "--file", str(COMPOSE_FILE), *arguments]
        environment = {**self.engine.environment, **self.ports}
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=600)
        assert ended.returncode == 0 or not check, ended.stderr[-3_000:]
        return ended.stdout

    def container(self, service: str) -> dict[str, object]:
        """Describe the container of a service."""
        if service not in self._container_ids:
            self._container_ids[service] = self.compose("ps", "--quiet", service).strip()
        [described] = json.loads(self.engine.docker("inspect", self._container_ids[service]).stdout)
        assert isinstance(described, dict)
        return described

    def health(self, service: str) -> str:
        """Return the engine's result of the service's health probe."""
        state = self.container(service)["State"]
        assert isinstance(state, dict)
        return str(state.get("Health", {}).get("Status", state["Status"]))

    def wait_until_healthy(self) -> None:
        """Wait for the health probe of every process."""
        for service in PROCESSES:
            is_healthy = wait_until_ready(partial(self._is_healthy, service), lambda: True, READY_SECONDS)
            assert is_healthy, (service, self.health(service), self.compose("logs", "--tail", "20", service))

    def _is_healthy(self, service: str) -> bool:
        return self.health(service) == "healthy"

    def play_season(self) -> subprocess.CompletedProcess[str]:
        """Play the demo's season through the published ports."""
        urls = {f"{name}_URL": f"http://127.0.0.1:{self.ports[f'{name}_PORT']}" for name in ("GATEWAY", "CONSOLE")}
        bootstrap = {"KAFKA_BOOTSTRAP": f"127.0.0.1:{self.ports['KAFKA_PORT']}", "TOPIC_PREFIX": "moderation"}
        return subprocess.run(
            [sys.executable, "-m", "deploy.season.demo"],
            cwd=ROOT,
            env={**os.environ, **bootstrap, **urls},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )

    def token(self, user_id: int, scope: str) -> str:
        """Issue a token with the key that the keys job created."""
        issue = ["moderated-grading", "admin", "issue-token", "/keys/issuer.key", str(user_id), "--scope", scope]
        return self.compose("run", "--rm", "keys", *issue).strip().splitlines()[-1]


@pytest.fixture(scope="module")
def composition(engine: Engine) -> Iterator[Composition]:
    composition = Composition(engine)
    try:
        composition.compose("up", "--detach")
        yield composition
    finally:
        composition.compose("down", "--volumes", "--timeout", "10", check=False)


def test_season_is_decided_and_published_by_the_composed_service(composition: Composition) -> None:
    composition.wait_until_healthy()
    season = composition.play_season()
    assert season.returncode == 0, season.stdout[-3_000:] + season.stderr[-3_000:]
    assert "every grade published once" in season.stdout


def test_console_accepts_a_token_of_the_composed_keys(composition: Composition) -> None:
    composition.wait_until_healthy()
    url = f"http://127.0.0.1:{composition.ports['CONSOLE_PORT']}/"
    request = urllib.request.Request(
        url, headers={"Authorization": f"Bearer {composition.token(1, 'moderation.viewer')}"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert answer.status == 200


def test_processes_stop_in_order_and_start_again(composition: Composition) -> None:
    composition.wait_until_healthy()
    composition.compose("stop", *PROCESSES)
    for service in PROCESSES:
        state = composition.container(service)["State"]
        assert isinstance(state, dict)
        assert state["ExitCode"] == 0, (service, composition.compose("logs", "--tail", "5", service))
    composition.compose("start", *PROCESSES)
    composition.wait_until_healthy()
