"""Records: immutable to the type checker, which is asked before anything runs.

A dataclass that refuses at run time as well takes four times as long to make, and every command makes several.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar, dataclass_transform

ValueObject = TypeVar("ValueObject")


@dataclass_transform(frozen_default=True)
def value_object(*, kw_only: bool = False) -> Callable[[type[ValueObject]], type[ValueObject]]:
    """Make a slotted dataclass that is compared and hashed by its values; assigning to a field is a type error."""
    return dataclass(slots=True, unsafe_hash=True, kw_only=kw_only)
