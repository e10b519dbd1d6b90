"""Settings from the environment, read once per process; secrets are never printed."""

from urllib.parse import urlsplit

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class DatabaseSettings(BaseSettings):
    """Where the log is."""

    model_config = SettingsConfigDict(frozen=True)

    database_url: SecretStr = Field(description="DATABASE_URL: postgresql://user:password@host:port/database")

    def url(self) -> str:
        """The URL with its password; ValueError names the variable where it is no PostgreSQL URL."""
        url = self.database_url.get_secret_value()
        if urlsplit(url).scheme not in ("postgresql", "postgres"):
            raise ValueError("DATABASE_URL must look like postgresql://user:password@host:port/database")
        return url


class KafkaSettings(BaseSettings):
    """Where the topics are."""

    model_config = SettingsConfigDict(frozen=True)

    kafka_bootstrap: str = Field(description="KAFKA_BOOTSTRAP: host:port, several separated by commas")
    topic_prefix: str = Field(default="moderation", pattern=r"^[A-Za-z0-9._-]{1,200}$")


class ProcessSettings(DatabaseSettings, KafkaSettings):
    """What every process reads. ``health_port``: 0 serves no health page."""

    health_port: int = Field(default=0, ge=0, le=65_535)
    log_level: str = Field(default="INFO", pattern=r"^(DEBUG|INFO|WARNING|ERROR)$")


class HandlerSettings(ProcessSettings):
    """The handler. ``handler_instance`` (unique per running process) makes a restart quick."""

    handler_instance: str | None = Field(default=None, pattern=r"^[A-Za-z0-9._-]{1,200}$")
    handler_subscribers: int = Field(default=2, ge=1, le=64)
    handler_batch_records: int = Field(default=500, ge=1, le=5_000)


class RelaySettings(ProcessSettings):
    """The relay. ``live_events_shard``: None sends local ids, a number Canvas's global ids (shard * 10**13 + id)."""

    event_source: str = Field(default="urn:moderated-grading", max_length=255)
    live_events_shard: int | None = Field(default=None, ge=1, le=900_000)
