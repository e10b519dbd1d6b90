"""Sign-in by bearer token, sent in a header or in a cookie that is HttpOnly and SameSite=Strict.

The server keeps no session: the cookie survives a restart of the console and ends with the token.
"""

import hashlib
import hmac
import time
from collections import Counter
from dataclasses import dataclass

from fastapi import Request
from fastapi.responses import Response

from services.auth.jwks import JwkSet
from services.auth.token_rules import TokenRules
from services.auth.verifier import Claims, InvalidToken, TokenVerifier, get_key_id, parse_bearer_token
from services.console.roles import SCOPES, Role, resolve_role

# Browsers limit a cookie with its name and attributes to 4,096 characters.
COOKIE_CHARACTERS_MAX = 3_800


class NotSignedIn(Exception):
    """The request has no valid token; the message says why, and is empty without any token.

    ``has_bearer_token``: it came in an authorization header, so from a program.
    """

    def __init__(self, message: str = "", *, has_bearer_token: bool = False) -> None:
        super().__init__(message)
        self.has_bearer_token = has_bearer_token


class Forbidden(Exception):
    """The user may not do this; the message names what is required and that nothing was changed."""


@dataclass(frozen=True, slots=True)
class SignedInUser:
    """A user with a valid token, until ``expires_at`` (seconds since 1970).

    ``csrf``: the token of their forms; None with a bearer token, which other sites cannot send.
    """

    user_id: int
    root_account_id: int
    role: Role
    csrf: str | None
    expires_at: float

    @property
    def can_operate(self) -> bool:
        """Return whether the user may redrive, discard one by one, reveal and replay."""
        return self.role >= Role.OPERATOR

    @property
    def can_administer(self) -> bool:
        """Return whether the user may also discard whole groups."""
        return self.role >= Role.ADMIN


class Sessions:
    """Verifies tokens and sets cookies.

    ``secure``: the console is reached over https. ``failure_counts``: rejected tokens by reason.
    """

    def __init__(self, keys: JwkSet, rules: TokenRules, *, secure: bool) -> None:
        self.keys = keys
        self.verifier = TokenVerifier(keys, rules=rules)
        self.secure = secure
        self.failure_counts: Counter[str] = Counter()
        self.cookie_name = "__Host-moderation" if secure else "moderation"

    async def authenticate(self, request: Request) -> SignedInUser:
        """Return the user of a request. Raises NotSignedIn."""
        header = request.headers.get("authorization")
        token = request.cookies.get(self.cookie_name)
        if header is not None:
            try:
                claims = await self.verify_token(parse_bearer_token(header))
            except InvalidToken as error:
                raise NotSignedIn(str(error), has_bearer_token=True) from None
            return _build_user(claims, None)
        if token is None:
            raise NotSignedIn
        try:
            claims = await self.verify_token(token)
        except InvalidToken as error:
            raise NotSignedIn(str(error)) from None
        return _build_user(claims, _derive_csrf_token(token))

    async def verify_token(self, token: str) -> Claims:
        """Return the claims of a token. Raises InvalidToken, also without a scope of the console."""
        try:
            return await self._verify_token(token)
        except InvalidToken as error:
            self.failure_counts[error.reason] += 1
            raise

    async def _verify_token(self, token: str) -> Claims:
        await self.keys.refresh(() if self.verifier.is_cached(token) else [get_key_id(token)])
        claims = self.verifier.verify(token)
        claims.check_times(time.time())
        if resolve_role(claims.scopes) is None:
            raise InvalidToken("not_allowed", f"the token has none of the scopes {', '.join(SCOPES)}")
        return claims

    async def sign_in(self, token: str, response: Response) -> None:
        """Set the cookie. Raises InvalidToken."""
        if len(token) > COOKIE_CHARACTERS_MAX:
            raise InvalidToken(
                "malformed", f"the token is longer than {COOKIE_CHARACTERS_MAX} characters, too long for a cookie"
            )
        claims = await self.verify_token(token)
        response.set_cookie(
            self.cookie_name,
            token,
            max_age=int(claims.expires_at - time.time()),
            httponly=True,
            samesite="strict",
            secure=self.secure,
        )

    def sign_out(self, response: Response) -> None:
        """Delete the cookie."""
        response.delete_cookie(self.cookie_name, httponly=True, samesite="strict", secure=self.secure)


def require_same_origin(request: Request) -> None:
    """Raise Forbidden if the browser says that another site caused the request."""
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise Forbidden("This form was submitted by another site. Nothing was changed.")


def require_csrf_token(user: SignedInUser, request: Request, csrf: str) -> None:
    """Raise Forbidden unless the form belongs to this session."""
    require_same_origin(request)
    if user.csrf is not None and not hmac.compare_digest(user.csrf.encode(), csrf.encode()):
        raise Forbidden(
            "This form belongs to another session. Nothing was changed: reload the form and submit it again."
        )


def _build_user(claims: Claims, csrf: str | None) -> SignedInUser:
    role = resolve_role(claims.scopes)
    assert role is not None
    return SignedInUser(claims.user_id, claims.root_account_id, role, csrf, claims.expires_at)


def _derive_csrf_token(token: str) -> str:
    """Derive it from the token alone, so that forms survive a restart of the console."""
    return hashlib.blake2b(token.encode(), digest_size=16, person=b"csrf").hexdigest()
