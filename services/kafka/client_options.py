"""The connection arguments of every Kafka client, from ``KAFKA_BOOTSTRAP`` and the ``KAFKA_…`` security settings.

tests/unit/kafka/test_client_options.py checks that no client is constructed with other connection arguments. Files
(password, certificates) are read for each new client, so that a rotated file needs no restart.
"""

import ssl
from pathlib import Path
from typing import Any

from services.config.base import SettingsError
from services.config.kafka import KafkaSecuritySettings
from services.kafka.client_patches import close_tls_at_once, return_to_bootstrap_servers


def client_options(bootstrap: str) -> dict[str, Any]:
    """Return the arguments of an aiokafka client: producer, consumer, admin client.

    Raises:
        SettingsError: a security setting is missing or invalid, or its file cannot be used; the message names it.
    """
    return_to_bootstrap_servers()
    settings = KafkaSecuritySettings()
    options: dict[str, Any] = {
        "bootstrap_servers": bootstrap,
        "security_protocol": settings.kafka_security_protocol,
    }
    if settings.uses_tls:
        close_tls_at_once()
        options["ssl_context"] = _create_ssl_context(settings)
    if settings.uses_sasl:
        options |= {
            "sasl_mechanism": settings.kafka_sasl_mechanism,
            "sasl_plain_username": settings.kafka_sasl_username,
            "sasl_plain_password": _read_password(settings),
        }
    return options


def librdkafka_options(bootstrap: str) -> dict[str, str | int | float | bool]:
    """Return the settings of a confluent_kafka client. Raises SettingsError, see :func:`client_options`."""
    settings = KafkaSecuritySettings()
    options: dict[str, str | int | float | bool] = {
        "bootstrap.servers": bootstrap,
        "security.protocol": settings.kafka_security_protocol,
    }
    if settings.uses_tls:
        _create_ssl_context(settings)  # Its error names the setting whose file cannot be used; librdkafka's does not.
        files = {
            "ssl.ca.location": settings.kafka_ssl_ca_file,
            "ssl.certificate.location": settings.kafka_ssl_certificate_file,
            "ssl.key.location": settings.kafka_ssl_key_file,
        }
        options |= {name: str(path) for name, path in files.items() if path is not None}
    if settings.uses_sasl:
        options |= {
            "sasl.mechanism": settings.kafka_sasl_mechanism,
            "sasl.username": settings.kafka_sasl_username or "",
            "sasl.password": _read_password(settings),
        }
    return options


def _create_ssl_context(settings: KafkaSecuritySettings) -> ssl.SSLContext:
    """Create a context that verifies brokers by the CA file or the system's CAs, and checks their host names."""
    ca_file, certificate_file = settings.kafka_ssl_ca_file, settings.kafka_ssl_certificate_file
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        raise _file_error("kafka_ssl_ca_file", ca_file, error) from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if certificate_file is not None:
        try:
            context.load_cert_chain(certificate_file, settings.kafka_ssl_key_file)
        except OSError as error:
            raise _file_error("kafka_ssl_certificate_file", certificate_file, error) from None
    return context


def _read_password(settings: KafkaSecuritySettings) -> str:
    path = settings.kafka_sasl_password_file
    assert path is not None
    try:
        password = path.read_text().rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise _file_error("kafka_sasl_password_file", path, error) from None
    if not password:
        raise _file_error("kafka_sasl_password_file", path, ValueError("it is empty"))
    return password


def _file_error(name: str, path: Path | None, error: Exception) -> SettingsError:
    reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
    description = KafkaSecuritySettings.model_fields[name].description
    return SettingsError(f"{name.upper()}: {path} cannot be used ({reason}): set it to {description}")
