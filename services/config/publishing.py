"""Settings of published records, equal in all processes of an installation."""

from pydantic import Field, field_validator

from services.config.base import Settings
from services.config.urls import LMS_URL_DESCRIPTION, validate_base_url


class ShardSettings(Settings):
    """Canvas's shard, equal in all processes of an installation: its global ids are published and accepted."""

    live_events_shard: int | None = Field(
        default=None, ge=1, le=900_000, description="Canvas's shard number from 1 to 900000, or leave it unset"
    )


class PublishingSettings(ShardSettings):
    """The format of published records; equal in all processes of an installation.

    ``live_events_shard`` None sends local ids, a number sends Canvas's global ids (shard * 10**13 + id). Caliper events
    name the LMS by ``lms_url``, or by ``event_source`` if it is not set.
    """

    event_source: str = Field(
        default="urn:moderated-grading",
        pattern=r"^[!-~]{1,255}$",
        description="a URI of at most 255 characters, the base of every ce_source",
    )
    lms_url: str | None = Field(default=None, description=f"{LMS_URL_DESCRIPTION}, or leave it unset")

    @field_validator("lms_url")
    @classmethod
    def _validate_lms_url(cls, value: str | None) -> str | None:
        return None if value is None else validate_base_url(value) + "/"
