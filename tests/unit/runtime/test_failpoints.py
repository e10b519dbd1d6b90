"""Failpoints act only at their point and pass, fail like the servers' clients, and change nothing while off."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator

import pytest

from services.config.base import SettingsError
from services.runtime.errors import KAFKA_CLIENT_ERRORS, POSTGRES_CLIENT_ERRORS
from services.runtime.failpoints import BOUNDARIES, Failpoints


class Log:
    """A client with a boundary of each kind."""

    appended = 0

    async def append(self) -> int:
        self.appended += 1
        return self.appended

    async def events(self) -> AsyncIterator[int]:
        yield 1
        yield 2


class OffsetClient:
    async def commit(self) -> None:
        """Commit offsets."""


def build(choices: str) -> tuple[Failpoints, Log]:
    failpoints = Failpoints()
    failpoints.configure(choices)
    return failpoints, failpoints.arm(Log(), "handler.log")


async def test_client_keeps_its_own_methods_while_failpoints_are_off() -> None:
    _, log = build("")
    assert vars(log) == {}


async def test_failure_before_a_boundary_sends_nothing() -> None:
    _, log = build("handler.log.append.before=raise")
    with pytest.raises(POSTGRES_CLIENT_ERRORS, match=r"handler\.log\.append\.before"):
        await log.append()
    assert log.appended == 0


async def test_failure_after_a_boundary_hides_what_was_done() -> None:
    _, log = build("handler.log.append.after=raise")
    with pytest.raises(POSTGRES_CLIENT_ERRORS):
        await log.append()
    assert log.appended == 1


async def test_kafka_boundary_fails_as_kafka_client() -> None:
    failpoints, _ = build("handler.consumer.commit.before=raise")
    with pytest.raises(KAFKA_CLIENT_ERRORS):
        await failpoints.arm(OffsetClient(), "handler.consumer").commit()


@pytest.mark.parametrize(
    ("passes", "failing"), [("", [1, 2, 3, 4]), ("@3", [3]), ("@3+", [3, 4])], ids=["each", "third", "from third"]
)
async def test_failpoint_acts_only_on_the_chosen_passes(passes: str, failing: list[int]) -> None:
    _, log = build(f"handler.log.append.before=raise{passes}")
    failed = []
    for count in range(1, 5):
        try:
            await log.append()
        except POSTGRES_CLIENT_ERRORS:
            failed.append(count)
    assert failed == failing


async def test_arming_a_client_twice_adds_each_failpoint_once() -> None:
    failpoints, log = build("handler.log.append.before=raise@2")
    failpoints.arm(log, "handler.log")
    assert await log.append() == 1


async def test_failpoints_of_a_generator_surround_the_whole_iteration() -> None:
    _, log = build("handler.log.events.after=raise")
    events = log.events()
    assert [await anext(events), await anext(events)] == [1, 2]
    with pytest.raises(POSTGRES_CLIENT_ERRORS):
        await anext(events)


async def test_delay_does_not_block_the_rest_of_the_process() -> None:
    failpoints, log = build("handler.log.append.before=delay(0.001)")
    waiting = asyncio.create_task(log.append())
    await asyncio.sleep(0)
    assert failpoints.passes == {"handler.log.append.before": 1}
    assert await waiting == 1


async def test_failpoints_surround_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    killed: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda process, number: killed.append((process, number)))
    failpoints, _ = build("relay.connect.after=crash")
    async with failpoints.around("relay.connect"):
        assert killed == []
    assert killed == [(os.getpid(), signal.SIGKILL)]


@pytest.mark.parametrize(
    "choices",
    ["handler.log.append=crash", "handler.log.forget.before=crash", "handler.log.append.before=explode",
     "handler.log.append.before=crash@0", "handler.log.append.during=crash"],
)  # fmt: skip
def test_error_of_an_unknown_failpoint_or_action_lists_the_existing_ones(choices: str) -> None:
    with pytest.raises(SettingsError, match=r"relay\.producer\.commit_transaction"):
        Failpoints().configure(choices)


def test_every_boundary_has_failpoints_before_and_after() -> None:
    failpoints = Failpoints()
    failpoints.configure(",".join(f"{name}.{moment}=delay(0)" for name in BOUNDARIES for moment in ("before", "after")))
    assert len(failpoints.choices) == 2 * len(BOUNDARIES)
