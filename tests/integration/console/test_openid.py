"""Sign-in by an OpenID provider: authorization code with PKCE, against a provider of a library."""

import base64
import json
import re
import uuid
from collections.abc import AsyncIterator, Iterator
from html import unescape
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import pytest

from tests.fixtures.console_client import ConsoleClient, parse_csrf_token, send_command
from tests.fixtures.openid_provider import OpenIdServer, run_openid_provider

# The provider's own use of Authlib, which runs in a thread of this process.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
CLIENT_ID = "console"
USERS: dict[str, dict[str, Any]] = {
    "alice": {"uid": "77", "root_account_id": "1", "groups": ["staff", "moderation.operator"]},
    "bob": {"uid": "78", "root_account_id": "2", "groups": "moderation.viewer"},
    "globally known": {
        "uid": "74140000000000079",
        "root_account_id": "74140000000000001",
        "groups": "moderation.viewer",
    },
    "without a role": {"uid": "79", "root_account_id": "1", "groups": ["staff"]},
    "without an id": {"root_account_id": "1", "groups": ["moderation.admin"]},
    "without an account": {"uid": "80", "groups": ["moderation.admin"]},
    "with a command": {"uid": "81", "root_account_id": "1", "groups": ["moderation.admin"], "command_sha256": "x"},
}
COOKIE, SIGN_IN_COOKIE = "moderation", "moderation-sign-in"


@pytest.fixture(scope="module")
def provider() -> Iterator[OpenIdServer]:
    with run_openid_provider(USERS) as server:
        yield server


@pytest.fixture(scope="module")
async def url(
    console: ConsoleClient, provider: OpenIdServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[str]:
    """The URL of a console that the provider signs users in at."""
    secret = tmp_path_factory.mktemp("openid") / "secret"
    secret.write_text(f"{uuid.uuid4()}\n")
    process = console.system.create_console(
        console.issuer,
        CONSOLE_OPENID_ISSUER=provider.url,
        CONSOLE_OPENID_CLIENT_ID=CLIENT_ID,
        CONSOLE_OPENID_CLIENT_SECRET_FILE=str(secret),
        CONSOLE_OPENID_USER_CLAIM="uid",
        CONSOLE_OPENID_SCOPE_CLAIM="groups",
        LIVE_EVENTS_SHARD="7414",
    )
    process.start()
    await process.wait_until_ready()
    yield process.url
    process.kill()


@pytest.fixture
async def browser(url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=url, timeout=90) as client:
        yield client


async def begin(browser: httpx.AsyncClient, next_path: str = "/failures") -> str:
    """Begin a sign-in, and return the provider's URL."""
    answer = await browser.get("/sign-in/openid", params={"next": next_path})
    assert answer.status_code == 302, answer.text
    return answer.headers["location"]


async def allow(location: str, user: str) -> str:
    """Sign in at the provider as a user, and return the URL that it leads back to."""
    async with httpx.AsyncClient(timeout=90) as elsewhere:
        answer = await elsewhere.post(location, data={"sub": user})
    assert answer.status_code == 302, answer.text
    return answer.headers["location"]


async def sign_in(browser: httpx.AsyncClient, user: str = "alice", next_path: str = "/failures") -> httpx.Response:
    return await browser.get(await allow(await begin(browser, next_path), user))


def change_cookie(browser: httpx.AsyncClient, name: str, value: str | None) -> None:
    """Change what the sign-in's cookie keeps under a name of Authlib's."""
    content = json.loads(base64.urlsafe_b64decode(browser.cookies[SIGN_IN_COOKIE].strip('"')))
    (state,) = content["session"].values()
    state["data"].pop(name) if value is None else state["data"].update({name: value})
    changed = base64.urlsafe_b64encode(json.dumps(content).encode()).decode()
    browser.cookies.clear()
    browser.cookies.set(SIGN_IN_COOKIE, changed)


async def test_global_ids_of_the_provider_are_the_local_ones(browser: httpx.AsyncClient) -> None:
    await sign_in(browser, "globally known")
    assert "user 79 · viewer" in (await browser.get("/failures")).text


async def test_user_signs_in_with_the_roles_of_the_claims_and_out(browser: httpx.AsyncClient, url: str) -> None:
    page = await sign_in(browser)
    assert page.status_code == 200
    cookie = next(header for header in page.headers.get_list("set-cookie") if header.startswith(f"{COOKIE}="))
    assert all(attribute in cookie.lower() for attribute in ("httponly", "samesite=strict"))
    assert 'content="0; url=/failures"' in page.text
    failures = await browser.get("/failures")
    assert "user 77 · operator" in failures.text
    stolen = dict(browser.cookies)

    out = await browser.post("/sign-out", data={"csrf": parse_csrf_token(failures)})
    signed_out = await browser.get(out.headers["location"])

    assert re.search(r'href="http://127[^"]*/oauth2/end_session\?client_id=console"', signed_out.text), signed_out.text
    async with httpx.AsyncClient(base_url=url, timeout=90, cookies=stolen) as thief:
        assert (await thief.get("/failures")).status_code == 303


async def test_request_to_the_provider_has_state_nonce_and_challenge(browser: httpx.AsyncClient, url: str) -> None:
    queries = [parse_qs(urlsplit(await begin(browser)).query) for _ in range(2)]
    assert queries[0]["response_type"] == ["code"]
    assert queries[0]["code_challenge_method"] == ["S256"]
    assert queries[0]["redirect_uri"] == [f"{url}/sign-in/openid/callback"]
    for name in ("state", "nonce", "code_challenge"):
        assert queries[0][name] != queries[1][name]


@pytest.mark.parametrize(
    "change", ["another state", "no state", "another nonce", "no nonce", "another verifier", "no verifier"]
)
async def test_answer_to_another_sign_in_begins_no_session(browser: httpx.AsyncClient, change: str) -> None:
    back = await allow(await begin(browser), "alice")
    kind, name = change.split()
    if name == "state":
        query = {key: values[0] for key, values in parse_qs(urlsplit(back).query).items()}
        query.pop("state")
        back = f"{back.partition('?')[0]}?{urlencode(query | ({'state': 'x' * 30} if kind == 'another' else {}))}"
    else:
        key = {"nonce": "nonce", "verifier": "code_verifier"}[name]
        change_cookie(browser, key, "x" * 50 if kind == "another" else None)

    page = await browser.get(back)

    assert page.status_code == 401
    assert COOKIE not in browser.cookies
    assert (await browser.get("/failures")).status_code == 303


async def test_answer_counts_once_and_in_the_browser_that_asked(browser: httpx.AsyncClient, url: str) -> None:
    back = await allow(await begin(browser), "alice")
    kept = browser.cookies[SIGN_IN_COOKIE]
    async with httpx.AsyncClient(base_url=url, timeout=90) as other:
        assert (await other.get(back)).status_code == 401
    assert (await browser.get(back)).status_code == 200
    assert SIGN_IN_COOKIE not in browser.cookies
    async with httpx.AsyncClient(base_url=url, timeout=90, cookies={SIGN_IN_COOKIE: kept}) as later:
        assert (await later.get(back)).status_code == 401


async def test_sign_in_that_another_site_begins_leads_to_the_sign_in_page(browser: httpx.AsyncClient) -> None:
    answer = await browser.get("/sign-in/openid?next=/failures", headers={"sec-fetch-site": "cross-site"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in?next=%2Ffailures")
    assert not browser.cookies


@pytest.mark.parametrize("state", [5, [], {"data": 5, "exp": 1e12}, {"data": {}, "exp": None}])
async def test_cookie_that_no_sign_in_made_is_refused_without_an_error(browser: httpx.AsyncClient, state: Any) -> None:
    content = {"next": "", "session": {"_state_openid_x": state}}
    browser.cookies.set(SIGN_IN_COOKIE, base64.urlsafe_b64encode(json.dumps(content).encode()).decode())
    answer = await browser.get("/sign-in/openid/callback?state=x&code=y")
    assert answer.status_code == 401


@pytest.mark.parametrize(
    "target",
    ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)", "/\t/evil.example", ""],
)
async def test_sign_in_leads_to_no_other_site(browser: httpx.AsyncClient, target: str) -> None:
    page = await sign_in(browser, next_path=target)
    assert re.findall(r'(?:url=|<a href=")([^"]*)"', page.text) == ["/", "/"]


async def test_path_cannot_leave_its_attribute(browser: httpx.AsyncClient) -> None:
    path = '/failures?a="><script>1</script>;url=//evil.example'
    page = await sign_in(browser, next_path=path)
    assert "<script>" not in page.text
    assert [unescape(found) for found in re.findall(r'0; url=([^"]*)"', page.text)] == [path]


@pytest.mark.parametrize("user", [name for name in USERS if name.startswith("with")])
async def test_claims_count_by_the_rules_for_tokens(browser: httpx.AsyncClient, user: str) -> None:
    page = await sign_in(browser, user)
    assert page.status_code == 401
    assert COOKIE not in browser.cookies


async def test_root_account_of_the_claims_is_the_one_that_is_shown(
    console: ConsoleClient, browser: httpx.AsyncClient
) -> None:
    verdict = await send_command(console, "upsert_course")
    statuses = []
    for user in ("alice", "bob"):
        await sign_in(browser, user)
        statuses.append((await browser.get(f"/commands/1/{verdict['command_id']}")).status_code)
    assert statuses == [303, 404]


async def test_id_token_opens_the_console_as_the_cookie_of_a_sign_in_alone(
    browser: httpx.AsyncClient, url: str
) -> None:
    await sign_in(browser)
    id_token = browser.cookies[COOKIE].removeprefix("openid.")
    async with httpx.AsyncClient(base_url=url, timeout=90) as other:
        for token in (id_token, f"openid.{id_token}"):
            by_header = await other.get("/failures", headers={"authorization": f"Bearer {token}"})
            pasted = await other.post("/sign-in", data={"token": token})
            assert (by_header.status_code, pasted.status_code) == (401, 401)
        assert (await other.get("/failures", cookies={COOKIE: id_token})).status_code == 303


async def test_id_token_of_another_client_is_refused(
    browser: httpx.AsyncClient, provider: OpenIdServer, url: str
) -> None:
    location = (await begin(browser)).replace(f"client_id={CLIENT_ID}", "client_id=other")
    page = await browser.get(await allow(location, "alice"))
    assert page.status_code == 401
    assert COOKIE not in browser.cookies


async def test_refusal_of_the_provider_is_shown_without_its_text(browser: httpx.AsyncClient) -> None:
    await begin(browser)
    refused = await browser.get(
        "/sign-in/openid/callback", params={"error": "access_denied", "error_description": "call +1 555 0100"}
    )
    odd = await browser.get("/sign-in/openid/callback", params={"error": "<b>call</b> +1 555 0100"})
    assert (refused.status_code, odd.status_code) == (401, 401)
    assert "access_denied" in refused.text
    assert "555" not in refused.text + odd.text


async def test_console_without_a_provider_has_no_such_pages(console: ConsoleClient) -> None:
    assert (await console.http.get("/sign-in/openid")).status_code == 404
    assert (await console.http.get("/sign-in/openid/callback?code=x&state=y")).status_code == 404
    assert "/sign-in/openid" not in (await console.http.get("/sign-in")).text
