"""Verifies bearer tokens, parses their claims, and caches verified tokens."""

import base64
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import jwt
from jwt.exceptions import PyJWTError

from schemas.fields import parse_id
from schemas.global_ids import to_local_id
from services.auth.jwks import JwkSet
from services.auth.token_rules import ACCESS_TOKEN_TYPES, TokenRules

ANY_TOKEN = TokenRules()
TOKEN_CHARACTERS_MAX = 8_192
CACHED_TOKENS_MAX = 20_000
CLOCK_SKEW_SECONDS = 30
"""How far ``nbf`` may lie in the future, because the issuer's clock and ours differ."""
FACTS_SCOPE = "moderation.facts"
REQUEST_SCOPE = "moderation.request"
"""Scope of the gateway's own tokens: the bearer may state the HTTP request that a command came from."""
ALL_ACCOUNTS_SCOPE = "moderation.all_accounts"
"""Scope of an operator who may see every root account, not only that of the token."""
OPERATOR_SCOPES = frozenset({"moderation.viewer", "moderation.operator", "moderation.admin", ALL_ACCOUNTS_SCOPE})
"""Scopes of the console and the operators' commands."""
_BEARER = re.compile(r"bearer +([!-~]+) *", re.IGNORECASE)
_TOKEN_TYPES = (None, "jwt", *ACCESS_TOKEN_TYPES)
_SIGNATURE_ONLY: Any = {
    "verify_signature": True,
    **dict.fromkeys(("verify_exp", "verify_nbf", "verify_iat", "verify_aud", "verify_iss", "verify_sub"), False),
    "verify_jti": False,
}


FailureReason = Literal[
    "missing", "malformed", "unknown_key", "wrong_claims", "expired", "not_yet_valid", "not_allowed"
]


def failure_counts(failures: Mapping[str, int]) -> list[tuple[tuple[str], int]]:
    """Return the failures by reason, zeros included: a rate counts the first failure only if a zero preceded it."""
    return [((reason,), failures.get(reason, 0)) for reason in get_args(FailureReason)]


class InvalidToken(Exception):
    """The token is rejected; the message states why and quotes nothing of the token.

    ``reason`` is the label of the metric; ``not_allowed`` means a valid token without the right for this.
    """

    def __init__(self, reason: FailureReason, message: str) -> None:
        super().__init__(message)
        self.reason: FailureReason = reason


@dataclass(frozen=True, slots=True)
class Claims:
    """The claims of a verified token; times in seconds since 1970.

    ``command_sha256``: the token is valid only for the command record with that digest. ``issued_at`` is None if the
    token does not state it.
    """

    user_id: int
    root_account_id: int
    scopes: frozenset[str]
    expires_at: float
    not_before: float
    issued_at: float | None
    command_sha256: str | None
    rules: TokenRules

    def check_times(self, at: float) -> None:
        """Raise InvalidToken unless the token is valid at that time (seconds since 1970) and not for too long."""
        if at >= self.expires_at:
            raise InvalidToken("expired", "the token has expired: get a new one")
        starts_at = max(self.not_before, self.issued_at or 0)
        if at < starts_at - CLOCK_SKEW_SECONDS:
            raise InvalidToken("not_yet_valid", "the token is not valid yet")
        if self.rules.is_too_long(self.issued_at, self.expires_at, at):
            raise InvalidToken(
                "wrong_claims",
                f"the token is valid for more than {self.rules.lifetime_max:g} s: get one with a shorter lifetime",
            )

    def check_opens_canvas_api(self) -> None:
        """Raise InvalidToken for a token that was not issued for a user's requests."""
        if self.command_sha256 is not None or REQUEST_SCOPE in self.scopes:
            raise InvalidToken("not_allowed", "this token belongs to a command: send the user's own token")
        if FACTS_SCOPE in self.scopes:
            raise InvalidToken("not_allowed", f"a token with scope {FACTS_SCOPE} speaks for no user")
        if self.scopes and self.scopes <= OPERATOR_SCOPES:
            raise InvalidToken("not_allowed", "this token belongs to an operator: send the user's own token")


def digest_command(value: bytes) -> str:
    """Return the claim ``command_sha256`` for a record's value: base64url without padding."""
    return base64.urlsafe_b64encode(hashlib.sha256(value).digest()).rstrip(b"=").decode()


def parse_bearer_token(header: str) -> str:
    """Parse the value of an authorization header and return the token. Raises InvalidToken."""
    match = _BEARER.fullmatch(header)
    if match is None:
        raise InvalidToken("malformed", "send the header authorization: Bearer <JWT>")
    return match[1]


def get_key_id(token: str) -> str | None:
    """Return the ``kid`` in the header of a token, None without one or if the token cannot be parsed."""
    try:
        kid = jwt.get_unverified_header(token[:TOKEN_CHARACTERS_MAX]).get("kid")
    except PyJWTError:
        return None
    return kid if isinstance(kid, str) else None


@dataclass(frozen=True, slots=True)
class ClaimNames:
    """Names of the claims with a token's user id and scopes, which differ between issuers."""

    user: str = "sub"
    scope: str = "scope"


STANDARD_NAMES = ClaimNames()


class TokenVerifier:
    """Verifies tokens with the keys of a JWK set.

    ``live_events_shard``: global ids of this Canvas shard are accepted for local ids, in tokens as in commands.
    """

    def __init__(
        self,
        keys: JwkSet,
        live_events_shard: int | None = None,
        rules: TokenRules = ANY_TOKEN,
        claim_names: ClaimNames = STANDARD_NAMES,
    ) -> None:
        self.keys = keys
        self.rules = rules
        self.claim_names = claim_names
        self.live_events_shard = live_events_shard
        self._cached_claims: dict[str, Claims] = {}
        self._generation = keys.generation

    def is_cached(self, token: str) -> bool:
        """Return whether the token was already verified with the current keys."""
        return self._generation == self.keys.generation and token in self._cached_claims

    def verify(self, token: str) -> Claims:
        """Verify the signature and return the claims; :meth:`Claims.check_times` checks their times.

        Raises:
            InvalidToken: no key of the set signed it, or a claim is missing or invalid.
        """
        if self._generation != self.keys.generation:
            self._cached_claims.clear()
            self._generation = self.keys.generation
        claims = self._cached_claims.get(token)
        if claims is None:
            claims = self._verify_signature(token)
            if claims.command_sha256 is not None:
                # Not cached: such a token is used once and would evict tokens that are used again.
                return claims
            if len(self._cached_claims) >= CACHED_TOKENS_MAX:
                self._cached_claims.clear()
            self._cached_claims[token] = claims
        return claims

    def _verify_signature(self, token: str) -> Claims:
        if len(token) > TOKEN_CHARACTERS_MAX:
            raise InvalidToken("malformed", f"the token is longer than {TOKEN_CHARACTERS_MAX} characters")
        try:
            header = jwt.get_unverified_header(token)
        except PyJWTError:
            raise InvalidToken("malformed", "the token is not a JWT") from None
        token_type = header.get("typ")
        if not (token_type is None or (isinstance(token_type, str) and token_type.lower() in _TOKEN_TYPES)):
            raise InvalidToken("malformed", "the token has another type: send an access token")
        for key in self.keys.keys_for(header.get("kid")):
            if key.algorithm_name != header.get("alg"):
                continue
            try:
                payload = jwt.decode(token, key, algorithms=[key.algorithm_name], options=_SIGNATURE_ONLY)
            except PyJWTError:
                continue
            if self.rules.is_misused_id_token(token_type, payload):
                raise InvalidToken(
                    "wrong_claims", "the token is an ID token, which opens nothing: send an access token"
                )
            names = self.claim_names
            named = {**payload, "sub": payload.get(names.user), "scope": payload.get(names.scope, "")}
            return _parse_claims(named, self.live_events_shard, self.rules)
        raise InvalidToken(
            "unknown_key", "no known key signed the token: use RS256, ES256 or EdDSA and a key of the JWK set"
        )


def _parse_claims(payload: dict[str, Any], live_events_shard: int | None, rules: TokenRules) -> Claims:
    problem = rules.find_wrong_name(payload)
    if problem is not None:
        raise InvalidToken("wrong_claims", problem)
    try:
        user_id, root_account_id = (
            to_local_id(parse_id(payload.get(name)), live_events_shard) for name in ("sub", "root_account_id")
        )
    except ValueError:
        raise InvalidToken(
            "wrong_claims", "sub and root_account_id must be ids: positive integers as decimal strings"
        ) from None
    expires_at, not_before, issued_at = payload.get("exp"), payload.get("nbf", 0), payload.get("iat")
    if not (
        _is_timestamp(expires_at) and _is_timestamp(not_before) and (issued_at is None or _is_timestamp(issued_at))
    ):
        raise InvalidToken("wrong_claims", "exp is required, and exp, nbf and iat are seconds since 1970")
    digest = payload.get("command_sha256")
    if not (digest is None or isinstance(digest, str)):
        raise InvalidToken("wrong_claims", "command_sha256 must be a string")
    scope = payload.get("scope", "")
    scopes = scope.split() if isinstance(scope, str) else scope
    if not (isinstance(scopes, list) and all(isinstance(part, str) for part in scopes)):
        raise InvalidToken("wrong_claims", "scope must be a string of scopes separated by spaces, or a list of strings")
    return Claims(
        user_id,
        root_account_id,
        frozenset(scopes),
        float(expires_at),  # type: ignore[arg-type]
        float(not_before),
        None if issued_at is None else float(issued_at),
        digest,
        rules,
    )


def _is_timestamp(value: object) -> bool:
    return type(value) in (int, float) and 0 <= value < 1e12  # type: ignore[operator]
