"""The roles that token scopes grant, and the scope that lets the console act for its user in courses."""

from collections.abc import Collection
from enum import IntEnum


class Role(IntEnum):
    """Each role includes the ones before it. A MODERATOR sees only assignments that the user moderates or audits."""

    MODERATOR = 0
    VIEWER = 1
    OPERATOR = 2
    ADMIN = 3


SCOPES = {f"moderation.{role.name.lower()}": role for role in Role}
MODERATOR_SCOPE = "moderation.moderator"
"""The gateway accepts a token with it, so that the console can send the user's commands."""


def resolve_role(scopes: Collection[str]) -> Role | None:
    """Return the highest role that the scopes grant, None if they grant none."""
    return max((role for scope, role in SCOPES.items() if scope in scopes), default=None)
