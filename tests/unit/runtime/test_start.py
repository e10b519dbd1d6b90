"""A process waits for a broker that is away, and ends where waiting does not help."""

import pytest
from aiokafka.errors import (
    KafkaConnectionError,
    KafkaError,
    NodeNotReadyError,
    NotLeaderForPartitionError,
    TopicAuthorizationFailedError,
)

from services.runtime import start
from services.runtime.start import LOST_CONNECTIONS_MAX, wait_for_brokers


class Check:
    """Fails with these errors, one after the other, then passes."""

    def __init__(self, *errors: KafkaError) -> None:
        self.errors = list(errors)

    async def __call__(self) -> None:
        if self.errors:
            raise self.errors.pop(0)


async def test_start_waits_while_a_broker_that_it_asks_is_away() -> None:
    closed = KafkaConnectionError("Connection at 10.0.0.1:9092 closed")
    check = Check(NodeNotReadyError(), closed, NotLeaderForPartitionError(), closed)

    await wait_for_brokers(check)

    assert check.errors == []


async def test_start_ends_if_the_broker_refuses() -> None:
    with pytest.raises(TopicAuthorizationFailedError):
        await wait_for_brokers(Check(TopicAuthorizationFailedError("x")))


async def test_start_ends_once_no_broker_was_reached_several_times_in_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(start, "OTHER_BROKER_SECONDS", 0)
    away = [KafkaConnectionError("Unable to bootstrap")] * (LOST_CONNECTIONS_MAX - 1)

    await wait_for_brokers(Check(*away, NodeNotReadyError(), *away))
    with pytest.raises(KafkaConnectionError):
        await wait_for_brokers(Check(*away, *away[:1]))
