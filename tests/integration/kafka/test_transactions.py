"""Errors of a producer that is used at the wrong time count as outages, so they are retried with a new producer."""

import pytest

from services.kafka.producer_closing import close_producer
from services.kafka.relay_progress import RelayProgress
from services.kafka.topics import create_missing_topics
from services.kafka.transactions import create_transactional_producer
from services.runtime.errors import KAFKA_ERRORS, describe_error
from tests.fixtures.system import RUN_PREFIX


async def test_sending_outside_of_a_transaction_counts_as_an_outage(bootstrap: str) -> None:
    await create_missing_topics(bootstrap, f"{RUN_PREFIX}-transactions", RelayProgress.initial("an installation"))
    producer = create_transactional_producer(bootstrap, f"{RUN_PREFIX}-transactions.relay")
    try:
        await producer.start()
        # A relay that is fenced between two sends is in the same state.
        with pytest.raises(KAFKA_ERRORS) as refused:
            await producer.send(f"{RUN_PREFIX}-transactions.verdicts", b"{}", partition=0)
    finally:
        await close_producer(producer)

    assert describe_error(refused.value) == "Kafka refuses: IllegalOperation"
