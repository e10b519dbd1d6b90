"""Types of values in the API's answers."""

from typing import Annotated

from pydantic import Field

from schemas.fields import ID_MAX, ID_PATTERN

Id = Annotated[int, Field(ge=1, le=ID_MAX)] | Annotated[str, Field(pattern=ID_PATTERN)]
Second = Annotated[str, Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$")]
Moment = Annotated[str, Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z$")]
AnonymousId = Annotated[str, Field(pattern=r"^[0-9A-Za-z]+$")]
