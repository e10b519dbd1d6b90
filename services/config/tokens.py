"""Settings of tokens: how commands and requests are authenticated."""

from typing import Literal

from pydantic import Field

from services.config.base import Settings

CommandAuth = Literal["off", "required", "bound"]
JWKS_DESCRIPTION = "the path of a JWK set file, or its https URL"


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
