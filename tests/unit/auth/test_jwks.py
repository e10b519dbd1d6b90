"""Which keys of a JWK set are used, and how they change without a restart."""

import asyncio
import contextlib
import http.server
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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
from services.auth.signer import generate_key, to_public_jwk
from services.auth.verifier import InvalidToken, TokenVerifier
from tests.fixtures.token_issuer import TokenIssuer


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def issuer() -> TokenIssuer:
    return TokenIssuer()


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
        *({**to_public_jwk(generate_key()), "key_ops": operations} for operations in (["sign"], 5, None)),
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


OLD_KEY, NEW_KEY = ({**to_public_jwk(generate_key()), "kid": kid} for kid in ("old", "new"))


class _JwksHandler(http.server.BaseHTTPRequestHandler):
    """Serves what the test sets, and counts requests."""

    body = b""
    request_count = 0
    redirect_to = ""
    drip_seconds = 0.0
    is_http = True

    def do_GET(self) -> None:
        type(self).request_count += 1
        if not self.is_http:
            self.wfile.write(b"+OK this is another protocol\r\n")
            return
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


async def test_response_that_is_not_http_keeps_the_known_keys(jwks_server: tuple[str, type[_JwksHandler]]) -> None:
    url, page = jwks_server
    page.body = json.dumps({"keys": [OLD_KEY]}).encode()
    keys = JwkSet(url)
    await keys.load()
    page.is_http = False
    await keys.refresh(["unknown"])
    assert (page.request_count, list(keys.by_id)) == (2, ["old"])


@pytest.fixture
async def rotated(jwks_server: tuple[str, type[_JwksHandler]]) -> tuple[JwkSet, Clock, type[_JwksHandler]]:
    """Return keys that were read before the server got another one, and now takes a third of a second to send them."""
    clock, (url, page) = Clock(), jwks_server
    page.body = json.dumps({"keys": [OLD_KEY]}).encode()
    keys = JwkSet(url, clock)
    await keys.load()
    page.body, page.drip_seconds = json.dumps({"keys": [OLD_KEY, NEW_KEY]}).encode(), 0.001
    return keys, clock, page


async def _knows_after_refresh(keys: JwkSet, kid: str) -> bool:
    await keys.refresh([kid])
    return kid in keys.by_id


async def test_every_caller_with_a_new_key_waits_for_the_url_that_is_being_read(
    rotated: tuple[JwkSet, Clock, type[_JwksHandler]],
) -> None:
    keys, _, page = rotated
    assert await asyncio.gather(*(_knows_after_refresh(keys, "new") for _ in range(3))) == [True] * 3
    assert page.request_count == 2


async def test_every_caller_with_a_new_key_waits_for_the_file_that_is_being_read(tmp_path: Path) -> None:
    clock, path = Clock(), tmp_path / "jwks.json"
    path.write_text(json.dumps({"keys": [OLD_KEY]}))
    keys = JwkSet(str(path), clock)
    await keys.load()
    path.write_text(json.dumps({"keys": [OLD_KEY, NEW_KEY]}))
    clock.now += 2
    assert await asyncio.gather(*(_knows_after_refresh(keys, "new") for _ in range(3))) == [True] * 3


async def test_new_key_is_known_after_the_regular_read_in_progress_whatever_other_callers_ask_for(
    rotated: tuple[JwkSet, Clock, type[_JwksHandler]],
) -> None:
    keys, clock, page = rotated
    clock.now += CACHE_SECONDS + 1
    regular = asyncio.create_task(keys.refresh())
    strangers = [asyncio.create_task(keys.refresh([f"random {number}"])) for number in range(3)]
    await asyncio.sleep(0)
    assert await _knows_after_refresh(keys, "new")
    assert regular.done()
    assert not any(stranger.done() for stranger in strangers)
    await asyncio.gather(*strangers)
    await keys.refresh(["random"])
    # At the start, when the set was old, and once for all unknown key ids.
    assert page.request_count == 3


async def test_known_key_never_waits_for_the_url_that_is_being_read(
    rotated: tuple[JwkSet, Clock, type[_JwksHandler]],
) -> None:
    keys, _, _ = rotated
    reading = asyncio.create_task(keys.refresh(["new"]))
    await asyncio.sleep(0)
    await keys.refresh(["old", None])
    assert not reading.done()
    await reading


async def test_caller_that_is_cancelled_leaves_the_read_to_the_others(
    rotated: tuple[JwkSet, Clock, type[_JwksHandler]],
) -> None:
    keys, _, page = rotated
    cancelled, waiting = (asyncio.create_task(_knows_after_refresh(keys, "new")) for _ in range(2))
    await asyncio.sleep(0)
    cancelled.cancel()
    assert await waiting
    assert (cancelled.cancelled(), page.request_count) == (True, 2)
