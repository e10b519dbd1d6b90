"""Settings of Kafka: brokers, TLS and SASL, names and configuration of topics."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from services.config.base import Settings


class KafkaSecuritySettings(Settings):
    """How clients connect to the brokers: TLS, SASL and their files. ``services.kafka.client_options`` reads the files.

    Without ``kafka_ssl_ca_file`` the system's certificate authorities are trusted. A setting that
    ``kafka_security_protocol`` does not use is refused: if the protocol was forgotten, traffic would be unencrypted.
    """

    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        default="PLAINTEXT", description="PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL"
    )
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        default="SCRAM-SHA-512", description="PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512"
    )
    kafka_sasl_username: str | None = Field(default=None, description="the Kafka user of this process")
    kafka_sasl_password_file: Path | None = Field(
        default=None, description="the path of a file that holds the user's password"
    )
    kafka_ssl_ca_file: Path | None = Field(
        default=None, description="the path of a PEM file with the authorities that sign the brokers' certificates"
    )
    kafka_ssl_certificate_file: Path | None = Field(
        default=None, description="the path of a PEM file with this process's certificate, for brokers that require one"
    )
    kafka_ssl_key_file: Path | None = Field(
        default=None, description="the path of a PEM file with the private key of that certificate"
    )

    @property
    def uses_tls(self) -> bool:
        """Return whether connections are encrypted."""
        return self.kafka_security_protocol in ("SSL", "SASL_SSL")

    @property
    def uses_sasl(self) -> bool:
        """Return whether clients sign in with user and password."""
        return self.kafka_security_protocol in ("SASL_PLAINTEXT", "SASL_SSL")

    @model_validator(mode="after")
    def _check_combination(self) -> Self:
        sasl = {"kafka_sasl_username", "kafka_sasl_password_file"}
        tls = {"kafka_ssl_ca_file", "kafka_ssl_certificate_file", "kafka_ssl_key_file"}
        given = {name for name in sasl | tls if getattr(self, name) is not None}
        unused = sorted((given & sasl if not self.uses_sasl else set()) | (given & tls if not self.uses_tls else set()))
        if unused:
            raise ValueError(
                f"{unused[0].upper()} is set, but KAFKA_SECURITY_PROTOCOL is {self.kafka_security_protocol}, which does"
                " not use it: set the protocol to SASL_SSL, or to the brokers' own"
            )
        pair = {"kafka_ssl_certificate_file", "kafka_ssl_key_file"}
        missing = sorted((sasl if self.uses_sasl else set()) - given) or (sorted(pair - given) if pair & given else [])
        if missing:
            raise ValueError(self._describe_problem(missing[0], "missing"))
        return self


class KafkaSettings(KafkaSecuritySettings):
    """The brokers and topics. aiokafka splits ``kafka_bootstrap`` at commas itself; FastStream needs a list."""

    kafka_bootstrap: str = Field(description="host:port, several separated by commas")
    topic_prefix: str = Field(
        default="moderation",
        pattern=r"^[A-Za-z0-9._-]{1,200}$",
        description="at most 200 letters, digits, dots, underscores and hyphens",
    )

    @field_validator("kafka_bootstrap")
    @classmethod
    def _validate_kafka_bootstrap(cls, value: str) -> str:
        servers = [server.strip() for server in value.split(",")]
        if not all(servers):
            raise ValueError("not a list of brokers")
        return ",".join(servers)

    def bootstrap_servers(self) -> list[str]:
        """Return the brokers to connect to first, each as host:port."""
        return self.kafka_bootstrap.split(",")


class TopicConfigSettings(Settings):
    """Settings that topics are created with, and that every process checks.

    ``topic_replication_factor`` None means 3, or 1 if the cluster's own quorum is one broker.
    """

    topic_replication_factor: int | None = Field(
        default=None, ge=3, le=100, description="a number of replicas from 3 to 100, or leave it unset for 3"
    )
    topic_retention_days: int = Field(
        default=14, ge=1, le=3_650, description="the days that records stay on the topics, from 1 to 3650"
    )
