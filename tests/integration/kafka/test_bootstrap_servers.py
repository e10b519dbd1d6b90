"""All our clients start if KAFKA_BOOTSTRAP lists several brokers and some of them are down."""

import pytest

from services.console.cli.server_watchdog import kafka_server
from services.kafka.relay_progress import RelayProgress
from services.kafka.topics import create_missing_topics, verify_topics
from tests.fixtures.system import RUN_PREFIX, System
from tests.fixtures.token_issuer import TokenIssuer

DEAD_BROKER = "127.0.0.1:1"


@pytest.fixture
def brokers(bootstrap: str) -> str:
    """Return two brokers, of which the first is down."""
    return f"{DEAD_BROKER},{bootstrap}"


async def test_topics_are_created_and_checked_with_one_broker_down(brokers: str) -> None:
    await create_missing_topics(brokers, f"{RUN_PREFIX}-several", RelayProgress.initial("an installation"))
    await verify_topics(brokers, f"{RUN_PREFIX}-several")
    assert await kafka_server(brokers).is_answering()


async def test_every_process_becomes_ready_with_one_broker_down(
    system: System, brokers: str, issuer: TokenIssuer
) -> None:
    processes = [
        system.create_process("handler", KAFKA_BOOTSTRAP=brokers),
        system.create_process("relay", KAFKA_BOOTSTRAP=brokers),
        system.create_gateway(issuer, KAFKA_BOOTSTRAP=brokers),
        system.create_console(issuer, KAFKA_BOOTSTRAP=brokers),
    ]
    for process in processes:
        process.start()
    for process in processes:
        await process.wait_until_ready()
