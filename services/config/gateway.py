"""Settings of the gateway."""

from pathlib import Path

from pydantic import Field, field_validator

from services.config.process import HttpSettings, ProcessSettings
from services.config.publishing import ShardSettings
from services.config.tokens import JWKS_DESCRIPTION, TokenSettings
from services.config.urls import LMS_URL_DESCRIPTION, validate_base_url, validate_jwks_location


class GatewaySettings(ProcessSettings, ShardSettings, TokenSettings, HttpSettings):
    """Settings of the gateway.

    Links to this service start with ``gateway_url``, links to the LMS's pages with ``lms_url``. The gateway signs its
    commands with ``command_key``, for handlers with COMMAND_AUTH. ``gateway_cache_mib`` limits the memory of cached
    courses and assignments.
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
    gateway_cache_mib: int = Field(default=160, ge=1, le=65_536, description="a number of MiB from 1 to 65536")

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
