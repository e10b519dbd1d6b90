"""Running processes expose exactly the catalogued metrics, with values that match the log."""

import json
import uuid
from collections.abc import Callable
from functools import partial

import asyncpg
import pytest

from deploy.monitoring.metrics_doc import METRICS_BY_PROCESS
from services.kafka.partitioning import SHARD_COUNT
from services.telemetry.consumer_lag import PartitionState
from services.telemetry.metrics.process import ProcessMetrics
from tests.fixtures.bad_inputs import BAD_INPUTS
from tests.fixtures.process_runner import Process, wait_until
from tests.fixtures.system import System

# Exposed only if tokens are required: see test_outages.
AUTH_METRICS = {"moderation_auth_failures", "moderation_jwks_age_seconds"}


@pytest.mark.parametrize(("name", "metrics"), METRICS_BY_PROCESS.items())
def test_exposed_metrics_equal_the_catalogue_and_have_values(
    worked: dict[str, Process], name: str, metrics: Callable[[], ProcessMetrics]
) -> None:
    families = worked[name].get_metrics()
    catalogue = {family.name: family.documentation for family in metrics().registry.collect()}
    without = {family.name for family in families if not family.samples}

    assert {family.name: family.documentation for family in families} == catalogue
    assert without <= (AUTH_METRICS if name == "handler" else set())


async def test_idle_metrics_match_the_log(isolated_system: System, worked: dict[str, Process]) -> None:
    handler, relay = worked["handler"], worked["relay"]
    told: dict[str, Callable[[], set[float]]] = {
        "verdict": lambda: {
            handler.get_metric("moderation_commands_total"),
            relay.get_metric("moderation_relay_position", topic="verdicts"),
        },
        "event": lambda: {
            relay.get_metric("moderation_relay_position", topic="events"),
            relay.get_metric("moderation_log_position", topic="events"),
        },
        "dead_letter": lambda: {
            handler.get_metric("moderation_dead_letters_total"),
            relay.get_metric("moderation_dead_letters_open"),
        },
        "(select 1 from verdict union all select 1 from dead_letter) record": lambda: {
            handler.get_metric("moderation_command_seconds_count"),
            handler.get_metric("moderation_batch_commands_sum"),
        },
    }
    connection = await asyncpg.connect(isolated_system.database_url)
    try:
        for rows, numbers in told.items():
            count = await connection.fetchval(f"select count(*) from {rows}")
            assert count
            await wait_until(partial(are_reported, numbers, count), f"{count} rows of {rows} are told")
    finally:
        await connection.close()
    await wait_until(
        lambda: (
            handler.get_metric("moderation_consumer_lag_records")
            == relay.get_metric("moderation_relay_lag_records")
            == 0
        ),
        "nothing waits",
    )
    states = [
        sample for family in handler.get_metrics() for sample in family.samples if "consumer_state" in sample.name
    ]
    assert [(len(states), sample.value) for sample in states] == [(SHARD_COUNT, PartitionState.OK)] * SHARD_COUNT


def are_reported(numbers: Callable[[], set[float]], count: int) -> bool:
    return numbers() == {count}


async def test_commands_under_another_key_than_their_course_are_counted(
    isolated_system: System, worked: dict[str, Process]
) -> None:
    for key in (None, b"1002", b"1001"):
        command = {**BAD_INPUTS["bases"]["upsert_course"], "command_id": str(uuid.uuid4())}
        await isolated_system.client.send_raw(json.dumps(command).encode(), key)
    other_keys = partial(worked["handler"].get_metric, "moderation_other_key_commands_total")
    await wait_until(lambda: other_keys() >= 2, "two commands are counted")
    assert other_keys() == 2
