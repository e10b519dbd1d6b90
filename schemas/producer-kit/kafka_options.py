"""Connects an aiokafka client by the environment, and ends a program with one line if that fails.

KAFKA_BOOTSTRAP; for secured brokers also KAFKA_SECURITY_PROTOCOL (PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL),
KAFKA_SASL_MECHANISM (SCRAM-SHA-512), KAFKA_SASL_USERNAME, KAFKA_SASL_PASSWORD_FILE, KAFKA_SSL_CA_FILE,
KAFKA_SSL_CERTIFICATE_FILE and KAFKA_SSL_KEY_FILE.
"""

import asyncio
import logging
import os
import ssl
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from aiokafka.errors import KafkaConnectionError, KafkaError, UnknownTopicOrPartitionError

EXIT_FINDING, EXIT_USAGE, EXIT_KAFKA = 1, 2, 3


class SettingsError(Exception):
    """A variable is missing or names a file that cannot be read; the message names it."""


class BrokerUnreachable(Exception):
    """No broker of KAFKA_BOOTSTRAP answers; the message states the address, the cause and what to check."""


def kafka_options() -> dict[str, Any]:
    """Return the arguments of a client. Raises SettingsError."""
    try:
        return _read_options()
    except KeyError as error:
        raise SettingsError(f"{error.args[0]} is not set or not exported") from None
    except OSError as error:
        raise SettingsError(f"{error}: a file of the KAFKA_… variables cannot be read") from None


def _read_options() -> dict[str, Any]:
    protocol = os.environ.get("KAFKA_SECURITY_PROTOCOL", "PLAINTEXT")
    options: dict[str, Any] = {
        "bootstrap_servers": os.environ["KAFKA_BOOTSTRAP"],
        "security_protocol": protocol,
    }
    if protocol in ("SSL", "SASL_SSL"):
        options["ssl_context"] = ssl.create_default_context(cafile=os.environ.get("KAFKA_SSL_CA_FILE"))
        if certificate := os.environ.get("KAFKA_SSL_CERTIFICATE_FILE"):
            options["ssl_context"].load_cert_chain(certificate, os.environ["KAFKA_SSL_KEY_FILE"])
    if protocol.startswith("SASL_"):
        options["sasl_mechanism"] = os.environ.get("KAFKA_SASL_MECHANISM", "SCRAM-SHA-512")
        options["sasl_plain_username"] = os.environ["KAFKA_SASL_USERNAME"]
        options["sasl_plain_password"] = Path(os.environ["KAFKA_SASL_PASSWORD_FILE"]).read_text().rstrip("\r\n")
    return options


class _LastMessage(logging.Handler):
    """Keeps the client's last message: the cause, which its exception does not carry."""

    text = "no answer"

    def emit(self, record: logging.LogRecord) -> None:
        self.text = record.getMessage()


async def start_client(client: Any) -> None:
    """Start a consumer, a producer or an administration client. Raises BrokerUnreachable and other errors of Kafka."""
    log, cause = logging.getLogger("aiokafka"), _LastMessage(logging.WARNING)
    propagated, log.propagate = log.propagate, False
    log.addHandler(cause)
    try:
        await client.start()
    except KafkaError as error:
        await (client.close() if hasattr(client, "close") else client.stop())
        if not isinstance(error, KafkaConnectionError):
            raise
        raise BrokerUnreachable(
            f"no Kafka broker answers at KAFKA_BOOTSTRAP={os.environ['KAFKA_BOOTSTRAP']} ({cause.text}). Check the"
            " address, that Kafka is running and that this machine may connect to it; a secured broker needs the"
            " variables listed in kafka_options.py. Development stack: run deploy/stack up, then"
            ' eval "$(deploy/stack env)" and export KAFKA_BOOTSTRAP'
        ) from None
    finally:
        log.removeHandler(cause)
        log.propagate = propagated


def run_program(work: Coroutine[Any, Any, None], effect: str) -> None:
    """Run a program; an unknown topic ends it with exit code 1, wrong settings with 2, a failure of Kafka with 3.

    ``effect``: what did not happen if no broker answers, such as "nothing was read".
    """
    program = Path(sys.argv[0]).name
    try:
        asyncio.run(work)
    except SettingsError as error:
        _exit(EXIT_USAGE, f"{program}: {error}; {effect}. kafka_options.py lists the variables")
    except BrokerUnreachable as error:
        _exit(EXIT_KAFKA, f"{program}: {effect}: {error}")
    except UnknownTopicOrPartitionError:
        _exit(EXIT_FINDING, f"{program}: {effect}: there is no such topic for this user. Check its name and prefix")
    except KafkaError as error:
        _exit(EXIT_KAFKA, f"{program}: Kafka failed: {error!r}. Run the program again when Kafka answers")
    except KeyboardInterrupt:
        sys.exit(130)


def _exit(code: int, message: str) -> None:
    print(message, file=sys.stderr)
    sys.exit(code)
