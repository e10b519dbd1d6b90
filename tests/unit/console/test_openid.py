"""Settings of the OpenID provider, and a provider that does not answer."""

from pathlib import Path
from typing import Any

import pytest
from fastapi import Request

from services.auth.jwks import JwkSet
from services.auth.verifier import ClaimNames, InvalidToken, TokenVerifier
from services.config import ConsoleSettings, OpenIdSettings, SettingsError
from services.console.web.openid import OpenIdProvider, SignInFailed
from tests.fixtures.token_issuer import TokenIssuer

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
