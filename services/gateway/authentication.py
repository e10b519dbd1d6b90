"""Authentication by bearer token, and a rate limit per user."""

import time
from collections import Counter
from dataclasses import dataclass

from fastapi import Request
from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from services.auth.jwks import JwkSet
from services.auth.token_rules import TokenRules
from services.auth.verifier import ANY_TOKEN, InvalidToken, TokenVerifier, get_key_id, parse_bearer_token
from services.gateway.metrics import METRICS
from services.gateway.responses import ApiError, invalid_token, unauthenticated
from services.runtime.http_limits import address_key

REQUEST_COST = 1


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated user. All ids of the request are scoped by the root account."""

    user_id: int
    root_account_id: int


class Authentication:
    """Verifies each request's token and enforces the rate limits of this process.

    ``requests_per_minute`` limits each user; ``unauthenticated_per_minute`` limits each address and counts only
    requests without a valid token. ``failures`` counts the rejected tokens by reason.
    """

    def __init__(
        self,
        keys: JwkSet,
        requests_per_minute: int,
        live_events_shard: int | None = None,
        rules: TokenRules = ANY_TOKEN,
        *,
        unauthenticated_per_minute: int,
    ) -> None:
        self.failures: Counter[str] = Counter()
        self.keys = keys
        self.verifier = TokenVerifier(keys, live_events_shard, rules)
        self.address_limit = RateLimitItemPerMinute(unauthenticated_per_minute)
        self.rate_limit = RateLimitItemPerMinute(requests_per_minute)
        self.limiter = SlidingWindowCounterRateLimiter(MemoryStorage())

    async def authenticate(self, request: Request) -> Caller:
        """Return the request's user. Raises ApiError: 401 without a valid token, 429 over the rate limit."""
        header = request.headers.get("authorization")
        if header is None:
            self._count_unknown_caller(request)
            self.failures["missing"] += 1
            raise unauthenticated()
        try:
            token = parse_bearer_token(header)
            if not self.verifier.is_cached(token):
                self._reject_address_over_limit(request)
                await self.keys.refresh([get_key_id(token)])
            else:
                await self.keys.refresh()
            claims = self.verifier.verify(token)
            claims.check_times(time.time())
            claims.check_opens_canvas_api()
        except InvalidToken as error:
            self._count_unknown_caller(request)
            self.failures[error.reason] += 1
            raise invalid_token(str(error)) from None
        caller = request.state.caller = Caller(claims.user_id, claims.root_account_id)
        self._enforce_rate_limit(caller, request)
        return caller

    def _reject_address_over_limit(self, request: Request) -> None:
        """Raise ApiError (429) before a new token is verified if its address sent too many invalid ones."""
        if not self.limiter.test(self.address_limit, address_key(request.scope)):
            raise self._rate_limited(self.address_limit, address_key(request.scope))

    def _count_unknown_caller(self, request: Request) -> None:
        """Count a request without a valid token. Raises ApiError (429) if its address sent too many."""
        if not self.limiter.hit(self.address_limit, address_key(request.scope)):
            raise self._rate_limited(self.address_limit, address_key(request.scope))

    def _rate_limited(self, limit: RateLimitItemPerMinute, *limiter_key: str) -> ApiError:
        METRICS.rate_limited.inc()
        window = self.limiter.get_window_stats(limit, *limiter_key)
        retry_headers = {"Retry-After": str(max(1, round(window.reset_time - time.time())))}
        return ApiError(429, {"errors": [{"message": "Rate Limit Exceeded"}]}, retry_headers)

    def _enforce_rate_limit(self, caller: Caller, request: Request) -> None:
        limiter_key = (str(caller.root_account_id), str(caller.user_id))
        is_allowed = self.limiter.hit(self.rate_limit, *limiter_key, cost=REQUEST_COST)
        window = self.limiter.get_window_stats(self.rate_limit, *limiter_key)
        request.state.rate_limit_headers = {
            "X-Request-Cost": str(REQUEST_COST),
            "X-Rate-Limit-Remaining": str(window.remaining),
        }
        if not is_allowed:
            raise self._rate_limited(self.rate_limit, *limiter_key)
