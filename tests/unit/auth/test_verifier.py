"""Which tokens are accepted, and how the verification keys change without a restart."""

import asyncio
import contextlib
import http.server
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from services.auth import jwks
from services.auth.jwks import (
    AGE_SECONDS_MAX,
    CACHE_SECONDS,
    UNKNOWN_KID_REFETCH_SECONDS,
    JwksError,
    JwkSet,
    parse_jwks,
)
from services.auth.signer import TokenSigner, generate_key, to_public_jwk, write_jwks, write_private_key
from services.auth.verifier import CLOCK_SKEW_SECONDS, InvalidToken, TokenVerifier, parse_bearer_token
from tests.fixtures.token_issuer import TokenIssuer


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


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


def test_jwk_set_keeps_only_usable_verification_keys() -> None:
    weak, small = rsa.generate_private_key(65537, 1024), ec.generate_private_key(ec.SECP384R1())
    unusable = [
        {"kty": "oct", "k": "c2VjcmV0", "kid": "secret"},
        {**RSAAlgorithm.to_jwk(weak.public_key(), as_dict=True), "kid": "weak"},
        {**ECAlgorithm.to_jwk(small.public_key(), as_dict=True), "kid": "curve"},
        {**to_public_jwk(generate_key()), "use": "enc"},
        {**to_public_jwk(generate_key()), "alg": "HS256"},
        {**generate_key(), "kid": "private"},
        {"kty": ["RSA"], "kid": "odd"}, {"kty": "RSA"}, "no key", None,
    ]  # fmt: skip
    good = to_public_jwk(generate_key())
    assert list(parse_jwks(json.dumps({"keys": [*unusable, good]}).encode())) == [good["kid"]]
    for document in (json.dumps({"keys": unusable}), '{"keys": 5}', "[]", "{", "[" * 100_000):
        with pytest.raises(JwksError):
            parse_jwks(document.encode())


async def test_changed_jwks_file_is_reloaded(issuer: TokenIssuer, tmp_path: Path) -> None:
    clock, path = Clock(), tmp_path / "jwks.json"
    path.write_text(json.dumps(issuer.public_jwks(with_removed=True)))
    keys = JwkSet(str(path), clock)
    await keys.load()
    verifier, removed = TokenVerifier(keys), issuer.corpus_token("removed_key")
    verifier.verify(removed)

    issuer.write_jwks(path)
    clock.now += 2
    await keys.refresh()
    with pytest.raises(InvalidToken):
        verifier.verify(removed)
    assert verifier.verify(issuer.token()).user_id == 21


async def test_missing_or_broken_jwks_file_keeps_cached_keys_and_logs_once(
    issuer: TokenIssuer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock, path = Clock(), tmp_path / "jwks.json"
    keys = JwkSet(str(issuer.write_jwks(path)), clock)
    await keys.load()
    for breaking in (lambda: path.write_text("{"), path.unlink):
        breaking()
        for _ in range(3):
            clock.now += 2
            await keys.refresh()
        assert TokenVerifier(keys).verify(issuer.token()).user_id == 21
    assert (keys.age(), len(caplog.messages)) == (12, 2)

    issuer.write_jwks(path)
    for _ in range(2):
        clock.now += 2
        await keys.refresh()
        assert keys.age() == 0


async def test_keys_that_cannot_be_reloaded_are_used_for_at_most_a_day(issuer: TokenIssuer, tmp_path: Path) -> None:
    clock, path = Clock(), tmp_path / "jwks.json"
    keys = JwkSet(str(issuer.write_jwks(path)), clock)
    verifier = TokenVerifier(keys)
    await keys.load()
    path.unlink()
    clock.now += AGE_SECONDS_MAX
    await keys.refresh()
    assert verifier.verify(issuer.token()).user_id == 21
    clock.now += 2
    await keys.refresh()
    with pytest.raises(InvalidToken, match="no known key signed the token"):
        verifier.verify(issuer.token())

    issuer.write_jwks(path)
    clock.now += 2
    await keys.refresh()
    assert verifier.verify(issuer.token()).user_id == 21


class _JwksHandler(http.server.BaseHTTPRequestHandler):
    """Serves what the test sets, and counts requests."""

    body = b""
    request_count = 0
    redirect_to = ""
    drip_seconds = 0.0

    def do_GET(self) -> None:
        type(self).request_count += 1
        self.send_response(302 if self.redirect_to else 200)
        if self.redirect_to:
            self.send_header("location", self.redirect_to)
        self.end_headers()
        if not self.drip_seconds:
            self.wfile.write(self.body)
            return
        with contextlib.suppress(OSError):
            for byte in self.body:
                self.wfile.write(bytes([byte]))
                time.sleep(self.drip_seconds)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def jwks_server() -> Iterator[tuple[str, type[_JwksHandler]]]:
    pages = type("Pages", (_JwksHandler,), {})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), pages)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/jwks", pages
    server.shutdown()
    thread.join()
    server.server_close()


async def test_unknown_kid_refetches_the_jwks_url_at_most_once_a_minute(
    issuer: TokenIssuer, jwks_server: tuple[str, type[_JwksHandler]]
) -> None:
    clock, (url, page) = Clock(), jwks_server
    page.body = json.dumps(issuer.public_jwks()).encode()
    keys = JwkSet(url, clock)
    await keys.load()
    for _ in range(5):
        await keys.refresh(["unknown"])
    assert page.request_count == 2
    clock.now += UNKNOWN_KID_REFETCH_SECONDS
    page.body = json.dumps(issuer.public_jwks(with_removed=True)).encode()
    await keys.refresh(["removed"])
    assert (page.request_count, "removed" in keys.by_id) == (3, True)


async def test_removed_key_is_rejected_after_the_cache_expires(
    issuer: TokenIssuer, jwks_server: tuple[str, type[_JwksHandler]]
) -> None:
    clock, (url, page) = Clock(), jwks_server
    page.body = json.dumps(issuer.public_jwks(with_removed=True)).encode()
    keys = JwkSet(url, clock)
    await keys.load()
    page.body = json.dumps(issuer.public_jwks()).encode()
    await keys.refresh(["removed"])
    assert "removed" in keys.by_id
    clock.now += CACHE_SECONDS + 1
    await keys.refresh(["removed"])
    assert "removed" not in keys.by_id


async def test_jwks_redirects_and_oversized_responses_are_rejected(
    issuer: TokenIssuer, jwks_server: tuple[str, type[_JwksHandler]]
) -> None:
    url, page = jwks_server
    page.redirect_to, page.body = url, json.dumps(issuer.public_jwks()).encode()
    with pytest.raises(JwksError):
        await JwkSet(url).load()
    page.redirect_to, page.body = "", b" " * (65 << 10)
    with pytest.raises(JwksError, match="larger"):
        await JwkSet(url).load()


async def test_slow_jwks_response_is_aborted_at_the_deadline(
    jwks_server: tuple[str, type[_JwksHandler]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jwks, "FETCH_SECONDS_MAX", 0.2)
    url, page = jwks_server
    page.drip_seconds, page.body = 0.05, b"[" * 1_000
    with pytest.raises(JwksError, match="not read within"):
        await asyncio.wait_for(JwkSet(url).load(), 10)


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
