"""Settings of the log: its database and the master key of its encryption keys."""

from pathlib import Path
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator

from services.config.base import Settings

DATABASE_URL_DESCRIPTION = "postgresql://user:password@host:port/database"  # pragma: allowlist secret


class FormerPrimary(ConnectionError):
    """DATABASE_URL leads to a server that was left by a failover; to processes it is as good as away."""

    def __init__(self, timeline: int, highest: int) -> None:
        super().__init__(
            f"PostgreSQL is refused: DATABASE_URL leads to a former primary (timeline {timeline}; this process has seen"
            f" {highest}), which accepts writes beside the promoted one. Stop it for good (deploy/docs/running.md, Fail"
            " over); if you went back to it on purpose, restart this process"
        )


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
