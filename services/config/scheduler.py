"""Settings of the scheduler."""

from pathlib import Path

from pydantic import Field

from services.config.process import ProcessSettings
from services.config.tokens import TokenSettings


class SchedulerSettings(ProcessSettings, TokenSettings):
    """Settings of the scheduler, which signs its commands with ``command_key``, for handlers with COMMAND_AUTH."""

    command_key: Path | None = Field(
        default=None, description="the path of a private key file made by python -m services.auth.signer"
    )
