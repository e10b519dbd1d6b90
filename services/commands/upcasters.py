"""Converts commands of earlier versions to the current form.

Producers cannot all change at once: when a type of command gets a new version, an entry here keeps the previous one
readable. The first version of every type is 1, and so far it is the current one.
"""

from collections.abc import Callable
from typing import Any

Json = dict[str, Any]
UPCASTERS: dict[tuple[str, int], Callable[[Json], Json]] = {}
"""Converters to the next version, which also set ``version``, by type and version."""


def upcast(command: object) -> Json | None:
    """Convert a command of an earlier version to the current one; None if it is not of an earlier version."""
    if not isinstance(command, dict):
        return None
    command_type, version = command.get("type"), command.get("version", 1)
    upcaster = (
        UPCASTERS.get((command_type, version)) if isinstance(command_type, str) and type(version) is int else None
    )
    return None if upcaster is None else upcaster(command)
