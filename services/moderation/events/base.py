"""The base of all domain events, and the form of changes."""

from collections.abc import Mapping
from typing import Any, ClassVar

Change = tuple[Any, Any]
Changes = Mapping[str, Change]


class DomainEvent:
    """The base of all events.

    ``name``: the contract's name; ``may_change_grade``: the event can cause a grade_change, see
    :func:`services.moderation.grade_changes.describe_grade_change`.
    """

    __slots__ = ()
    name: ClassVar[str]
    may_change_grade: ClassVar[bool] = False
