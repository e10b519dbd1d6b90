"""A process waits for a broker that is away, and ends where waiting does not help."""

import pytest
from aiokafka.errors import (
    KafkaConnectionError,
    KafkaError,
    NodeNotReadyError,
    NotLeaderForPartitionError,
    TopicAuthorizationFailedError,
)

from services.runtime.start import wait_for_brokers


class Check:
    """Fails with these errors, one after the other, then passes."""

    def __init__(self, *errors: KafkaError) -> None:
        self.errors = list(errors)

    async def __call__(self) -> None:
        if self.errors:
            raise self.errors.pop(0)


async def test_start_waits_while_a_broker_that_it_asks_is_away() -> None:
    check = Check(NodeNotReadyError(), NotLeaderForPartitionError())

    await wait_for_brokers(check)

    assert check.errors == []


@pytest.mark.parametrize("error", [KafkaConnectionError("Unable to bootstrap"), TopicAuthorizationFailedError("x")])
async def test_start_ends_if_no_broker_is_reached_or_the_broker_refuses(error: KafkaError) -> None:
    with pytest.raises(type(error)):
        await wait_for_brokers(Check(error))
