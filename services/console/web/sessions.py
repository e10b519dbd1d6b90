"""Who looks: a bearer token, or the same token in a cookie that no script can read and no other site can send.

There is no session on the server: the cookie survives a restart of the console, and ends with the token.
"""

import hashlib
import hmac
import time
from collections import Counter
from dataclasses import dataclass

from fastapi import Request
from fastapi.responses import Response

from services.auth.jwks import JwkSet
from services.auth.verifier import Claims, InvalidToken, TokenVerifier, get_key_id, parse_bearer_token
from services.console.roles import SCOPES, Role, resolve_role

# Browsers keep no cookie beyond 4,096 characters, its name and attributes included.
COOKIE_CHARACTERS_MAX = 3_800


class NotSignedIn(Exception):
    """The request carries nothing that opens the console; the message says what is wrong, empty where there is nothing.

    ``by_bearer``: it came with an authorization header, from a program.
    """

    def __init__(self, message: str = "", *, has_bearer_token: bool = False) -> None:
        super().__init__(message)
        self.has_bearer_token = has_bearer_token


class Forbidden(Exception):
    """Who asks is known and may not; the message says what it takes."""


@dataclass(frozen=True, slots=True)
class SignedInUser:
    """Somebody who was let in, until ``expires_at`` (seconds since 1970).

    ``csrf``: what their forms carry; None with a bearer token, which no other site can send.
    """

    user_id: int
    root_account_id: int
    role: Role
    csrf: str | None
    expires_at: float

    @property
    def can_operate(self) -> bool:
        """Whether they may act."""
        return self.role >= Role.OPERATOR

    @property
    def can_administer(self) -> bool:
        """Whether they may do what cannot be looked at one by one."""
        return self.role >= Role.ADMIN


class Sessions:
    """Verifies tokens and makes cookies. ``secure``: the console is reached over https.

    ``failures``: how many tokens were not believed, by reason.
    """

    def __init__(self, keys: JwkSet, *, secure: bool) -> None:
        self.keys = keys
        self.verifier = TokenVerifier(keys)
        self.secure = secure
        self.failure_counts: Counter[str] = Counter()
        self.cookie_name = "__Host-moderation" if secure else "moderation"

    async def authenticate(self, request: Request) -> SignedInUser:
        """Who asks. Raises NotSignedIn."""
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
        """What a token says now. Raises InvalidToken, also where it opens no console."""
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
        """Put a token into the browser's cookie. Raises InvalidToken."""
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
        """Take the cookie away."""
        response.delete_cookie(self.cookie_name, httponly=True, samesite="strict", secure=self.secure)


def require_same_origin(request: Request) -> None:
    """Raise Forbidden where a browser says that another site made it send the request."""
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise Forbidden("This form was sent by another site. Nothing was done.")


def require_csrf_token(user: SignedInUser, request: Request, csrf: str) -> None:
    """Raise Forbidden unless the form is one that we gave to this very session."""
    require_same_origin(request)
    if user.csrf is not None and not hmac.compare_digest(user.csrf.encode(), csrf.encode()):
        raise Forbidden(
            "This form is of another session. Nothing was done: go back, load the page again, and repeat it."
        )


def _build_user(claims: Claims, csrf: str | None) -> SignedInUser:
    role = resolve_role(claims.scopes)
    assert role is not None
    return SignedInUser(claims.user_id, claims.root_account_id, role, csrf, claims.expires_at)


def _derive_csrf_token(token: str) -> str:
    """Known to nobody who does not know the token: no secret of the console's own, so that it survives a restart."""
    return hashlib.blake2b(token.encode(), digest_size=16, person=b"csrf").hexdigest()
