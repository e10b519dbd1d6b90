"""Which tokens are accepted."""

import time
from pathlib import Path
from typing import Any

import jwt
import pytest
from jwt.algorithms import RSAAlgorithm

from services.auth.jwks import JwksError, JwkSet
from services.auth.signer import TokenSigner, generate_key, write_jwks, write_private_key
from services.auth.verifier import CLOCK_SKEW_SECONDS, InvalidToken, TokenVerifier, parse_bearer_token
from tests.fixtures.token_issuer import TokenIssuer


@pytest.fixture(scope="module")
def issuer() -> TokenIssuer:
    return TokenIssuer()


@pytest.fixture
async def verifier(issuer: TokenIssuer, tmp_path: Path) -> TokenVerifier:
    keys = JwkSet(str(issuer.write_jwks(tmp_path / "jwks.json")))
    await keys.load()
    return TokenVerifier(keys)


async def test_rs256_es256_and_eddsa_are_accepted(issuer: TokenIssuer, verifier: TokenVerifier) -> None:
    signed = [(issuer.rsa_key, "RS256", "rsa"), (issuer.ec_key, "ES256", "ec"), (issuer.ed25519_key, "EdDSA", "ed")]
    for key, algorithm, kid in signed:
        token = jwt.encode(issuer.claims(21), key, algorithm, {"kid": kid})  # type: ignore[arg-type]
        claims = verifier.verify(token)
        claims.check_times(time.time())
        assert (claims.user_id, claims.root_account_id) == (21, 1)


async def test_token_without_a_kid_is_tried_with_every_key(issuer: TokenIssuer, verifier: TokenVerifier) -> None:
    assert verifier.verify(jwt.encode(issuer.claims(21), issuer.ed25519_key, "EdDSA")).user_id == 21


@pytest.mark.parametrize(
    "name",
    ["tampered_payload", "alg_none", "hs256_with_rsa_public_key", "unknown_kid", "kid_path", "es256_zero_sig",
     "es256_der", "id_token_typ", "jwe_zip_bomb", "removed_key"],
)  # fmt: skip
async def test_a_forged_token_is_refused(name: str, issuer: TokenIssuer, verifier: TokenVerifier) -> None:
    with pytest.raises(InvalidToken):
        verifier.verify(issuer.corpus_token(name))


async def test_key_is_bound_to_its_algorithm(issuer: TokenIssuer, verifier: TokenVerifier) -> None:
    for key, algorithm, kid in [
        (issuer.rsa_key, "RS512", "rsa"),
        (issuer.rsa_key, "PS256", "rsa"),
        (issuer.ec_key, "ES256", "ed"),
    ]:
        with pytest.raises(InvalidToken):
            verifier.verify(jwt.encode(issuer.claims(21), key, algorithm, {"kid": kid}))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "wrong",
    [{"sub": None}, {"sub": "0"}, {"sub": "x"}, {"sub": "-1"}, {"root_account_id": None}, {"exp": None},
     {"root_account_id": str(2**63)}, {"scope": 5}, {"scope": [5]}],
)  # fmt: skip
async def test_error_names_the_missing_or_invalid_claim(
    wrong: dict[str, Any], issuer: TokenIssuer, verifier: TokenVerifier
) -> None:
    with pytest.raises(InvalidToken, match=next(iter(wrong))):
        verifier.verify(issuer.token(21, **wrong))


@pytest.mark.parametrize("exp", ["soon", True, -1, float("inf"), float("nan")])
async def test_malformed_expiry_is_rejected(exp: Any, issuer: TokenIssuer, verifier: TokenVerifier) -> None:
    part = issuer._signed_part("RS256", "rsa", {**issuer.claims(21), "exp": exp})
    signature = RSAAlgorithm(RSAAlgorithm.SHA256).sign(part.encode(), issuer.rsa_key)
    with pytest.raises(InvalidToken):
        verifier.verify(f"{part}.{jwt.utils.base64url_encode(signature).decode()}")


async def test_token_validity_is_checked_at_the_given_time(issuer: TokenIssuer, verifier: TokenVerifier) -> None:
    claims = verifier.verify(issuer.token(21, iat=None, exp=2_000, nbf=1_000))
    claims.check_times(1_999.9)
    claims.check_times(1_000 - CLOCK_SKEW_SECONDS)
    for outside in (2_000, 1_000 - CLOCK_SKEW_SECONDS - 1):
        with pytest.raises(InvalidToken):
            claims.check_times(outside)


async def test_scopes_are_parsed_from_text_or_list(issuer: TokenIssuer, verifier: TokenVerifier) -> None:
    assert verifier.verify(issuer.token(21, scope="a moderation.facts")).scopes == {"a", "moderation.facts"}
    assert verifier.verify(issuer.token(21, scope=["a", "b"])).scopes == {"a", "b"}
    assert verifier.verify(issuer.token(21)).scopes == frozenset()


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "bEaReR "])
def test_bearer_scheme_is_taken_in_any_case(scheme: str) -> None:
    assert parse_bearer_token(f"{scheme} abc") == "abc"


@pytest.mark.parametrize("header", ["", "abc", "Bearer", "Basic YTpi", "Bearer a b", "Bearer \x00", "Bearer ü"])
def test_a_header_without_a_bearer_token_is_refused(header: str) -> None:
    with pytest.raises(InvalidToken):
        parse_bearer_token(header)


async def test_signer_tokens_verify_with_the_public_key(tmp_path: Path) -> None:
    key = generate_key()
    write_private_key(tmp_path / "key.json", key)
    write_jwks(tmp_path / "jwks.json", [key])
    assert '"d"' not in (tmp_path / "jwks.json").read_text()
    assert (tmp_path / "key.json").stat().st_mode & 0o077 == 0
    keys = JwkSet(str(tmp_path / "jwks.json"))
    await keys.load()
    claims = TokenVerifier(keys).verify(TokenSigner(tmp_path / "key.json").issue_token(21, 1, 60, "moderation.facts"))
    claims.check_times(time.time())
    assert claims.scopes == {"moderation.facts"}
    with pytest.raises(JwksError):
        TokenSigner(tmp_path / "jwks.json")


async def test_global_user_id_of_the_own_shard_becomes_the_local_id(
    verifier: TokenVerifier, issuer: TokenIssuer
) -> None:
    token = issuer.token(74140000000000021, root_account_id="74140000000000001")
    claims = TokenVerifier(verifier.keys, 7414).verify(token)
    assert (claims.user_id, claims.root_account_id) == (21, 1)
    assert verifier.verify(token).user_id == 74140000000000021
