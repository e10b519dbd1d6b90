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

from services.auth.jwks import Keys
from services.auth.verifier import Claims, InvalidToken, Verifier, bearer, key_id
from services.console.roles import SCOPES, Role, role_of

# Browsers keep no cookie beyond 4,096 characters, its name and attributes included.
COOKIE_CHARACTERS_MAX = 3_800


class NotSignedIn(Exception):
    """The request carries nothing that opens the console; the message says what is wrong, empty where there is nothing.

    ``by_bearer``: it came with an authorization header, from a program.
    """

    def __init__(self, message: str = "", *, by_bearer: bool = False) -> None:
        super().__init__(message)
        self.by_bearer = by_bearer


class Forbidden(Exception):
    """Who asks is known and may not; the message says what it takes."""


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who was let in, until ``expires_at`` (seconds since 1970).

    ``csrf``: what their forms carry; None with a bearer token, which no other site can send.
    """

    user_id: int
    root_account_id: int
    role: Role
    csrf: str | None
    expires_at: float

    @property
    def operates(self) -> bool:
        """Whether they may act."""
        return self.role >= Role.OPERATOR

    @property
    def administers(self) -> bool:
        """Whether they may do what cannot be looked at one by one."""
        return self.role >= Role.ADMIN


class Sessions:
    """Verifies tokens and makes cookies. ``secure``: the console is reached over https.

    ``failures``: how many tokens were not believed, by reason.
    """

    def __init__(self, keys: Keys, *, secure: bool) -> None:
        self.keys = keys
        self.verifier = Verifier(keys)
        self.secure = secure
        self.failures: Counter[str] = Counter()
        self.cookie = "__Host-moderation" if secure else "moderation"

    async def person(self, request: Request) -> Person:
        """Who asks. Raises NotSignedIn."""
        header = request.headers.get("authorization")
        token = request.cookies.get(self.cookie)
        if header is not None:
            try:
                claims = await self.claims(bearer(header))
            except InvalidToken as error:
                raise NotSignedIn(str(error), by_bearer=True) from None
            return _person(claims, None)
        if token is None:
            raise NotSignedIn
        try:
            claims = await self.claims(token)
        except InvalidToken as error:
            raise NotSignedIn(str(error)) from None
        return _person(claims, _csrf(token))

    async def claims(self, token: str) -> Claims:
        """What a token says now. Raises InvalidToken, also where it opens no console."""
        try:
            return await self._claims(token)
        except InvalidToken as error:
            self.failures[error.reason] += 1
            raise

    async def _claims(self, token: str) -> Claims:
        await self.keys.refresh(() if self.verifier.knows(token) else [key_id(token)])
        claims = self.verifier.claims(token)
        claims.check(time.time())
        if role_of(claims.scopes) is None:
            raise InvalidToken("not_allowed", f"the token has none of the scopes {', '.join(SCOPES)}")
        return claims

    async def sign_in(self, token: str, response: Response) -> None:
        """Put a token into the browser's cookie. Raises InvalidToken."""
        if len(token) > COOKIE_CHARACTERS_MAX:
            raise InvalidToken(
                "malformed", f"the token is longer than {COOKIE_CHARACTERS_MAX} characters, too long for a cookie"
            )
        claims = await self.claims(token)
        response.set_cookie(
            self.cookie,
            token,
            max_age=int(claims.expires_at - time.time()),
            httponly=True,
            samesite="strict",
            secure=self.secure,
        )

    def sign_out(self, response: Response) -> None:
        """Take the cookie away."""
        response.delete_cookie(self.cookie, httponly=True, samesite="strict", secure=self.secure)


def check_own_page(request: Request) -> None:
    """Raise Forbidden where a browser says that another site made it send the request."""
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise Forbidden("This form was sent by another site. Nothing was done.")


def check_form(person: Person, request: Request, csrf: str) -> None:
    """Raise Forbidden unless the form is one that we gave to this very session."""
    check_own_page(request)
    if person.csrf is not None and not hmac.compare_digest(person.csrf.encode(), csrf.encode()):
        raise Forbidden(
            "This form is of another session. Nothing was done: go back, load the page again, and repeat it."
        )


def _person(claims: Claims, csrf: str | None) -> Person:
    role = role_of(claims.scopes)
    assert role is not None
    return Person(claims.user_id, claims.root_account_id, role, csrf, claims.expires_at)


def _csrf(token: str) -> str:
    """Known to nobody who does not know the token: no secret of the console's own, so that it survives a restart."""
    return hashlib.blake2b(token.encode(), digest_size=16, person=b"csrf").hexdigest()
