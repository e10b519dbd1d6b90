"""Settings of the relay."""

from pydantic import Field

from services.config.process import ProcessSettings
from services.config.publishing import PublishingSettings


class RelaySettings(ProcessSettings, PublishingSettings):
    """Settings of the relay."""

    relay_takeover_seconds: float = Field(
        default=3,
        ge=1,
        le=60,
        description="the seconds without a heartbeat after which a relay loses its lanes to another one, from 1 to 60",
    )
