"""A real Prometheus on the running system: targets up, rules evaluated, dashboards answered, and what the log says."""

import shutil
import signal
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from deploy.local.paths import free_port
from deploy.monitoring.prometheus_targets import write_prometheus_config
from tests.fixtures.process_runner import Json, Process, wait_until
from tests.fixtures.system import System
from tests.integration.telemetry.test_monitoring import DASHBOARDS, expressions

# What is seen of a moment in which the machine stood still goes away after a minute of rates.
ALERTS_SECONDS = 150
VARIABLES = {"$__rate_interval": "1m", "$__range": "1h", "$job": ".*", "$instance": ".*"}


class Prometheus:
    def __init__(self, url: str) -> None:
        self.http = httpx.AsyncClient(base_url=url, timeout=90)

    async def request(self, path: str, **parameters: str) -> Any:
        answer = await self.http.get(f"/api/v1/{path}", params=parameters)
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]

    async def query(self, expression: str) -> list[Json]:
        found: list[Json] = (await self.request("query", query=expression))["result"]
        return found

    async def wait_for_alerts(self, alerts: set[str]) -> None:
        """Wait until these alerts and no others are pending, or firing: most fire after minutes of it."""

        async def are_held() -> bool:
            return {alert["labels"]["alertname"] for alert in (await self.request("alerts"))["alerts"]} == alerts

        await wait_until(are_held, f"{alerts} and no others", ALERTS_SECONDS)

    async def wait_for_value(self, expression: str, value: float) -> None:
        """Wait until a query has one series, of that value."""

        async def is_told() -> bool:
            return [float(each["value"][1]) for each in await self.query(expression)] == [value]

        await wait_until(is_told, f"{expression} is {value}")


@pytest.fixture(scope="module")
async def prometheus(worked: dict[str, Process], tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Prometheus]:
    """As it is configured here, only that it asks every second."""
    program = shutil.which("prometheus")
    assert program is not None, "prometheus is missing: run deploy/setup tests"
    folder, port = tmp_path_factory.mktemp("prometheus"), free_port()
    settings = write_prometheus_config(
        folder, {name: process.url.removeprefix("http://") for name, process in worked.items()}
    )
    settings.write_text(settings.read_text().replace(": 15s", ": 1s"))
    popen = start_process(
        folder / "log", program, f"--config.file={settings}", f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    )  # fmt: skip
    server = Prometheus(f"http://127.0.0.1:{port}")
    try:
        await wait_until(lambda: is_listening(folder), "Prometheus listens")
        yield server
    finally:
        await server.http.aclose()
        popen.kill()
        popen.wait()


def start_process(log: Path, *command: str) -> "subprocess.Popen[bytes]":
    with log.open("wb") as file:
        return subprocess.Popen(command, stdout=file, stderr=file)


def is_listening(folder: Path) -> bool:
    return "Server is ready to receive web requests" in (folder / "log").read_text()


async def test_every_target_is_up_and_every_rule_is_evaluated(prometheus: Prometheus) -> None:
    wanted = {(f"moderation-{name}", "up") for name in ("handler", "relay", "gateway", "console")}

    async def all_is_well() -> bool:
        targets = (await prometheus.request("targets"))["activeTargets"]
        groups = (await prometheus.request("rules"))["groups"]
        states = {(target["labels"]["job"], target["health"]) for target in targets}
        health = {rule["health"] for group in groups for rule in group["rules"]}
        return (states, health, len(groups)) == (wanted, {"ok"}, 6)

    await wait_until(all_is_well, "every target is up, every rule is evaluated")


async def test_every_dashboard_query_returns_data(prometheus: Prometheus) -> None:
    waiting = [substitute_variables(expression) for path in DASHBOARDS for expression in expressions(path)]

    async def are_answered() -> bool:
        waiting[:] = [asked for asked in waiting if not await prometheus.query(asked)]
        return not waiting

    # A rate takes two looks of Prometheus.
    assert waiting
    await wait_until(are_answered, f"answers to {waiting}")


def substitute_variables(expression: str) -> str:
    """As Grafana asks it."""
    for variable, value in VARIABLES.items():
        expression = expression.replace(variable, value)
    return expression


async def test_prometheus_values_match_the_log(prometheus: Prometheus, isolated_system: System) -> None:
    connection = await asyncpg.connect(isolated_system.database_url)
    try:
        for expression, rows in {
            "sum(moderation_commands_total)": "verdict",
            "max(moderation_dead_letters_open)": "dead_letter",
            'sum(moderation_relay_position{topic="events"})': "event",
        }.items():
            await prometheus.wait_for_value(expression, await connection.fetchval(f"select count(*) from {rows}"))
    finally:
        await connection.close()


async def test_healthy_system_raises_only_the_dead_letter_alert(prometheus: Prometheus) -> None:
    await prometheus.wait_for_alerts({"DeadLettersOpen"})


async def test_paused_handler_raises_absence_alerts(prometheus: Prometheus, worked: dict[str, Process]) -> None:
    handler = worked["handler"].popen
    assert handler is not None
    handler.send_signal(signal.SIGSTOP)
    try:
        # It counts as nobody's partitions too; who is paged is told of the handler alone (alertmanager.yml).
        await prometheus.wait_for_alerts({"DeadLettersOpen", "HandlerAbsent", "ProcessDown", "PartitionUnowned"})
    finally:
        handler.send_signal(signal.SIGCONT)
