"""Who is let in to the console, and what they may do there: over HTTP, without a browser."""

import asyncio
import json
import re
import time
import urllib.request
import uuid

import httpx
import pytest

from tests.console.looking import Console, csrf_of, letter_of, signed_in

WHY = {"why": "the exporter was mended"}
PAGES = ("/", "/failures", "/failures/dead-letters", "/assignments", "/topics", "/actions")


@pytest.mark.parametrize("path", PAGES)
async def test_a_page_sends_who_is_not_signed_in_to_sign_in_and_back(path: str, console: Console) -> None:
    answer = await console.http.get(path)
    assert (answer.status_code, answer.headers["location"]) == (303, f"/sign-in?next={path}")


@pytest.mark.parametrize("path", PAGES)
async def test_a_page_is_let_do_nothing_but_what_is_ours(path: str, console: Console) -> None:
    answer = await console.ask("GET", path)
    assert answer.status_code == 200
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["cache-control"] == "no-store"
    foreign = r'<script(?![^>]*\bsrc="/static/)|<style|<\w[^>]*\s(style|on\w+)=|(src|href)="(?![/#])'
    assert not re.search(foreign, answer.text)


@pytest.mark.parametrize("token", ["", "no token", "none of the scopes", "other issuer", "expired"])
async def test_what_proves_nothing_opens_nothing(token: str, console: Console) -> None:
    made = {
        "none of the scopes": console.issuer.token(77, scope="moderation.facts"),
        "other issuer": console.issuer.named("tampered_payload", 77),
        "expired": console.issuer.token(77, scope="moderation.admin", exp=1),
    }.get(token, token)
    answer = await console.http.post("/sign-in", data={"token": made})
    assert answer.status_code == 401
    assert "set-cookie" not in answer.headers
    assert made == "" or made not in answer.text
    by_bearer = await console.http.get("/", headers={"authorization": f"Bearer{' ' * bool(made)}{made}"})
    assert by_bearer.status_code == 401


async def test_a_session_is_a_cookie_that_no_script_and_no_other_site_can_use(console: Console) -> None:
    async with httpx.AsyncClient(base_url=console.url, timeout=90) as browser:
        answer = await browser.post("/sign-in", data={"token": console.token("viewer"), "next": "//elsewhere.example"})
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert answer.headers["location"] == "/"
    async with signed_in(console) as client:
        page = await client.get("/failures")
        assert page.status_code == 200
        out = await client.post("/sign-out", data={"csrf": csrf_of(page)})
        assert out.headers["location"] == "/sign-in"
        assert (await client.get("/failures")).status_code == 303


async def test_a_form_that_another_site_or_session_made_does_nothing(console: Console) -> None:
    letter = await letter_of(console)
    async with signed_in(console) as client:
        csrf = csrf_of(await client.get(f"/act/discard?letter={letter}"))
        form = {"letter": letter, "action": str(uuid.uuid4()), **WHY}
        forged = [
            await client.post("/act/discard", data=form),
            await client.post("/act/discard", data={**form, "csrf": "0" * len(csrf)}),
            await client.post("/act/discard", data={**form, "csrf": csrf}, headers={"sec-fetch-site": "cross-site"}),
        ]
        assert [answer.status_code for answer in forged] == [403, 403, 403]
        assert "open" in (await client.get(f"/failures/dead-letters/{letter}")).text
        assert (await client.post("/act/discard", data={**form, "csrf": csrf})).status_code == 303


async def test_a_viewer_sees_no_button_that_acts_and_is_refused(console: Console) -> None:
    letter = await letter_of(console)
    page = await console.ask("GET", f"/failures/dead-letters/{letter}")
    group = await console.ask("GET", "/failures/dead-letters?reason=not_json")
    for shown in (page.text, group.text):
        assert "/act/" not in shown
        assert "dry-run" not in shown
    form = {"letter": letter, "action": str(uuid.uuid4()), **WHY}
    for kind in ("redrive", "discard", "reveal"):
        assert (await console.ask("GET", f"/act/{kind}?letter={letter}")).status_code == 403
        assert (await console.ask("POST", f"/act/{kind}", data=form)).status_code == 403
    for path in (f"/failures/dead-letters/{letter}/dry-run", "/topics/replay", "/topics/check"):
        assert (await console.ask("POST", path, data=form)).status_code == 403
    operator = await console.ask("POST", "/act/discard", "operator", data={**form, "letter": "", "reason": "not_json"})
    assert operator.status_code == 403


async def test_a_stream_ends_with_the_session(console: Console) -> None:
    async with httpx.AsyncClient(base_url=console.url, timeout=90) as stranger:
        assert (await stranger.get("/live")).status_code == 204
        assert (await stranger.get("/session")).status_code == 204
    assert (await console.ask("GET", "/session")).status_code == 200
    # On a machine that stands still a session may have ended before it began.
    for seconds in (2, 8, 30):
        brief = console.issuer.token(77, scope="moderation.viewer", exp=int(time.time()) + seconds)
        request = urllib.request.Request(f"{console.url}/live", headers={"authorization": f"Bearer {brief}"})
        sent = await asyncio.to_thread(read_to_its_end, request)
        data = [line.removeprefix(b"data: ") for line in sent.splitlines() if line.startswith(b"data: ")]
        if data:
            break
    assert {"title", "status", "partitions", "recent"} <= json.loads(data[0]).keys()


def read_to_its_end(request: urllib.request.Request) -> bytes:
    with urllib.request.urlopen(request, timeout=60) as answer:
        content: bytes = answer.read()
    return content
