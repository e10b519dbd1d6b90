"""Settings of the console and of the OpenID provider that signs operators in."""

from pathlib import Path
from typing import Self

from pydantic import Field, field_validator, model_validator

from services.config.base import Settings
from services.config.process import HttpSettings, ProcessSettings
from services.config.publishing import PublishingSettings
from services.config.tokens import JWKS_DESCRIPTION, CommandAuth, TokenSettings
from services.config.urls import validate_base_url, validate_jwks_location


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
