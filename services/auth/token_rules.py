"""Rules for every token, from the settings of the process: audience, issuer, lifetime."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, Self

DAY_SECONDS = 24 * 3_600
LIFETIME_SECONDS_MAX = DAY_SECONDS + 3_600
ACCESS_TOKEN_TYPES = ("at+jwt", "application/at+jwt")
ID_TOKEN_CLAIMS = frozenset({"nonce", "at_hash", "c_hash", "s_hash"})
"""Claims of ID tokens that access tokens do not have (OpenID Connect Core 3.1.3.6 and 3.3.2.11; FAPI 1.0, 5.2.2.1)."""


class TokenSettings(Protocol):
    """The token settings of any process."""

    @property
    def jwt_audience(self) -> str | None:
        """The audience that ``aud`` must contain."""

    @property
    def jwt_issuer(self) -> str | None:
        """The required ``iss``."""

    @property
    def jwt_lifetime_max(self) -> int:
        """Seconds."""


@dataclass(frozen=True, slots=True)
class TokenRules:
    """The rules. With ``audience`` or ``issuer`` None, a token may have any or none. ``lifetime_max`` in seconds.

    ``accepts_id_tokens``: ID tokens of OpenID Connect are taken too, by the client that they were issued for.
    """

    audience: str | None = None
    issuer: str | None = None
    lifetime_max: float = LIFETIME_SECONDS_MAX
    accepts_id_tokens: bool = False

    @classmethod
    def of(cls, settings: TokenSettings) -> Self:
        """Build the rules from a process's settings."""
        return cls(settings.jwt_audience, settings.jwt_issuer, settings.jwt_lifetime_max)

    def own_claims(self) -> dict[str, str]:
        """Build the claims that the service's own tokens need to pass these rules."""
        named = {"aud": self.audience, "iss": self.issuer}
        return {name: value for name, value in named.items() if value is not None}

    def find_wrong_name(self, payload: Mapping[str, Any]) -> str | None:
        """Return what is wrong with the audience or issuer of a token; None if both are right.

        RFC 7519, 4.1.1 and 4.1.3: ``aud`` is one audience or a list that holds it.
        """
        audiences = payload.get("aud")
        named = audiences if isinstance(audiences, list) else [audiences]
        if self.audience is not None and self.audience not in named:
            return "aud does not name this service: get a token for it"
        if self.issuer is not None and payload.get("iss") != self.issuer:
            return "iss is not the issuer that this service trusts"
        return None

    def is_misused_id_token(self, token_type: str | None, payload: Mapping[str, Any]) -> bool:
        """Return whether this is an ID token, which says that a user signed in, and gives no access.

        RFC 8725, 3.12: one kind of JWT must not pass for another where an issuer signs both with the same keys. A
        token of type ``at+jwt`` is an access token (RFC 9068); of the others only ID tokens have ID_TOKEN_CLAIMS.
        Keycloak before version 24 also puts ``nonce`` into access tokens, whose claim ``typ`` is then ``Bearer``.
        """
        if self.accepts_id_tokens or (token_type or "").lower() in ACCESS_TOKEN_TYPES:
            return False
        marks = ID_TOKEN_CLAIMS - {"nonce"} if payload.get("typ") == "Bearer" else ID_TOKEN_CLAIMS
        return not marks.isdisjoint(payload)

    def is_too_long(self, issued_at: float | None, expires_at: float, at: float) -> bool:
        """Return whether a token lives longer than ``lifetime_max`` from ``iat`` on, or from ``at`` without ``iat``."""
        return expires_at - (at if issued_at is None else min(issued_at, at)) > self.lifetime_max
