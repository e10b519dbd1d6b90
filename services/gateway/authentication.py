"""Who asks: the bearer token of a request, and how much its user may ask for."""

import time
from collections import Counter
from dataclasses import dataclass

from fastapi import Request
from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from services.auth.jwks import Keys
from services.auth.verifier import InvalidToken, Verifier, bearer, key_id
from services.gateway.metrics import METRICS
from services.gateway.responses import Refused, invalid_token, unauthenticated

COST = 1


@dataclass(frozen=True, slots=True)
class Caller:
    """A user of a root account. All ids of a request are the root account's."""

    user_id: int
    root_account_id: int


class Authentication:
    """Verifies the token of each request and counts what its user asks, in this process alone.

    ``failures``: how many requests were not believed, by reason.
    """

    def __init__(self, keys: Keys, requests_per_minute: int) -> None:
        self.failures: Counter[str] = Counter()
        self.keys = keys
        self.verifier = Verifier(keys)
        self.allowance = RateLimitItemPerMinute(requests_per_minute)
        self.limiter = SlidingWindowCounterRateLimiter(MemoryStorage())

    async def caller(self, request: Request) -> Caller:
        """Who sent the request. Raises Refused: 401 where that is not known, 429 where they ask too much."""
        header = request.headers.get("authorization")
        if header is None:
            self.failures["missing"] += 1
            raise unauthenticated()
        try:
            token = bearer(header)
            if not self.verifier.knows(token):
                await self.keys.refresh([key_id(token)])
            else:
                await self.keys.refresh()
            claims = self.verifier.claims(token)
            claims.check(time.time())
        except InvalidToken as error:
            self.failures[error.reason] += 1
            raise invalid_token(str(error)) from None
        caller = Caller(claims.user_id, claims.root_account_id)
        self._count(caller, request)
        return caller

    def _count(self, caller: Caller, request: Request) -> None:
        user = (str(caller.root_account_id), str(caller.user_id))
        allowed = self.limiter.hit(self.allowance, *user, cost=COST)
        state = self.limiter.get_window_stats(self.allowance, *user)
        request.state.allowance = {"X-Request-Cost": str(COST), "X-Rate-Limit-Remaining": str(state.remaining)}
        if not allowed:
            METRICS.rate_limited.inc()
            wait = {"Retry-After": str(max(1, round(state.reset_time - time.time())))}
            raise Refused(429, {"errors": [{"message": "Rate Limit Exceeded"}]}, wait)
