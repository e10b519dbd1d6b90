"""Value objects, whose immutability the type checker enforces.

A dataclass that enforces it at run time too takes four times as long to create, and every command creates several.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar, dataclass_transform

ValueObject = TypeVar("ValueObject")


@dataclass_transform(frozen_default=True)
def value_object(*, kw_only: bool = False) -> Callable[[type[ValueObject]], type[ValueObject]]:
    """Make a slotted dataclass, compared and hashed by value; assigning to a field is a type error."""
    return dataclass(slots=True, unsafe_hash=True, kw_only=kw_only)
