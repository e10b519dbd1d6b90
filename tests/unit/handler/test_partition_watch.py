"""Transactions of producers that hide commands: what the handler says, and how long brokers let them stay open."""

import yaml

from deploy.local.kafka import BROKER_SETTINGS
from deploy.local.paths import ROOT
from services.handler.partition_watch import OPEN_TRANSACTION_SECONDS_MAX, describe_open_transactions

TIMEOUT_MS = OPEN_TRANSACTION_SECONDS_MAX * 1000


def test_command_that_finds_the_producer_names_topic_and_partition() -> None:
    text = describe_open_transactions("moderation.commands", {3: 41, 7: 0})
    assert "hides commands: partition 3 from offset 41 on, partition 7 from offset 0 on." in text
    for partition in (3, 7):
        assert (
            "kafka-transactions.sh --bootstrap-server $KAFKA_BOOTSTRAP describe-producers --topic moderation.commands"
            f" --partition {partition}"
        ) in text
    # It shows only what is older than 15 minutes, and asks for the topic or the broker, too.
    assert "find-hanging" not in text


def test_every_broker_that_we_configure_ends_transactions_when_the_handler_expects_it() -> None:
    services = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text())["services"]
    brokers = {
        name: service["environment"]
        for name, service in services.items()
        if "KAFKA_PROCESS_ROLES" in service.get("environment", {})
    }
    assert brokers.keys() == {"kafka", "kafka-1", "kafka-2", "kafka-3", "secure-kafka"}
    assert {name: broker.get("KAFKA_TRANSACTION_MAX_TIMEOUT_MS") for name, broker in brokers.items()} == dict.fromkeys(
        brokers, TIMEOUT_MS
    )
    assert BROKER_SETTINGS["transaction.max.timeout.ms"] == str(TIMEOUT_MS)


def test_instructions_for_kafka_ask_for_it() -> None:
    assert f"`transaction.max.timeout.ms={TIMEOUT_MS}`" in (ROOT / "deploy/docs/deploying.md").read_text()
