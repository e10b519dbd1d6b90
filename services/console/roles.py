"""The roles that token scopes grant."""

from collections.abc import Collection
from enum import IntEnum


class Role(IntEnum):
    """Each role includes the ones before it."""

    VIEWER = 1
    OPERATOR = 2
    ADMIN = 3


SCOPES = {f"moderation.{role.name.lower()}": role for role in Role}


def resolve_role(scopes: Collection[str]) -> Role | None:
    """Return the highest role that the scopes grant, None if they grant none."""
    return max((role for scope, role in SCOPES.items() if scope in scopes), default=None)
