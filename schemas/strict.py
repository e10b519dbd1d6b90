"""The base class of all models of records on topics."""

from pydantic import BaseModel, ConfigDict


class Strict(BaseModel):
    """Refuses unknown fields, and does not convert types."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, defer_build=True)
