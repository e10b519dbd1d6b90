"""When a session of the console ends, and which requests it authorizes."""

import json
import logging
import time
import uuid
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import Response

from schemas.global_ids import GLOBAL_ID_BASE
from services.auth.jwks import FILE_CHECK_SECONDS, JwkSet
from services.auth.token_rules import TokenRules
from services.auth.verifier import InvalidToken
from services.config.console import ConsoleSettings
from services.console.web import auth_pages
from services.console.web.openid import OpenIdProvider, SignInFailed
from services.console.web.session_tokens import SessionTokens
from services.console.web.sessions import Sessions
from services.console.web.signed_in_user import Forbidden, NotSignedIn
from services.runtime.access_log import AccessLogMiddleware
from tests.fixtures.token_issuer import TokenIssuer

URL, IDLE_SECONDS, REQUESTS_PER_MINUTE, SHARD = "http://console.example:8443", 60, 10, 7414


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def issuer() -> TokenIssuer:
    return TokenIssuer()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def sessions(issuer: TokenIssuer, tmp_path: Path, clock: Clock) -> Sessions:
    keys = JwkSet(str(issuer.write_jwks(tmp_path / "jwks.json")), clock)
    await keys.load()
    sessions = Sessions(
        keys,
        TokenRules(),
        URL,
        IDLE_SECONDS,
        unauthenticated_per_minute=3,
        requests_per_minute=REQUESTS_PER_MINUTE,
        live_events_shard=SHARD,
    )
    sessions.tokens = SessionTokens(IDLE_SECONDS, clock)
    return sessions


def request(cookie: str | None = None, path: str = "/", **headers: str) -> Request:
    named = {**headers, **({} if cookie is None else {"cookie": f"moderation={cookie}"})}
    encoded = [(name.replace("_", "-").encode(), value.encode()) for name, value in named.items()]
    return Request(
        {
            "type": "http",
            "method": "GET",
            "path": path,
            "query_string": b"",
            "headers": encoded,
            "client": ("203.0.113.9", 1),
        }
    )


@pytest.fixture
def token(issuer: TokenIssuer) -> str:
    return issuer.token(77, scope="moderation.operator")


async def test_signed_out_token_is_refused(sessions: Sessions, token: str) -> None:
    await sessions.sign_in(request(), token, Response())
    user = await sessions.authenticate(request(token))
    sessions.sign_out(user, Response())
    for refused in (request(token), request(authorization=f"Bearer {token}")):
        with pytest.raises(NotSignedIn, match="signed out"):
            await sessions.authenticate(refused)
    with pytest.raises(InvalidToken):
        await sessions.sign_in(request(), token, Response())
    assert not await sessions.is_open(user)


async def test_session_ends_after_inactivity(sessions: Sessions, token: str, clock: Clock) -> None:
    await sessions.sign_in(request(), token, Response())
    for path in ("/failures", "/live", "/session"):
        clock.now += IDLE_SECONDS / 2
        user = await sessions.authenticate(request(token, path))
    clock.now += 1
    with pytest.raises(NotSignedIn, match="not used for 60 s"):
        await sessions.authenticate(request(token))
    assert not await sessions.is_open(user)
    await sessions.sign_in(request(), token, Response())
    assert (await sessions.authenticate(request(token))).user_id == 77


async def test_open_page_ends_when_its_signing_key_is_removed(
    sessions: Sessions, token: str, issuer: TokenIssuer, tmp_path: Path, clock: Clock
) -> None:
    user = await sessions.authenticate(request(token))
    assert await sessions.is_open(user)
    others = [key for key in issuer.public_jwks()["keys"] if key["kid"] != "rsa"]
    (tmp_path / "jwks.json").write_text(json.dumps({"keys": others}))
    clock.now += FILE_CHECK_SECONDS
    assert not await sessions.is_open(user)


async def test_open_page_ends_with_its_token(
    sessions: Sessions, issuer: TokenIssuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    expires_at = int(time.time()) + 60
    token = issuer.token(77, scope="moderation.viewer", exp=expires_at)
    user = await sessions.authenticate(request(authorization=f"Bearer {token}"))
    assert await sessions.is_open(user)
    monkeypatch.setattr(time, "time", lambda: float(expires_at))
    assert not await sessions.is_open(user)


@pytest.mark.parametrize(
    ("headers", "is_own"),
    [
        ({}, True),
        ({"origin": URL}, True),
        ({"sec_fetch_site": "same-origin", "origin": "http://localhost:8443"}, True),
        ({"sec_fetch_site": "none"}, True),
        ({"origin": "https://evil.example"}, False),
        ({"origin": "null"}, False),
        ({"origin": "http://console.example"}, False),
        ({"sec_fetch_site": "cross-site", "origin": URL}, False),
        ({"sec_fetch_site": "same-site"}, False),
    ],
)
def test_form_of_another_site_is_refused(headers: dict[str, str], is_own: bool, sessions: Sessions) -> None:
    if is_own:
        sessions.require_same_origin(request(**headers))
        return
    with pytest.raises(Forbidden):
        sessions.require_same_origin(request(**headers))


async def test_user_reads_only_the_root_account_of_the_token_without_permission_for_all(
    sessions: Sessions, issuer: TokenIssuer
) -> None:
    bound = await sessions.authenticate(request(issuer.token(77, scope="moderation.admin", root_account_id="2")))
    free = await sessions.authenticate(request(issuer.token(77, scope="moderation.viewer moderation.all_accounts")))
    assert [bound.sees(account) for account in (2, 1, None)] == [True, False, False]
    assert [free.sees(account) for account in (2, 1, None)] == [True, True, True]


async def test_global_ids_of_the_shard_are_the_local_user_and_root_account(
    sessions: Sessions, issuer: TokenIssuer
) -> None:
    base = SHARD * GLOBAL_ID_BASE
    token = issuer.token(base + 77, scope="moderation.viewer", root_account_id=str(base + 2))
    user = await sessions.authenticate(request(token))
    assert (user.user_id, user.root_account_id) == (77, 2)


@pytest.mark.parametrize(
    ("scope", "opens_gateway"),
    [
        ("moderation.moderator", True),
        ("moderation.admin moderation.moderator", True),
        ("moderation.admin", False),
        ("moderation.moderator moderation.facts", False),
        ("moderation.moderator moderation.request", False),
    ],
)
async def test_gateway_is_open_to_moderators_whose_token_it_accepts(
    scope: str, opens_gateway: bool, sessions: Sessions, issuer: TokenIssuer
) -> None:
    user = await sessions.authenticate(request(issuer.token(77, scope=scope)))
    assert user.opens_gateway == opens_gateway


async def test_requests_are_limited_by_user(sessions: Sessions, issuer: TokenIssuer) -> None:
    for _ in range(REQUESTS_PER_MINUTE):
        token = issuer.token(77, scope="moderation.moderator", jti=str(uuid.uuid4()))
        await sessions.authenticate(request(token))
    with pytest.raises(HTTPException) as refused:
        await sessions.authenticate(request(authorization=f"Bearer {token}"))
    assert refused.value.status_code == 429
    for user_id, root_account_id in ((78, "1"), (77, "2")):
        other = issuer.token(user_id, scope="moderation.viewer", root_account_id=root_account_id)
        await sessions.authenticate(request(other))


async def test_command_token_cannot_open_a_session(sessions: Sessions, issuer: TokenIssuer) -> None:
    token = issuer.token(77, scope="moderation.admin", command_sha256="x")
    with pytest.raises(NotSignedIn):
        await sessions.authenticate(request(token))


async def test_attempts_to_sign_in_are_limited_by_address(sessions: Sessions, token: str) -> None:
    for _ in range(3):
        with pytest.raises(InvalidToken):
            await sessions.sign_in(request(), "guess", Response())
    for attempt in (sessions.sign_in(request(), token, Response()), sessions.authenticate(request(token))):
        with pytest.raises(HTTPException) as refused:
            await attempt
        assert refused.value.status_code == 429


@pytest.fixture
def openid_sessions(sessions: Sessions) -> Sessions:
    """Sessions with a provider that does not answer; three failures a minute from an address are let through."""
    settings = ConsoleSettings(
        database_url="postgresql://db/log",
        kafka_bootstrap="kafka:9092",
        jwks="jwks.json",
        console_port=1,
        console_url=URL,
        console_openid_issuer="http://127.0.0.1:1",
        console_openid_client_id="console",
    )
    sessions.provider = OpenIdProvider(settings)
    return sessions


async def test_sign_ins_that_other_sites_begin_end_no_session_and_stop_no_other_sign_in(
    openid_sessions: Sessions, token: str, issuer: TokenIssuer
) -> None:
    open_session = await openid_sessions.authenticate(request(issuer.token(78, scope="moderation.viewer")))
    for _ in range(3):
        with pytest.raises(SignInFailed):
            await openid_sessions.begin_openid(request(), "/")
    with pytest.raises(HTTPException) as refused:
        await openid_sessions.begin_openid(request(), "/")
    assert refused.value.status_code == 429
    assert await openid_sessions.is_open(open_session)
    await openid_sessions.sign_in(request(), token, Response())
    assert (await openid_sessions.authenticate(request(token))).user_id == 77


async def test_callback_without_a_begun_sign_in_is_refused_and_not_counted(openid_sessions: Sessions) -> None:
    for _ in range(5):
        with pytest.raises(SignInFailed, match="began no sign-in"):
            await openid_sessions.finish_openid(request(path="/sign-in/openid/callback"), Response())
    with pytest.raises(SignInFailed, match="does not answer"):
        await openid_sessions.begin_openid(request(), "/")


async def test_failed_answers_of_the_provider_are_limited_by_address(openid_sessions: Sessions) -> None:
    assert openid_sessions.provider is not None
    begun = f"none; {openid_sessions.provider.cookie_name}=x"
    for _ in range(3):
        with pytest.raises(SignInFailed, match="does not answer"):
            await openid_sessions.finish_openid(request(begun), Response())
    with pytest.raises(HTTPException):
        await openid_sessions.finish_openid(request(begun), Response())


async def test_sign_in_and_sign_out_are_one_line_each_that_names_the_user_and_not_the_token(
    sessions: Sessions, token: str, caplog: pytest.LogCaptureFixture
) -> None:
    app = FastAPI()
    app.state.dependencies = SimpleNamespace(sessions=sessions)
    app.add_middleware(AccessLogMiddleware, shows_records=lambda template: False)
    app.include_router(auth_pages.router)
    headers = {"origin": URL}
    with caplog.at_level(logging.INFO, "access"):
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=URL) as client:
            await client.post("/sign-in", data={"token": token}, headers=headers)
            user = await sessions.authenticate(request(token))
            await client.post("/sign-out", data={"csrf": user.csrf or ""}, headers=headers)
    lines = [record.access for record in caplog.records if record.name == "access"]  # type: ignore[attr-defined]
    assert [(line["what"], line["status"], line["route"]) for line in lines] == [
        ("signed_in", 303, "/sign-in"),
        ("signed_out", 303, "/sign-out"),
    ]
    assert {(line["root_account_id"], line["user_id"]) for line in lines} == {(1, 77)}
    assert token not in str(lines)
