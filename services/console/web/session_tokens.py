"""Remembers signed-out tokens and when each session was last used, in the memory of this process only."""

import hashlib
import time
from collections.abc import Callable

from services.auth.verifier import InvalidToken

SESSIONS_MAX = 10_000


class SessionTokens:
    """The sessions, by digest of their tokens. After a restart a session counts as just used.

    ``idle_seconds_max``: how long a session may be unused.
    """

    def __init__(self, idle_seconds_max: float, clock: Callable[[], float] = time.time) -> None:
        self.idle_seconds_max = idle_seconds_max
        self.clock = clock
        self._used_at: dict[bytes, float] = {}
        self._ended_until: dict[bytes, float] = {}

    def begin(self, token: str) -> None:
        """Begin a session, including one that ended because it was not used."""
        self._used_at[_digest(token)] = self.clock()

    def use(self, token: str, *, by_user: bool) -> None:
        """Record that a session is used. Raises InvalidToken if it was unused for too long."""
        digest, now = _digest(token), self.clock()
        used_at = self._used_at.get(digest)
        if used_at is not None and now - used_at > self.idle_seconds_max:
            raise InvalidToken("expired", f"the session was not used for {self.idle_seconds_max:g} s: sign in again")
        if by_user or used_at is None:
            if len(self._used_at) >= SESSIONS_MAX:
                self._forget_oldest()
            self._used_at[digest] = now

    def end(self, token: str, expires_at: float) -> None:
        """End the session of a token. The token stays rejected until it expires."""
        now = self.clock()
        self._ended_until = {digest: until for digest, until in self._ended_until.items() if until > now}
        self._ended_until[_digest(token)] = expires_at
        self._used_at.pop(_digest(token), None)

    def check_not_ended(self, token: str) -> None:
        """Raise InvalidToken for a token that was signed out."""
        if _digest(token) in self._ended_until:
            raise InvalidToken("expired", "the token was signed out here: get a new one")

    def _forget_oldest(self) -> None:
        for digest in sorted(self._used_at, key=self._used_at.__getitem__)[: SESSIONS_MAX // 2]:
            del self._used_at[digest]


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
