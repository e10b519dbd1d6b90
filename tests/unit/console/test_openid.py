"""Settings of the OpenID provider, and a provider that does not answer."""

import asyncio
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import Request

from services.auth.jwks import JwkSet
from services.auth.verifier import ClaimNames, InvalidToken, TokenVerifier
from services.config.base import SettingsError
from services.config.console import ConsoleSettings, OpenIdSettings
from services.console.web.openid import DISCOVERY_RETRY_SECONDS, OpenIdProvider, SignInFailed
from tests.fixtures.token_issuer import TokenIssuer


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


AWAY = "http://127.0.0.1:1"


def console_settings(**given: Any) -> ConsoleSettings:
    servers: dict[str, Any] = {"database_url": "postgresql://db/log", "kafka_bootstrap": "kafka:9092"}
    return ConsoleSettings(**servers, jwks="jwks.json", console_port=1, console_url="http://console.example", **given)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"console_openid_issuer": "https://id.example"}, "CONSOLE_OPENID_CLIENT_ID is not set"),
        ({"console_openid_client_id": "console"}, "CONSOLE_OPENID_ISSUER is not set"),
        ({"console_openid_issuer": "http://id.example", "console_openid_client_id": "c"}, "CONSOLE_OPENID_ISSUER"),
        ({"console_openid_issuer": "id.example", "console_openid_client_id": "c"}, "CONSOLE_OPENID_ISSUER"),
        ({"console_openid_scopes": "openid\nprofile"}, "CONSOLE_OPENID_SCOPES"),
    ],
)
def test_incomplete_or_insecure_provider_is_refused(given: dict[str, Any], named: str) -> None:
    with pytest.raises(SettingsError, match=named):
        OpenIdSettings(**given)


async def test_provider_that_does_not_answer_is_named() -> None:
    provider = OpenIdProvider(console_settings(console_openid_issuer=AWAY, console_openid_client_id="console"))
    request = Request({"type": "http", "method": "GET", "path": "/", "headers": [], "query_string": b""})

    with pytest.raises(SignInFailed, match=r"127\.0\.0\.1:1 does not answer as an OpenID provider"):
        await provider.begin(request, "/")
    with pytest.raises(InvalidToken, match="does not answer"):
        await provider.verify("a.b.c")
    assert await provider.find_sign_out_url() is None


class _BrokenProvider(http.server.BaseHTTPRequestHandler):
    """Answers every request with 500, and counts them."""

    request_count = 0

    def do_GET(self) -> None:
        type(self).request_count += 1
        self.send_error(500)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def broken_provider() -> Iterator[tuple[str, type[_BrokenProvider]]]:
    pages = type("Pages", (_BrokenProvider,), {})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), pages)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", pages
    server.shutdown()
    thread.join()
    server.server_close()


async def test_provider_is_asked_once_however_many_requests_need_it(
    broken_provider: tuple[str, type[_BrokenProvider]],
) -> None:
    url, pages = broken_provider
    settings = console_settings(console_openid_issuer=url, console_openid_client_id="console")
    provider = OpenIdProvider(settings, clock := Clock())
    request = Request({"type": "http", "method": "GET", "path": "/", "headers": [], "query_string": b"code=x&state=y"})

    async def ask_for_everything() -> None:
        assert await provider.find_sign_out_url() is None
        for needs_provider in (provider.begin(request, "/"), provider.finish(request)):
            with pytest.raises(SignInFailed, match="does not answer"):
                await needs_provider
        with pytest.raises(InvalidToken, match="does not answer"):
            await provider.verify("a.b.c")

    await asyncio.gather(*(ask_for_everything() for _ in range(5)))
    assert pages.request_count == 1
    clock.now += DISCOVERY_RETRY_SECONDS
    await ask_for_everything()
    assert pages.request_count == 2


async def test_claims_of_other_names_hold_the_user_and_the_scopes(tmp_path: Path) -> None:
    issuer = TokenIssuer()
    keys = JwkSet(str(issuer.write_jwks(tmp_path / "jwks.json")))
    await keys.load()
    token = issuer.token(77, scope="moderation.admin", uid="5", groups=["moderation.viewer"])

    claims = TokenVerifier(keys, claim_names=ClaimNames("uid", "groups")).verify(token)

    assert (claims.user_id, claims.scopes) == (5, frozenset({"moderation.viewer"}))
    assert TokenVerifier(keys).verify(token).scopes == {"moderation.admin"}
    with pytest.raises(InvalidToken, match="sub and root_account_id"):
        TokenVerifier(keys, claim_names=ClaimNames("no such claim", "groups")).verify(token)
