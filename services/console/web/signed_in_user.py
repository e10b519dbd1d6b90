"""The user of a request: the user's rights, and the errors of requests without them."""

import hashlib
from dataclasses import dataclass

from services.auth.verifier import ALL_ACCOUNTS_SCOPE, Claims, InvalidToken
from services.console.roles import MODERATOR_SCOPE, Role, resolve_role

OPENID_PREFIX = "openid."
"""Prefix of cookies with a token of the OpenID provider; no JWT begins with it."""


class NotSignedIn(Exception):
    """The request has no valid token; the message states why, and is empty if there was no token.

    ``has_bearer_token``: the token came in an authorization header, that is, from a program.
    """

    def __init__(self, message: str = "", *, has_bearer_token: bool = False) -> None:
        super().__init__(message)
        self.has_bearer_token = has_bearer_token


class Forbidden(Exception):
    """The user lacks permission; the message states what is required and that nothing was changed."""


@dataclass(frozen=True, slots=True)
class SignedInUser:
    """A user with a valid token, until ``expires_at`` (seconds since 1970).

    ``csrf``: the token of the user's forms; None with a bearer token, which other sites cannot send.
    ``sees_all_accounts``: the user may read the assignments and commands of every root account.
    ``opens_gateway``: the gateway accepts the token for requests of the user.
    """

    user_id: int
    root_account_id: int
    role: Role
    csrf: str | None
    expires_at: float
    token: str
    sees_all_accounts: bool
    opens_gateway: bool

    def sees(self, root_account_id: int | None) -> bool:
        """Return whether the user may read all assignments and commands of a root account."""
        return self.can_view and (self.sees_all_accounts or root_account_id == self.root_account_id)

    @property
    def can_view(self) -> bool:
        """Return whether the user may open the operators' pages."""
        return self.role >= Role.VIEWER

    @property
    def can_operate(self) -> bool:
        """Return whether the user may redrive, discard one by one, reveal and replay."""
        return self.role >= Role.OPERATOR

    @property
    def can_administer(self) -> bool:
        """Return whether the user may also discard whole groups."""
        return self.role >= Role.ADMIN


def build_user(claims: Claims, csrf: str | None, token: str) -> SignedInUser:
    """Return the user of a token; ``csrf``: None if the token came in a header."""
    role = resolve_role(claims.scopes)
    assert role is not None
    sees_all_accounts = ALL_ACCOUNTS_SCOPE in claims.scopes
    is_id_token = csrf is not None and token.startswith(OPENID_PREFIX)
    opens_gateway = MODERATOR_SCOPE in claims.scopes and not is_id_token and _opens_canvas_api(claims)
    return SignedInUser(
        claims.user_id, claims.root_account_id, role, csrf, claims.expires_at, token, sees_all_accounts, opens_gateway
    )


def _opens_canvas_api(claims: Claims) -> bool:
    try:
        claims.check_opens_canvas_api()
    except InvalidToken:
        return False
    return True


def derive_csrf_token(token: str) -> str:
    """Return the token of the user's forms, derived from the user's token alone: forms survive a restart."""
    return hashlib.blake2b(token.encode(), digest_size=16, person=b"csrf").hexdigest()
