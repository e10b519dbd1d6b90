"""Sign-in, sessions and roles of the console, over HTTP without a browser."""

import asyncio
import json
import re
import time
import urllib.request
import uuid
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack

import httpx
import pytest

from services.console.web.live_stream import STREAMS_PER_USER_MAX
from tests.fixtures.console_client import ConsoleClient, create_dead_letter, parse_csrf_token, send_command, sign_in
from tests.fixtures.process_runner import wait_until

REASON_FORM = {"why": "the exporter was fixed"}
PAGES = (
    "/",
    "/failures",
    "/failures/dead-letters",
    "/assignments",
    "/topics",
    "/actions",
    "/audit",
    "/runbook",
    "/reasons",
)


@pytest.mark.parametrize("path", PAGES)
async def test_unauthenticated_page_redirects_to_sign_in(path: str, console: ConsoleClient) -> None:
    answer = await console.http.get(path)
    assert (answer.status_code, answer.headers["location"]) == (303, f"/sign-in?next={path}")


@pytest.mark.parametrize("path", PAGES)
async def test_content_security_policy_allows_only_own_resources(path: str, console: ConsoleClient) -> None:
    answer = await console.request("GET", path)
    assert answer.status_code == 200
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["cache-control"] == "no-store"
    inline_or_external = r'<script(?![^>]*\bsrc="/static/)|<style|<\w[^>]*\s(style|on\w+)=|(src|href)="(?![/#])'
    assert not re.search(inline_or_external, answer.text)


@pytest.mark.parametrize("token", ["", "no token", "none of the scopes", "other issuer", "expired"])
async def test_invalid_token_cannot_sign_in(token: str, console: ConsoleClient) -> None:
    token_text = {
        "none of the scopes": console.issuer.token(77, scope="moderation.facts"),
        "other issuer": console.issuer.corpus_token("tampered_payload", 77),
        "expired": console.issuer.token(77, scope="moderation.admin", exp=1),
    }.get(token, token)
    answer = await console.http.post("/sign-in", data={"token": token_text})
    assert answer.status_code == 401
    assert "set-cookie" not in answer.headers
    assert token_text == "" or token_text not in answer.text
    by_bearer = await console.http.get("/", headers={"authorization": f"Bearer{' ' * bool(token_text)}{token_text}"})
    assert by_bearer.status_code == 401


async def test_session_cookie_is_httponly_and_samesite_strict(console: ConsoleClient) -> None:
    async with httpx.AsyncClient(base_url=console.url, timeout=90) as browser:
        answer = await browser.post("/sign-in", data={"token": console.token("viewer"), "next": "//elsewhere.example"})
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert answer.headers["location"] == "/"
    async with sign_in(console) as client:
        page = await client.get("/failures")
        assert page.status_code == 200
        stolen = dict(client.cookies)
        out = await client.post("/sign-out", data={"csrf": parse_csrf_token(page)})
        assert out.headers["location"] == "/sign-in"
        assert (await client.get("/failures")).status_code == 303
    async with httpx.AsyncClient(base_url=console.url, timeout=90, cookies=stolen) as thief:
        assert (await thief.get("/failures")).status_code == 303
        assert (await thief.get("/live")).status_code == 204


@pytest.mark.parametrize("path", ["/sign-in", "/sign-out", "/act/redrive"])
async def test_large_body_is_refused_without_a_token(path: str, console: ConsoleClient) -> None:
    form = {"content-type": "application/x-www-form-urlencoded"}
    answer = await console.http.post(path, content=b"a=" + b"x" * 100_000, headers=form)
    assert answer.status_code == 413
    assert (await console.http.post(path, files={"t": b"x"})).status_code == 415


async def test_form_of_another_site_does_not_sign_in(console: ConsoleClient) -> None:
    form = {"token": console.token("viewer")}
    answer = await console.http.post("/sign-in", data=form, headers={"origin": "https://evil.example"})
    assert (answer.status_code, "set-cookie" in answer.headers) == (403, False)


async def test_marks_of_another_root_account_require_a_scope(console: ConsoleClient) -> None:
    verdict = await send_command(console, "upsert_course")
    path = f"/commands/1/{verdict['command_id']}"
    statuses = {}
    for scope in ("moderation.admin", "moderation.viewer moderation.all_accounts"):
        token = console.issuer.token(77, scope=scope, root_account_id="2")
        answer = await console.http.get(path, headers={"authorization": f"Bearer {token}"})
        shown = await console.http.get(
            answer.headers.get("location", path), headers={"authorization": f"Bearer {token}"}
        )
        statuses[scope] = (answer.status_code, shown.status_code)
    assert statuses == {"moderation.admin": (404, 404), "moderation.viewer moderation.all_accounts": (303, 200)}
    direct = answer.headers["location"]
    bound = console.issuer.token(77, scope="moderation.admin", root_account_id="2")
    assert (await console.http.get(direct, headers={"authorization": f"Bearer {bound}"})).status_code == 404


async def test_forged_form_is_rejected(console: ConsoleClient) -> None:
    letter = await create_dead_letter(console)
    async with sign_in(console) as client:
        csrf = parse_csrf_token(await client.get(f"/act/discard?letter={letter}"))
        form = {"letter": letter, "action": str(uuid.uuid4()), **REASON_FORM}
        forged = [
            await client.post("/act/discard", data=form),
            await client.post("/act/discard", data={**form, "csrf": "0" * len(csrf)}),
            await client.post("/act/discard", data={**form, "csrf": csrf}, headers={"sec-fetch-site": "cross-site"}),
        ]
        assert [answer.status_code for answer in forged] == [403, 403, 403]
        assert "open" in (await client.get(f"/failures/dead-letters/{letter}")).text
        assert (await client.post("/act/discard", data={**form, "csrf": csrf})).status_code == 303


async def test_viewer_sees_no_action_buttons_and_cannot_act(console: ConsoleClient) -> None:
    letter = await create_dead_letter(console)
    page = await console.request("GET", f"/failures/dead-letters/{letter}")
    group = await console.request("GET", "/failures/dead-letters?reason=not_json")
    for shown in (page.text, group.text):
        assert "/act/" not in shown
        assert "dry-run" not in shown
    form = {"letter": letter, "action": str(uuid.uuid4()), **REASON_FORM}
    for kind in ("redrive", "discard", "reveal"):
        assert (await console.request("GET", f"/act/{kind}?letter={letter}")).status_code == 403
        assert (await console.request("POST", f"/act/{kind}", data=form)).status_code == 403
    for path in (f"/failures/dead-letters/{letter}/dry-run", "/topics/replay", "/topics/check"):
        assert (await console.request("POST", path, data=form)).status_code == 403
    operator = await console.request(
        "POST", "/act/discard", "operator", data={**form, "letter": "", "reason": "not_json"}
    )
    assert operator.status_code == 403


async def test_event_stream_ends_with_the_session(console: ConsoleClient) -> None:
    async with httpx.AsyncClient(base_url=console.url, timeout=90) as stranger:
        assert (await stranger.get("/live")).status_code == 204
        assert (await stranger.get("/session")).status_code == 204
    assert (await console.request("GET", "/session")).status_code == 200
    # On a slow machine a session may end before its stream opens.
    for seconds in (2, 8, 30):
        brief = console.issuer.token(77, scope="moderation.viewer", exp=int(time.time()) + seconds)
        request = urllib.request.Request(f"{console.url}/live", headers={"authorization": f"Bearer {brief}"})
        stream = await asyncio.to_thread(read_stream, request)
        data = [line.removeprefix(b"data: ") for line in stream.splitlines() if line.startswith(b"data: ")]
        if data:
            break
    assert {"title", "status", "partitions", "recent"} <= json.loads(data[0]).keys()


def read_stream(request: urllib.request.Request) -> bytes:
    with urllib.request.urlopen(request, timeout=60) as answer:
        content: bytes = answer.read()
    return content


async def test_open_streams_of_one_user_are_limited_and_those_of_others_are_not(console: ConsoleClient) -> None:
    def open_stream(user: int) -> AbstractAsyncContextManager[httpx.Response]:
        headers = {"authorization": f"Bearer {console.token('viewer', user)}"}
        return console.http.stream("GET", "/live", headers=headers)

    async def is_let_in(user: int) -> bool:
        async with open_stream(user) as stream:
            return stream.status_code == 200

    lines: list[AsyncIterator[str]] = []
    async with AsyncExitStack() as streams:
        for _ in range(STREAMS_PER_USER_MAX):
            stream = await streams.enter_async_context(open_stream(4711))
            # httpx closes a response whose iterator is forgotten.
            lines.append(stream.aiter_lines())
            await anext(lines[-1])
        async with open_stream(4711) as refused:
            assert refused.status_code == 429
        assert await is_let_in(4712)
    await wait_until(lambda: is_let_in(4711), "a closed stream makes room")
