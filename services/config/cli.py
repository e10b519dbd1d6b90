"""Settings of the commands of ``moderated-grading``."""

from pydantic import Field, SecretStr, field_validator

from services.config.base import Settings
from services.config.database import DATABASE_URL_DESCRIPTION, DatabaseSettings
from services.config.kafka import KafkaSettings
from services.config.publishing import PublishingSettings, ShardSettings
from services.config.tokens import JWKS_DESCRIPTION, CommandAuth, TokenSettings
from services.config.urls import validate_base_url, validate_jwks_location


class TopicSettings(DatabaseSettings, KafkaSettings):
    """Settings of ``create-topics``."""


class ReplaySettings(DatabaseSettings, KafkaSettings, PublishingSettings):
    """Settings of replay and rewind."""


class VerifySettings(KafkaSettings, PublishingSettings):
    """Settings of ``verify``. Without ``database_url`` it makes only the checks that any consumer can make."""

    database_url: SecretStr | None = Field(default=None, description=DATABASE_URL_DESCRIPTION)


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
    operator_token: SecretStr = Field(
        description="a token with scope moderation.operator or moderation.admin (on a local stack, of"
        " deploy/stack token 7 --scope moderation.operator)"
    )


class ModeratorSettings(Settings):
    """Settings of the moderators' commands, which send requests to the gateway as the token's user."""

    gateway_url: str = Field(description="the http or https URL of the gateway, without user and password")
    moderator_token: SecretStr = Field(description="a token of the moderating user, as for the HTTP API")

    @field_validator("gateway_url")
    @classmethod
    def _validate_gateway_url(cls, value: str) -> str:
        return validate_base_url(value)
