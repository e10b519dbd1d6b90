"""Connection arguments of an aiokafka client, from the environment.

KAFKA_BOOTSTRAP; for secured brokers also KAFKA_SECURITY_PROTOCOL (PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL),
KAFKA_SASL_MECHANISM (SCRAM-SHA-512), KAFKA_SASL_USERNAME, KAFKA_SASL_PASSWORD_FILE, KAFKA_SSL_CA_FILE,
KAFKA_SSL_CERTIFICATE_FILE and KAFKA_SSL_KEY_FILE.
"""

import os
import ssl
from pathlib import Path
from typing import Any


def kafka_options() -> dict[str, Any]:
    """Return the arguments. Raises KeyError, which names the missing variable, and OSError."""
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
