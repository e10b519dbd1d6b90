"""Settings of every process, and of those that serve HTTP to users."""

from pydantic import Field

from services.config.base import Settings
from services.config.database import DatabaseSettings
from services.config.kafka import KafkaSettings


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
