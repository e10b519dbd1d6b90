"""Base of all settings: variables of the environment, read once per process. Secrets are never printed.

A field's name in capitals is its variable; its description completes the error "set it to …". An empty variable counts
as unset.
"""

from typing import Any

from pydantic import ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict


class SettingsError(Exception):
    """Variables are missing or invalid; the message has a line for each that states what to set it to."""


class Settings(BaseSettings):
    """Base of all settings.

    Raises:
        SettingsError: a variable is missing or invalid. pydantic's own error would print the value, and so the password
            in DATABASE_URL.
    """

    model_config = SettingsConfigDict(frozen=True, env_ignore_empty=True, hide_input_in_errors=True, defer_build=True)

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            lines = [
                self._describe_problem(str(detail["loc"][0]), detail["type"])
                if detail["loc"]
                else str(detail["ctx"]["error"])
                for detail in error.errors(include_input=False)
            ]
            raise SettingsError("\n".join(lines)) from None

    @classmethod
    def _describe_problem(cls, name: str, error_type: str) -> str:
        problem = "is not set" if error_type == "missing" else "cannot be used as it is"
        return f"{name.upper()} {problem}: set it to {cls.model_fields[name].description}"
