"""Settings from the environment, read once per process. Secrets are never printed.

A field's name in capitals is its variable; its description completes the error "set it to …". An empty variable counts
as unset.
"""

from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

CommandAuth = Literal["off", "required", "bound"]
LMS_URL_DESCRIPTION = "the http or https URL of the LMS's web pages"
JWKS_DESCRIPTION = "the path of a JWK set file, or its https URL"
LOOPBACK_HOSTS = ("127.0.0.1", "::1", "localhost")
DATABASE_URL_DESCRIPTION = "postgresql://user:password@host:port/database"  # pragma: allowlist secret


class SettingsError(Exception):
    """Variables are missing or invalid; the message has a line for each that states what to set it to."""


class Settings(BaseSettings):
    """Base of all settings.

    Raises:
        SettingsError: a variable is missing or invalid. pydantic's own error would print the value, and so the password
            in DATABASE_URL.
    """

    model_config = SettingsConfigDict(frozen=True, env_ignore_empty=True, hide_input_in_errors=True)

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            lines = [
                self._describe_problem(str(detail["loc"][0]), detail["type"])
                if detail["loc"]
                else str(detail["ctx"]["error"])
                for detail in error.errors(include_input=False)
            ]
            raise SettingsError("\n".join(lines)) from None

    @classmethod
    def _describe_problem(cls, name: str, error_type: str) -> str:
        problem = "is not set" if error_type == "missing" else "cannot be used as it is"
        return f"{name.upper()} {problem}: set it to {cls.model_fields[name].description}"


class DatabaseSettings(Settings):
    """The log's database."""

    database_url: SecretStr = Field(description=DATABASE_URL_DESCRIPTION)

    @field_validator("database_url")
    @classmethod
    def _validate_database_url(cls, value: SecretStr) -> SecretStr:
        # urlsplit itself raises ValueError for an invalid host.
        if urlsplit(value.get_secret_value()).scheme not in ("postgresql", "postgres"):
            raise ValueError("not a PostgreSQL URL")
        return value

    def url(self) -> str:
        """Return the URL, password included."""
        return self.database_url.get_secret_value()


class EncryptionSettings(Settings):
    """Location of the master key for the log's encryption keys; equal in all processes of an installation."""

    encryption_key_file: Path | None = Field(
        default=None,
        description="the path of a file with 32 random bytes in base64 (openssl rand -base64 32), or leave it unset",
    )


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


class ProcessSettings(DatabaseSettings, KafkaSettings):
    """Settings of every process.

    With ``health_port`` 0 a process serves no health endpoints. ``health_host`` is the address that a kubelet or
    Prometheus on another machine connects to. Gateway and console serve these endpoints on their users' port unless
    ``health_port`` is another one.
    """

    health_port: int = Field(default=0, ge=0, le=65_535, description="a port, or 0 for no health endpoints")
    health_host: str = Field(default="127.0.0.1", description="the address to serve the health endpoints on")
    log_level: str = Field(
        default="INFO", pattern=r"^(DEBUG|INFO|WARNING|ERROR)$", description="DEBUG, INFO, WARNING or ERROR"
    )
    otel_exporter_otlp_endpoint: str | None = Field(
        default=None,
        pattern=r"^https?://",
        description="the http or https URL of an OpenTelemetry collector, or leave it unset for no traces",
    )


class HttpSettings(Settings):
    """How clients reach gateway and console."""

    forwarded_allow_ips: str | None = Field(
        default=None,
        pattern=r"^[0-9A-Fa-f.:/, *]{1,1000}$",
        description="the addresses or networks of the proxies whose X-Forwarded-For and X-Forwarded-Proto are trusted,"
        " separated by commas, or leave it unset",
    )
    unauthenticated_requests_per_minute: int = Field(
        default=600,
        ge=1,
        le=1_000_000,
        description="the requests without a valid token that an address may send in a minute, from 1 to 1000000",
    )


class ShardSettings(Settings):
    """Canvas's shard, equal in all processes of an installation: its global ids are published and accepted."""

    live_events_shard: int | None = Field(
        default=None, ge=1, le=900_000, description="Canvas's shard number from 1 to 900000, or leave it unset"
    )


class TokenSettings(Settings):
    """Required claims and lifetimes of tokens, and the age of keys; equal in all processes of an installation."""

    jwt_audience: str | None = Field(
        default=None, max_length=255, description="the audience that aud of every token must contain, or leave it unset"
    )
    jwt_issuer: str | None = Field(
        default=None, max_length=255, description="the issuer that iss of every token must be, or leave it unset"
    )
    jwt_lifetime_max: int = Field(
        default=25 * 3_600,
        ge=600,
        le=400 * 86_400,
        description="the seconds that a token may be valid for, from 600, which the gateway gives its own, to 34560000",
    )
    jwks_age_max: int = Field(
        default=86_400,
        ge=60,
        le=30 * 86_400,
        description="the seconds that keys are used for while the JWK set cannot be read, from 60 to 2592000",
    )


class HandlerSettings(ProcessSettings, ShardSettings, TokenSettings):
    """Settings of the handler. ``handler_instance`` (unique per running process) avoids a rebalance at a restart.

    A transaction ends after the command that reaches ``handler_batch_events`` or ``handler_batch_bytes``.
    ``handler_cache_mib`` limits the memory of cached courses and assignments; subscribers share it.
    """

    handler_instance: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9._-]{1,200}$",
        description="at most 200 letters, digits, dots, underscores and hyphens, unique per running handler",
    )
    handler_subscribers: int = Field(default=2, ge=1, le=64, description="a number from 1 to 64")
    dead_letter_days: int = Field(
        default=90, ge=1, le=3_650, description="the days for which contents of dead letters are kept, from 1 to 3650"
    )
    handler_batch_records: int = Field(default=1_000, ge=1, le=5_000, description="a number from 1 to 5000")
    handler_cache_mib: int = Field(default=256, ge=1, le=65_536, description="a number of MiB from 1 to 65536")
    handler_batch_events: int = Field(default=20_000, ge=1, le=200_000, description="a number from 1 to 200000")
    handler_batch_bytes: int = Field(
        default=16 << 20, ge=1 << 10, le=256 << 20, description="a number of bytes from 1024 to 268435456"
    )
    clock_difference_seconds_max: int = Field(
        default=120,
        ge=5,
        le=3_600,
        description="the seconds by which PostgreSQL's clock and the handler's may differ, from 5 to 3600",
    )
    command_auth: CommandAuth = Field(default="off", description="off, required or bound")
    jwks: str | None = Field(default=None, description=JWKS_DESCRIPTION)

    @field_validator("jwks")
    @classmethod
    def _validate_jwks(cls, value: str | None) -> str | None:
        return validate_jwks_location(value)

    @model_validator(mode="after")
    def _require_jwks(self) -> Self:
        if self.command_auth != "off" and self.jwks is None:
            raise ValueError(f"JWKS is not set: with COMMAND_AUTH={self.command_auth} set it to {JWKS_DESCRIPTION}")
        return self


class PublishingSettings(ShardSettings):
    """The format of published records; equal in all processes of an installation.

    ``live_events_shard`` None sends local ids, a number sends Canvas's global ids (shard * 10**13 + id). Caliper events
    name the LMS by ``lms_url``, or by ``event_source`` if it is not set.
    """

    event_source: str = Field(
        default="urn:moderated-grading",
        pattern=r"^[!-~]{1,255}$",
        description="a URI of at most 255 characters, the base of every ce_source",
    )
    lms_url: str | None = Field(default=None, description=f"{LMS_URL_DESCRIPTION}, or leave it unset")

    @field_validator("lms_url")
    @classmethod
    def _validate_lms_url(cls, value: str | None) -> str | None:
        return None if value is None else validate_base_url(value) + "/"


class TopicSettings(DatabaseSettings, KafkaSettings):
    """Settings of ``create-topics``."""


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


class RelaySettings(ProcessSettings, PublishingSettings):
    """Settings of the relay."""

    relay_takeover_seconds: float = Field(
        default=3,
        ge=1,
        le=60,
        description="the seconds without a heartbeat after which a relay loses its lanes to another one, from 1 to 60",
    )


class SchedulerSettings(ProcessSettings, TokenSettings):
    """Settings of the scheduler, which signs its commands with ``command_key``, for handlers with COMMAND_AUTH."""

    command_key: Path | None = Field(
        default=None, description="the path of a private key file made by python -m services.auth.signer"
    )


class ReplaySettings(DatabaseSettings, KafkaSettings, PublishingSettings):
    """Settings of replay and rewind."""


class VerifySettings(KafkaSettings, PublishingSettings):
    """Settings of ``verify``. Without ``database_url`` it makes only the checks that any consumer can make."""

    database_url: SecretStr | None = Field(default=None, description=DATABASE_URL_DESCRIPTION)


class GatewaySettings(ProcessSettings, ShardSettings, TokenSettings, HttpSettings):
    """Settings of the gateway.

    Links to this service start with ``gateway_url``, links to the LMS's pages with ``lms_url``. The gateway signs its
    commands with ``command_key``, for handlers with COMMAND_AUTH.
    """

    gateway_port: int = Field(ge=1, le=65_535, description="the port to serve HTTP on")
    gateway_host: str = Field(default="127.0.0.1", description="the address to serve HTTP on")
    gateway_url: str = Field(description="the http or https URL at which clients reach this service")
    lms_url: str = Field(description=LMS_URL_DESCRIPTION)
    jwks: str = Field(description=JWKS_DESCRIPTION)
    command_key: Path | None = Field(
        default=None, description="the path of a private key file made by python -m services.auth.signer"
    )
    verdict_wait_seconds: float = Field(default=5, gt=0, le=60, description="a number of seconds up to 60")
    requests_per_minute: int = Field(
        default=6_000,
        ge=1,
        le=1_000_000,
        description="the requests that a user may send in a minute, from 1 to 1000000",
    )

    @property
    def separate_health_port(self) -> int:
        """Return ``health_port``, 0 if it is the users' port."""
        return 0 if self.health_port == self.gateway_port else self.health_port

    @field_validator("jwks")
    @classmethod
    def _validate_jwks(cls, value: str) -> str:
        return validate_jwks_location(value) or value

    @field_validator("gateway_url", "lms_url")
    @classmethod
    def _validate_base_urls(cls, value: str) -> str:
        return validate_base_url(value)


class OpenIdSettings(Settings):
    """The OpenID provider that signs operators in at the console, if any."""

    console_openid_issuer: str | None = Field(
        default=None, description="the https URL of the OpenID provider that signs operators in, or leave it unset"
    )
    console_openid_client_id: str | None = Field(
        default=None, max_length=255, description="the console's client id at the OpenID provider"
    )
    console_openid_client_secret_file: Path | None = Field(
        default=None, description="the path of a file with the secret of that client, or leave it unset if it has none"
    )
    console_openid_scopes: str = Field(
        default="openid",
        pattern=r"^[!-~]+( [!-~]+)*$",
        max_length=1_000,
        description="the scopes that the console requests from the provider, separated by spaces, including openid",
    )
    console_openid_user_claim: str = Field(
        default="sub", min_length=1, max_length=255, description="the claim of the ID token that holds the user id"
    )
    console_openid_scope_claim: str = Field(
        default="scope",
        min_length=1,
        max_length=255,
        description="the claim of the ID token that holds the operator's scopes, such as groups",
    )

    @field_validator("console_openid_issuer")
    @classmethod
    def _validate_openid_issuer(cls, value: str | None) -> str | None:
        if value is not None and "://" not in value:
            raise ValueError("not a URL")
        return validate_jwks_location(value)

    @model_validator(mode="after")
    def _require_openid_client(self) -> Self:
        if (self.console_openid_issuer is None) != (self.console_openid_client_id is None):
            missing = "console_openid_client_id" if self.console_openid_client_id is None else "console_openid_issuer"
            raise ValueError(self._describe_problem(missing, "missing"))
        return self


class ConsoleSettings(ProcessSettings, PublishingSettings, TokenSettings, HttpSettings, OpenIdSettings):
    """Settings of the console.

    With an https ``console_url`` browsers send the session cookie over https only. ``jwks`` verifies the users' tokens.
    Set ``command_auth`` as for the handler, so that a dry run decides like the handler.
    """

    console_port: int = Field(ge=1, le=65_535, description="the port to serve the console on")
    console_host: str = Field(default="127.0.0.1", description="the address to serve the console on")
    console_url: str = Field(description="the http or https URL at which operators reach the console")
    console_idle_seconds: int = Field(
        default=1_800,
        ge=60,
        le=86_400,
        description="the seconds after which an unused session ends, from 60 to 86400",
    )
    jwks: str = Field(description=JWKS_DESCRIPTION)
    command_auth: CommandAuth = Field(default="off", description="off, required or bound")
    gateway_url: str | None = Field(
        default=None,
        description="the http or https URL at which the console reaches a gateway, without user and password",
    )
    requests_per_minute: int = Field(
        default=1_200,
        ge=1,
        le=1_000_000,
        description="the requests that a user may send in a minute, from 1 to 1000000",
    )

    @property
    def separate_health_port(self) -> int:
        """Return ``health_port``, 0 if it is the port of the users."""
        return 0 if self.health_port == self.console_port else self.health_port

    @field_validator("jwks")
    @classmethod
    def _validate_jwks(cls, value: str) -> str:
        return validate_jwks_location(value) or value

    @field_validator("console_url", "gateway_url")
    @classmethod
    def _validate_base_urls(cls, value: str | None) -> str | None:
        return None if value is None else validate_base_url(value)


def validate_jwks_location(value: str | None) -> str | None:
    """Return the value. Raises ValueError unless it is a path, an https URL, or an http URL of this machine."""
    if value is None or "://" not in value:
        return value
    parts = urlsplit(value)
    if parts.hostname and (parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK_HOSTS)):
        return value
    raise ValueError("neither a path nor an https URL")


class DryRunSettings(DatabaseSettings, KafkaSettings, ShardSettings, TokenSettings):
    """Settings of a dry run. With ``command_auth`` and ``jwks`` as in the handler it decides like the handler."""

    command_auth: CommandAuth = Field(default="off", description="off, required or bound")
    jwks: str | None = Field(default=None, description=JWKS_DESCRIPTION)

    @field_validator("jwks")
    @classmethod
    def _validate_jwks(cls, value: str | None) -> str | None:
        return validate_jwks_location(value)


class OperatorSettings(DryRunSettings):
    """Settings of repairs from the command line. ``jwks`` verifies ``operator_token`` and the tokens of commands."""

    jwks: str = Field(description=JWKS_DESCRIPTION)
    operator_token: SecretStr = Field(description="a token with scope moderation.operator or moderation.admin")


class ModeratorSettings(Settings):
    """Settings of the moderators' commands, which send requests to the gateway as the token's user."""

    gateway_url: str = Field(description="the http or https URL of the gateway, without user and password")
    moderator_token: SecretStr = Field(description="a token of the moderating user, as for the HTTP API")

    @field_validator("gateway_url")
    @classmethod
    def _validate_gateway_url(cls, value: str) -> str:
        return validate_base_url(value)


def validate_base_url(value: str) -> str:
    """Return the URL without a trailing slash. Raises ValueError unless it can be the base of links.

    User and password are refused, because links and messages show the URL.
    """
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError("not a base URL")
    if "@" in parts.netloc:
        raise ValueError("a base URL with user or password")
    return value.rstrip("/")
