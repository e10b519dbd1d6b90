"""Required claims of tokens, their maximum lifetime, and scopes that exclude them from Canvas's API."""

import time
from pathlib import Path
from typing import Any

import pytest

from services.auth.jwks import JwkSet
from services.auth.token_rules import LIFETIME_SECONDS_MAX, TokenRules
from services.auth.verifier import CLOCK_SKEW_SECONDS, Claims, InvalidToken, TokenVerifier, digest_command
from tests.fixtures.token_issuer import TokenIssuer

Json = dict[str, Any]
OURS, ISSUER = "https://moderation.example", "https://login.example"
NAMED: Json = {"aud": OURS, "iss": ISSUER}
YEAR = 365 * 86_400


@pytest.fixture(scope="module")
def issuer() -> TokenIssuer:
    return TokenIssuer()


@pytest.fixture
async def keys(issuer: TokenIssuer, tmp_path: Path) -> JwkSet:
    keys = JwkSet(str(issuer.write_jwks(tmp_path / "jwks.json")))
    await keys.load()
    return keys


@pytest.mark.parametrize("named", [NAMED, {**NAMED, "aud": ["https://other.example", OURS]}])
def test_token_that_names_audience_and_issuer_is_accepted(named: Json, issuer: TokenIssuer, keys: JwkSet) -> None:
    assert TokenVerifier(keys, rules=TokenRules(OURS, ISSUER)).verify(issuer.token(**named)).user_id == 21


@pytest.mark.parametrize(
    ("claims", "said"),
    [
        ({**NAMED, "aud": "https://payments.example"}, "aud"),
        ({**NAMED, "aud": ["https://payments.example"]}, "aud"),
        ({**NAMED, "aud": OURS + "/"}, "aud"),
        ({**NAMED, "aud": {OURS: True}}, "aud"),
        ({"iss": ISSUER}, "aud"),
        ({**NAMED, "iss": "https://evil.example"}, "iss"),
        ({"aud": OURS}, "iss"),
    ],
)
def test_token_with_another_audience_or_issuer_is_refused(
    claims: Json, said: str, issuer: TokenIssuer, keys: JwkSet
) -> None:
    with pytest.raises(InvalidToken, match=said):
        TokenVerifier(keys, rules=TokenRules(OURS, ISSUER)).verify(issuer.token(**claims))


def test_any_audience_and_issuer_are_accepted_if_none_is_configured(issuer: TokenIssuer, keys: JwkSet) -> None:
    assert TokenVerifier(keys).verify(issuer.token(aud="https://payments.example")).user_id == 21


@pytest.mark.parametrize("claim", ["nonce", "at_hash", "c_hash", "s_hash"])
@pytest.mark.parametrize("token_type", ["JWT", "jwt", None])
def test_id_token_is_refused(token_type: str | None, claim: str, issuer: TokenIssuer, keys: JwkSet) -> None:
    claims: Json = {claim: "n-0S6_WzA2Mj"}
    token = issuer.token(header={"typ": token_type}, **claims)
    with pytest.raises(InvalidToken, match="ID token") as refused:
        TokenVerifier(keys).verify(token)
    assert refused.value.reason == "wrong_claims"


def test_id_token_of_the_configured_audience_is_refused(issuer: TokenIssuer, keys: JwkSet) -> None:
    with pytest.raises(InvalidToken, match="ID token"):
        TokenVerifier(keys, rules=TokenRules(OURS, ISSUER)).verify(issuer.token(**NAMED, nonce="n"))


@pytest.mark.parametrize("token_type", ["at+jwt", "AT+JWT", "application/at+jwt"])
def test_access_token_by_its_type_may_repeat_the_nonce(token_type: str, issuer: TokenIssuer, keys: JwkSet) -> None:
    assert TokenVerifier(keys).verify(issuer.token(header={"typ": token_type}, nonce="n")).user_id == 21


def test_access_token_by_its_claim_typ_may_repeat_the_nonce(issuer: TokenIssuer, keys: JwkSet) -> None:
    assert TokenVerifier(keys).verify(issuer.token(typ="Bearer", nonce="n")).user_id == 21
    id_tokens: list[Json] = [{"typ": "ID", "nonce": "n"}, {"typ": "Bearer", "nonce": "n", "at_hash": "h"}]
    for claims in id_tokens:
        with pytest.raises(InvalidToken, match="ID token"):
            TokenVerifier(keys).verify(issuer.token(**claims))


def test_id_token_is_accepted_by_the_client_that_signs_users_in(issuer: TokenIssuer, keys: JwkSet) -> None:
    rules = TokenRules(OURS, ISSUER, accepts_id_tokens=True)
    assert TokenVerifier(keys, rules=rules).verify(issuer.token(**NAMED, nonce="n", at_hash="h")).user_id == 21


def parse(issuer: TokenIssuer, keys: JwkSet, **claims: Any) -> Claims:
    return TokenVerifier(keys).verify(issuer.token(**claims))


@pytest.mark.parametrize(
    ("issued", "expires"),
    [(0, LIFETIME_SECONDS_MAX + 1), (None, LIFETIME_SECONDS_MAX + 60), (None, 900 * YEAR), (-YEAR, 60)],
)
def test_token_beyond_the_maximum_lifetime_is_refused(
    issued: int | None, expires: int, issuer: TokenIssuer, keys: JwkSet
) -> None:
    now = int(time.time())
    claims = parse(issuer, keys, iat=None if issued is None else now + issued, exp=now + expires)
    with pytest.raises(InvalidToken, match="valid for more than 90000 s"):
        claims.check_times(now)


def test_token_with_the_maximum_lifetime_is_accepted(issuer: TokenIssuer, keys: JwkSet) -> None:
    now = int(time.time())
    for issued in (now, None):
        parse(issuer, keys, iat=issued, exp=now + LIFETIME_SECONDS_MAX).check_times(now)


def test_token_issued_in_the_future_is_not_valid_yet(issuer: TokenIssuer, keys: JwkSet) -> None:
    now = int(time.time())
    parse(issuer, keys, iat=now + CLOCK_SKEW_SECONDS, exp=now + 60).check_times(now)
    with pytest.raises(InvalidToken, match="not valid yet"):
        parse(issuer, keys, iat=now + YEAR, exp=now + YEAR + 60).check_times(now)


@pytest.mark.parametrize("scope", [None, "grades.write", "moderation.operator grades.write"])
def test_user_token_is_accepted_by_the_canvas_api(scope: str | None, issuer: TokenIssuer, keys: JwkSet) -> None:
    parse(issuer, keys, scope=scope).check_opens_canvas_api()


@pytest.mark.parametrize(
    "claims",
    [
        {"scope": "moderation.facts"},
        {"scope": "grades.write moderation.facts"},
        {"scope": "moderation.viewer"},
        {"scope": ["moderation.admin", "moderation.all_accounts"]},
        {"scope": "moderation.request"},
        {"command_sha256": digest_command(b"{}")},
    ],
)
def test_token_with_another_scope_is_refused_by_the_canvas_api(claims: Json, issuer: TokenIssuer, keys: JwkSet) -> None:
    with pytest.raises(InvalidToken) as refused:
        parse(issuer, keys, **claims).check_opens_canvas_api()
    assert refused.value.reason == "not_allowed"


@pytest.mark.parametrize("claims", [{"command_sha256": 5}, {"iat": "yesterday"}, {"iat": -1}])
def test_claim_of_the_wrong_type_is_refused(claims: Json, issuer: TokenIssuer, keys: JwkSet) -> None:
    with pytest.raises(InvalidToken) as refused:
        parse(issuer, keys, **claims)
    assert refused.value.reason == "wrong_claims"
