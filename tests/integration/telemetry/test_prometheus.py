"""A real Prometheus scrapes the running system: targets, rules, dashboard queries and values are right."""

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

# A pause of the machine affects the one-minute rates for a minute.
ALERTS_SECONDS = 150
VARIABLES = {"$__rate_interval": "1m", "$__range": "1h", "$job": ".*", "$instance": ".*"}


class Prometheus:
    def __init__(self, url: str) -> None:
        self.http = httpx.AsyncClient(base_url=url, timeout=90)

    async def request(self, path: str, **parameters: str) -> Any:
        response = await self.http.get(f"/api/v1/{path}", params=parameters)
        assert response.status_code == 200, response.text
        return response.json()["data"]

    async def query(self, expression: str) -> list[Json]:
        series: list[Json] = (await self.request("query", query=expression))["result"]
        return series

    async def wait_for_alerts(self, alerts: set[str]) -> None:
        """Wait until exactly these alerts are pending or firing."""

        async def are_active() -> bool:
            return {alert["labels"]["alertname"] for alert in (await self.request("alerts"))["alerts"]} == alerts

        await wait_until(are_active, f"{alerts} and no others", ALERTS_SECONDS)

    async def wait_for_value(self, expression: str, value: float) -> None:
        """Wait until a query has one series, of that value."""

        async def has_value() -> bool:
            return [float(each["value"][1]) for each in await self.query(expression)] == [value]

        await wait_until(has_value, f"{expression} is {value}")


@pytest.fixture(scope="module")
async def prometheus(worked: dict[str, Process], tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Prometheus]:
    """Start Prometheus with the repository's configuration, but a scrape interval of one second."""
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
    wanted = {(f"moderation-{name}", "up") for name in ("handler", "relay", "gateway", "console", "scheduler")}

    async def are_up() -> bool:
        targets = (await prometheus.request("targets"))["activeTargets"]
        groups = (await prometheus.request("rules"))["groups"]
        states = {(target["labels"]["job"], target["health"]) for target in targets}
        health = {rule["health"] for group in groups for rule in group["rules"]}
        return (states, health, len(groups)) == (wanted, {"ok"}, 7)

    await wait_until(are_up, "every target is up, every rule is evaluated")


async def test_every_dashboard_query_returns_data(prometheus: Prometheus) -> None:
    # Where nothing is scheduled a panel shows no time: the comparison that hides it is left out.
    unanswered = [
        substitute_variables(expression).removesuffix(" < Inf")
        for path in DASHBOARDS
        for expression in expressions(path)
    ]

    async def are_answered() -> bool:
        unanswered[:] = [expression for expression in unanswered if not await prometheus.query(expression)]
        return not unanswered

    # A rate needs two scrapes.
    assert unanswered
    await wait_until(are_answered, f"answers to {unanswered}")


def substitute_variables(expression: str) -> str:
    """Replace Grafana's variables, as Grafana does."""
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
        # Its partitions count as unowned too; alertmanager.yml suppresses all but HandlerAbsent.
        await prometheus.wait_for_alerts({"DeadLettersOpen", "HandlerAbsent", "ProcessDown", "PartitionUnowned"})
    finally:
        handler.send_signal(signal.SIGCONT)
