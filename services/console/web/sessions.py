"""Sign-in by bearer token, sent in a header or in a cookie that is HttpOnly and SameSite=Strict, or by OpenID.

The cookie holds the token, so that it survives a restart of the console. A session ends when the token expires, when
its key is removed from the JWK set, when the user signs out (this console then rejects the token), or when it was not
used for some time.
"""

import hmac
import time
from collections import Counter
from urllib.parse import urlsplit

from fastapi import HTTPException, Request
from fastapi.responses import Response
from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from services.auth.jwks import JwkSet
from services.auth.token_rules import TokenRules
from services.auth.verifier import Claims, InvalidToken, TokenVerifier, get_key_id, parse_bearer_token
from services.console.roles import SCOPES, resolve_role
from services.console.web.openid import OpenIdProvider, SignInFailed
from services.console.web.session_tokens import SessionTokens
from services.console.web.signed_in_user import (
    OPENID_PREFIX,
    Forbidden,
    NotSignedIn,
    SignedInUser,
    build_user,
    derive_csrf_token,
)
from services.runtime.http_limits import address_key

# Browsers limit a cookie with its name and attributes to 4,096 characters.
COOKIE_CHARACTERS_MAX = 3_800
BACKGROUND_PATHS = ("/live", "/session")
"""Suffixes of the paths that a page requests in the background."""


class Sessions:
    """Verifies tokens, sets cookies, and limits the requests of each user and of each address without a valid token.

    ``url`` is the console's public one. ``live_events_shard``: its global ids are accepted in tokens.
    ``failure_counts``: rejected tokens by reason.
    """

    def __init__(
        self,
        keys: JwkSet,
        rules: TokenRules,
        url: str,
        idle_seconds_max: float,
        unauthenticated_per_minute: int,
        provider: OpenIdProvider | None = None,
        *,
        requests_per_minute: int,
        live_events_shard: int | None = None,
    ) -> None:
        self.keys = keys
        self.verifier = TokenVerifier(keys, live_events_shard, rules)
        self.provider = provider
        self.url = url
        self.secure = secure = url.startswith("https:")
        self.tokens = SessionTokens(idle_seconds_max)
        self.address_limit = RateLimitItemPerMinute(unauthenticated_per_minute)
        self.user_limit = RateLimitItemPerMinute(requests_per_minute)
        self.limiter = SlidingWindowCounterRateLimiter(MemoryStorage())
        self.failure_counts: Counter[str] = Counter()
        self.cookie_name = "__Host-moderation" if secure else "moderation"

    async def authenticate(self, request: Request) -> SignedInUser:
        """Return the user of a request. Raises NotSignedIn, HTTPException (429)."""
        user = await self._authenticate(request)
        if not self.limiter.hit(self.user_limit, "user", str(user.root_account_id), str(user.user_id)):
            raise HTTPException(429, "You sent too many requests. Nothing was changed: try again in a minute.")
        return user

    async def _authenticate(self, request: Request) -> SignedInUser:
        header = request.headers.get("authorization")
        token = request.cookies.get(self.cookie_name)
        if header is not None:
            self._reject_address_over_limit(request)
            try:
                token = parse_bearer_token(header)
                claims = await self.verify_token(token)
            except InvalidToken as error:
                self._count_failure(request)
                raise NotSignedIn(str(error), has_bearer_token=True) from None
            return build_user(claims, None, token)
        if token is None:
            raise NotSignedIn
        self._reject_address_over_limit(request)
        try:
            claims = await self.verify_token(token, of_session=True)
            # The stream and the session check are requests of the page, not actions of its user.
            self.tokens.use(token, by_user=not request.url.path.endswith(BACKGROUND_PATHS))
        except InvalidToken as error:
            self._count_failure(request)
            raise NotSignedIn(str(error)) from None
        return build_user(claims, derive_csrf_token(token), token)

    async def is_open(self, user: SignedInUser) -> bool:
        """Return whether the user could still open a page: token and key are valid, and the session is in use."""
        try:
            await self._verify_token(user.token, of_session=user.csrf is not None)
            if user.csrf is not None:
                self.tokens.use(user.token, by_user=False)
        except InvalidToken:
            return False
        return True

    def _reject_address_over_limit(self, request: Request) -> None:
        if not self.limiter.test(self.address_limit, address_key(request.scope)):
            raise HTTPException(429, "Too many requests from this address had no valid token. Try again in a minute.")

    def _count_failure(self, request: Request) -> None:
        self.limiter.hit(self.address_limit, address_key(request.scope))

    async def verify_token(self, token: str, *, of_session: bool = False) -> Claims:
        """Return the claims of a token. Raises InvalidToken, also without a scope of the console.

        ``of_session``: the token is from a cookie, and may be the OpenID provider's.
        """
        try:
            return await self._verify_token(token, of_session=of_session)
        except InvalidToken as error:
            self.failure_counts[error.reason] += 1
            raise

    async def _verify_token(self, token: str, *, of_session: bool) -> Claims:
        if of_session and self.provider is not None and token.startswith(OPENID_PREFIX):
            claims = await self.provider.verify(token.removeprefix(OPENID_PREFIX))
        else:
            await self.keys.refresh(() if self.verifier.is_cached(token) else [get_key_id(token)])
            claims = self.verifier.verify(token)
        claims.check_times(time.time())
        self.tokens.check_not_ended(token)
        if claims.command_sha256 is not None:
            raise InvalidToken("not_allowed", "this token belongs to a command: send the user's own token")
        if resolve_role(claims.scopes) is None:
            raise InvalidToken("not_allowed", f"the token has none of the scopes {', '.join(SCOPES)}")
        return claims

    async def sign_in(self, request: Request, token: str, response: Response) -> None:
        """Set the cookie. Raises InvalidToken, HTTPException (429)."""
        self._reject_address_over_limit(request)
        try:
            await self._sign_in(request, token, response, of_session=False)
        except InvalidToken:
            self._count_failure(request)
            raise

    async def begin_openid(self, request: Request, next_path: str) -> Response:
        """Redirect to the provider's sign-in. Raises SignInFailed, HTTPException (404 without a provider, 429)."""
        provider = self._require_provider(request)
        self._count_openid(request)
        return await provider.begin(request, next_path)

    async def finish_openid(self, request: Request, response: Response) -> str:
        """Set the cookie for the user that the provider authenticated, and return the next path.

        Raises:
            SignInFailed, InvalidToken, HTTPException (404 without a provider, 429): no session begins.
        """
        provider = self._require_provider(request)
        if not provider.is_expected(request):
            # Not counted: any site can cause such a request, and it costs nothing.
            raise SignInFailed("this browser began no sign-in, or more than ten minutes ago: sign in again")
        try:
            id_token, next_path = await provider.finish(request)
            await self._sign_in(request, OPENID_PREFIX + id_token, response, of_session=True)
        except (SignInFailed, InvalidToken):
            self._count_openid(request)
            raise
        provider.forget(response)
        return next_path

    def _require_provider(self, request: Request) -> OpenIdProvider:
        if self.provider is None:
            raise HTTPException(404)
        if not self.limiter.test(self.address_limit, *_openid_key(request)):
            raise HTTPException(429, "Too many sign-ins were begun from this address. Try again in a minute.")
        return self.provider

    def _count_openid(self, request: Request) -> None:
        """Count a sign-in apart from invalid tokens: what other sites cause ends no session and no other sign-in."""
        self.limiter.hit(self.address_limit, *_openid_key(request))

    async def _sign_in(self, request: Request, token: str, response: Response, *, of_session: bool) -> None:
        if len(token) > COOKIE_CHARACTERS_MAX:
            raise InvalidToken(
                "malformed", f"the token is longer than {COOKIE_CHARACTERS_MAX} characters, too long for a cookie"
            )
        claims = await self.verify_token(token, of_session=of_session)
        self.tokens.begin(token)
        request.state.caller, request.state.session_change = claims, "signed_in"
        response.set_cookie(
            self.cookie_name,
            token,
            max_age=int(claims.expires_at - time.time()),
            httponly=True,
            samesite="strict",
            secure=self.secure,
        )

    def sign_out(self, user: SignedInUser, response: Response) -> None:
        """End the session and delete the cookie."""
        self.tokens.end(user.token, user.expires_at)
        response.delete_cookie(self.cookie_name, httponly=True, samesite="strict", secure=self.secure)

    def is_same_origin(self, request: Request) -> bool:
        """Return whether no other site caused the request, as far as the browser says.

        Over plain HTTP a browser sends no ``Sec-Fetch-Site``, but the ``Origin`` of a form.
        """
        site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
        if site is None and origin is not None:
            return origin == _get_origin(self.url)
        return site in (None, "same-origin", "none")

    def require_same_origin(self, request: Request) -> None:
        """Raise Forbidden if the browser says that another site caused the request."""
        if not self.is_same_origin(request):
            raise Forbidden(
                f"This form was submitted by another site. Nothing was changed: open the console as {self.url}."
            )

    def require_csrf_token(self, user: SignedInUser, request: Request, csrf: str) -> None:
        """Raise Forbidden unless the form belongs to this session."""
        self.require_same_origin(request)
        if user.csrf is not None and not hmac.compare_digest(user.csrf.encode(), csrf.encode()):
            raise Forbidden(
                "This form belongs to another session. Nothing was changed: reload the form and submit it again."
            )


def _openid_key(request: Request) -> tuple[str, str]:
    return "openid", address_key(request.scope)


def _get_origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}".lower()
