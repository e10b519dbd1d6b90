"""Settings of the handler."""

from typing import Self

from pydantic import Field, field_validator, model_validator

from services.config.process import ProcessSettings
from services.config.publishing import ShardSettings
from services.config.tokens import JWKS_DESCRIPTION, CommandAuth, TokenSettings
from services.config.urls import validate_jwks_location


class HandlerSettings(ProcessSettings, ShardSettings, TokenSettings):
    """Settings of the handler. ``handler_instance`` (unique per running process) avoids a rebalance at a restart.

    A transaction ends after the command that reaches ``handler_batch_events`` or ``handler_batch_bytes``.
    ``handler_cache_mib`` limits the memory of cached courses and assignments; subscribers share it.
    ``handler_snapshot_events``: see :mod:`services.eventlog.snapshots`.
    """

    handler_instance: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9._-]{1,200}$",
        description="at most 200 letters, digits, dots, underscores and hyphens, unique per running handler",
    )
    handler_subscribers: int = Field(default=2, ge=1, le=64, description="a number from 1 to 64")
    dead_letter_days: int = Field(
        default=90,
        ge=1,
        le=3_650,
        description="the days for which contents of dead letters are kept and repeated invalid commands recognized,"
        " from 1 to 3650",
    )
    handler_batch_records: int = Field(default=1_000, ge=1, le=5_000, description="a number from 1 to 5000")
    handler_cache_mib: int = Field(default=256, ge=1, le=65_536, description="a number of MiB from 1 to 65536")
    handler_snapshot_events: int = Field(
        default=5_000,
        ge=0,
        le=10_000_000,
        description="the events from which on an assignment has a snapshot, from 0 (none) to 10000000",
    )
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
