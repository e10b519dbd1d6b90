"""The console in Chromium: accessibility, keyboard, no JavaScript, hostile texts, size and speed of pages."""

from collections.abc import Awaitable, Callable
from dataclasses import astuple, dataclass, replace
from typing import Any

import psycopg
import pytest
from axe_playwright_python.base import AXE_FILE_PATH
from playwright.async_api import Browser, Page, Response, ViewportSize, expect

from tests.fixtures.console_client import ASSIGNMENT, ConsoleClient, newest_dead_letter_id
from tests.fixtures.console_fixtures import OpenPage
from tests.fixtures.dead_letter_fixtures import append_dead_letters, read_commands_partition
from tests.fixtures.openid_provider import run_openid_provider
from tests.fixtures.process_runner import DEADLINE_SECONDS, wait_until

WIDE, NARROW, NARROWEST = (ViewportSize(width=width, height=844) for width in (1280, 390, 320))
# target-size (24 px) is not among axe-core's default rules. The dark scheme changes only colours.
RULES = {
    "light": "{resultTypes: ['violations'], rules: {'target-size': {enabled: true}}}",
    "dark": "{resultTypes: ['violations'], runOnly: ['color-contrast', 'link-in-text-block']}",
}
FIRST_PAINT = """new Promise(done => new PerformanceObserver(list => {
  for (const paint of list.getEntriesByName("first-contentful-paint")) done(paint.startTime);
}).observe({type: "paint", buffered: true}))"""
TABS_MAX = 120
LOADS_MAX = 10
AXE = AXE_FILE_PATH.read_text()


async def page_paths(console: ConsoleClient) -> list[str]:
    """Return the paths of all pages."""
    newest = await newest_dead_letter_id(console, "partition=2&state=open")
    actions = (await console.request("GET", "/actions")).text
    verdict = (await console.request("GET", f"/assignments/1/{ASSIGNMENT}")).text.split("/commands/")[1].split('"')[0]
    return [
        "/",
        "/failures",
        "/failures/dead-letters?state=all",
        f"/failures/dead-letters/{newest}",
        "/failures/rejections?type=record_provisional_grade&reason=unauthorized",
        f"/act/redrive?letter={newest}",
        f"/act/discard?letter={newest}",
        "/assignments",
        f"/assignments/1/{ASSIGNMENT}",
        f"/assignments/1/{ASSIGNMENT}/publication",
        f"/assignments/1/{ASSIGNMENT}/adjudication?result=mean&marks=2&step=1&mode=up&otherwise=moderator",
        f"/assignments/1/{ASSIGNMENT}/students/31",
        "/moderation",
        f"/commands/{verdict}",
        "/topics",
        "/topics/replay",
        "/actions",
        "/actions/" + actions.split('"/actions/')[1].split('"')[0],
        "/audit",
        "/runbook",
        "/reasons",
        "/nowhere",
    ]


async def accessibility_violations(page: Page, scheme: str) -> list[str]:
    """Return axe-core's violations and whether the page is wider than the screen."""
    violations = await page.evaluate(f"axe.run(document, {RULES[scheme]}).then(result => result.violations)")
    return [f"{v['id']}: {v['nodes'][0]['html'][:200]}" for v in violations] + await overflow_violations(page)


async def overflow_violations(page: Page) -> list[str]:
    """Return a violation if the page scrolls sideways."""
    return ["wider than the screen"] * await page.evaluate("document.documentElement.scrollWidth > window.innerWidth")


async def test_pages_have_no_accessibility_violations(populated_console: ConsoleClient, open_page: OpenPage) -> None:
    violations = {}
    # Without animations, contrast is measured on the final colours.
    async with open_page("operator", reduced_motion="reduce") as page:
        for path in await page_paths(populated_console):
            answer = await page.goto(path)
            assert answer is not None
            assert answer.status == (404 if path == "/nowhere" else 200), path
            await page.evaluate(AXE)
            for size in (WIDE, NARROW):
                await page.set_viewport_size(size)
                for scheme in ("light", "dark"):
                    await page.emulate_media(color_scheme=scheme)
                    violations[path, size["width"], scheme] = await accessibility_violations(page, scheme)
            await page.set_viewport_size(NARROWEST)
            violations[path, NARROWEST["width"], "any"] = await overflow_violations(page)
    assert {where: found for where, found in violations.items() if found} == {}


async def test_pages_respect_reduced_motion(populated_console: ConsoleClient, open_page: OpenPage) -> None:
    async with open_page("operator", reduced_motion="reduce") as page:
        await page.goto("/topics")
        await page.click("#check")
        moving = "[...document.querySelectorAll('*')].filter(e => getComputedStyle(e).transitionDuration !== '0s')"
        assert await page.evaluate(f"document.getAnimations().length + {moving}.length") == 0
        assert await page.evaluate("document.querySelectorAll('progress:indeterminate').length") == 0


async def test_hostile_texts_are_escaped(populated_console: ConsoleClient, open_page: OpenPage) -> None:
    async with open_page("operator") as page:
        for path in await page_paths(populated_console):
            await page.goto(path)
            assert await page.evaluate("window.pwned") is None
            assert "\u202e" not in await page.inner_text("body")
        await page.goto(f"/assignments/1/{ASSIGNMENT}")
        assert "</td><script>" in await page.inner_text("h1")
        assert "\\u202e" in await page.inner_text("h1")


async def test_dead_letter_can_be_redriven_by_keyboard_only(
    populated_console: ConsoleClient, open_page: OpenPage
) -> None:
    await append_dead_letters(populated_console.system, 3, [b"{by keyboard"], reason="keyboard")
    async with open_page("operator") as page:

        async def go(selector: str, wait: Callable[[], Awaitable[Any]]) -> None:
            """Tab to an element, check that its focus is visible, and press Enter."""
            for _ in range(TABS_MAX):
                await page.keyboard.press("Tab")
                if await page.evaluate("s => document.activeElement.matches(s)", selector):
                    break
            assert await page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid", selector
            if await page.evaluate("document.activeElement.tagName") not in ("TEXTAREA", "INPUT"):
                await page.keyboard.press("Enter")
            await wait()

        await go('nav a[href="/failures"]', lambda: page.wait_for_url("**/failures"))
        await go('a[href="/failures/dead-letters?reason=keyboard"]', lambda: page.wait_for_url("**reason=keyboard"))
        await go('th a[href^="/failures/dead-letters/3-"]', lambda: page.wait_for_url("**/dead-letters/3-*"))
        await go("#dry-run", lambda: page.wait_for_url("**/dry-run"))
        assert "Nothing was written" in await page.inner_text("main")
        await go("#redrive", lambda: page.wait_for_url("**/act/redrive**"))
        await go("#why", lambda: page.keyboard.type("fixed"))
        await go("#anyway", lambda: page.keyboard.press("Space"))
        await go("#confirm", lambda: page.wait_for_url("**/actions/*"))
        await wait_until_redriven(page)
    async with open_page("operator", java_script_enabled=False) as page:
        await page.goto("/actions")
        assert "fixed" in await page.inner_text("main")


async def wait_until_redriven(page: Page) -> None:
    """Reload the page of a redrive until all is sent."""

    async def is_done() -> bool:
        await page.reload()
        return "1 dead letter sent" in await page.inner_text("h1")

    await wait_until(is_done, "the dead letter is sent")


async def test_double_click_second_tab_and_back_button_redrive_once(
    populated_console: ConsoleClient, open_page: OpenPage
) -> None:
    await append_dead_letters(populated_console.system, 4, [b"{double"], reason="double")
    async with open_page("operator") as page:
        tabs = [page, await page.context.new_page()]
        for tab in tabs:
            await tab.goto(f"/act/redrive?letter={await newest_dead_letter_id(populated_console, 'reason=double')}")
            await tab.fill("#why", "fixed")
            await tab.check("#anyway")
        await page.dblclick("#confirm")
        await page.wait_for_url("**/actions/*")
        await tabs[1].click("#confirm")
        await page.go_back()
        for tab in tabs:
            await expect(tab.locator("main")).to_contain_text("it was redriven")
    client = populated_console.system.client
    await wait_until(lambda: any(r.value == b"{double" for r in client.records["dead-letters"]), "the outcome")
    assert (
        len(
            [
                record
                for record in await read_commands_partition(populated_console.system, 4)
                if record.value == b"{double"
            ]
        )
        == 1
    )


async def test_console_works_without_javascript(populated_console: ConsoleClient, open_page: OpenPage) -> None:
    await append_dead_letters(populated_console.system, 5, [b"{plain"], reason="plain")
    async with open_page("operator", java_script_enabled=False) as page:
        decided = await page.inner_text("#decided")
        assert int(decided.replace(",", "")) > 0
        await page.goto(f"/failures/dead-letters/{await newest_dead_letter_id(populated_console, 'reason=plain')}")
        await page.click("#redrive")
        await page.fill("#why", "fixed")
        await page.check("#anyway")
        await page.click("#confirm")
        await page.wait_for_url("**/actions/*")
        await wait_until_redriven(page)


async def test_pages_are_small_fast_and_self_hosted(populated_console: ConsoleClient, open_page: OpenPage) -> None:
    async with open_page("viewer") as page:
        for path in ("/", "/failures", f"/assignments/1/{ASSIGNMENT}"):
            fresh = await page.context.new_page()
            await (await fresh.context.new_cdp_session(fresh)).send("Network.setCacheDisabled", {"cacheDisabled": True})
            responses = record_responses(fresh)
            await fresh.goto(path)
            own = [answer for answer in responses if not answer.url.endswith("/live")]
            assert all(answer.url.startswith(populated_console.url) for answer in own)
            assert len(own) <= 6
            assert sum([len(await answer.body()) for answer in own]) <= 100_000
            timings = await measure_timings(fresh, path, PAGE_LIMITS)
            assert timings[-1] <= PAGE_LIMITS, timings


def record_responses(page: Page) -> list[Response]:
    """Collect the responses that a page loads from now on."""
    responses: list[Response] = []
    page.on("response", lambda response: responses.append(response))
    return responses


@dataclass(frozen=True)
class Timings:
    """Milliseconds until the document is received, first painted, and completely loaded."""

    received: float
    painted: float
    complete: float

    def __le__(self, limits: "Timings") -> bool:
        pairs = zip(astuple(self), astuple(limits), strict=True)
        return all(value <= limit for value, limit in pairs)


PAGE_LIMITS = Timings(received=1_000, painted=500, complete=1_000)
LARGE_PAGE_LIMITS = replace(PAGE_LIMITS, painted=1_000)
FILTER_LIMITS = replace(LARGE_PAGE_LIMITS, received=200)


async def measure_timings(page: Page, path: str, limits: Timings) -> list[Timings]:
    """Load a page until one load is within the limits: other loads may be slow because the machine is busy."""
    timings: list[Timings] = []
    while len(timings) < LOADS_MAX and not (timings and timings[-1] <= limits):
        await page.goto(path)
        navigation = "performance.getEntriesByType('navigation')[0]"
        timings.append(
            Timings(
                await page.evaluate(f"{navigation}.responseEnd"),
                await page.evaluate(FIRST_PAINT),
                await page.evaluate(f"{navigation}.loadEventEnd"),
            )
        )
    return timings


async def test_large_lists_are_paginated_and_load_quickly(
    populated_console: ConsoleClient, new_database: Callable[[], str], open_page: OpenPage
) -> None:
    url = new_database()
    fill_database(url)
    many = populated_console.system.create_console(populated_console.issuer, DATABASE_URL=url)
    many.start()
    await many.wait_until_ready()
    rows: dict[str, int] = {}
    slow_pages: dict[str, list[Timings]] = {}
    # Cookies ignore the port: the session is valid on this console too.
    async with open_page("operator") as page:
        for path in (
            "/",
            "/failures",
            "/failures/dead-letters",
            "/failures/dead-letters?reason=cause_3&partition=5",
            "/act/redrive?reason=cause_3",
            "/assignments",
            "/assignments?id=250",
        ):
            *slow, last = await measure_timings(page, f"{many.url}{path}", LARGE_PAGE_LIMITS)
            slow_pages |= {} if last <= LARGE_PAGE_LIMITS else {path: [*slow, last]}
            rows[path] = await page.locator("tr").count()
            assert len(await page.content()) < 60_000, path
        await page.goto(f"{many.url}/failures/dead-letters")
        await page.fill("#partition", "5")
        await page.click("text=Filter")
        await page.wait_for_url("**partition=5**")
        assert await page.locator("tr").count() == 51
        filtered = await measure_timings(page, page.url, FILTER_LIMITS)
        await page.click("text=Older dead letters")
        await page.wait_for_url("**before=**")
        assert await page.locator("tr").count() == 51
    many.kill()
    assert rows["/failures/dead-letters"] == rows["/assignments"] == 51
    assert rows["/assignments?id=250"] == 2
    assert slow_pages == {}
    assert filtered[-1] <= FILTER_LIMITS, filtered


def fill_database(url: str) -> None:
    """Insert 10,000 dead letters of ten causes, and 500 courses with an assignment each."""
    with psycopg.connect(url) as connection:
        connection.execute("insert into source (topic, reason) values ('crowd.commands', 'test')")
        connection.execute(
            "insert into dead_letter select n % 12, n / 12 + 1, 1, n % 12, n, 0, sealed, sealed, sealed,"
            " 'cause_' || n % 10, 'no JSON', clock_timestamp()"
            " from generate_series(0, 9999) n, decode(repeat('00', 50), 'hex') sealed"
        )
        connection.execute("insert into stream select n, 1, n, null, n % 12 from generate_series(1, 500) n")
        connection.execute("insert into stream select n + 500, 1, n, n + 1000, n % 12 from generate_series(1, 500) n")
        connection.execute(
            "insert into event select shard, row_number() over (partition by shard order by number), null, number, 1,"
            " 'assignment_created', 1, '{\"payload\": {\"name\": \"Essay\"}}', '{}', clock_timestamp() from stream"
        )


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
async def test_openid_sign_in_from_another_site_opens_the_console(console: ConsoleClient, chromium: Browser) -> None:
    """The session's cookie is SameSite=Strict: it is not sent with a redirect that the provider's site began."""
    with run_openid_provider(
        {"alice": {"uid": "77", "root_account_id": "1", "scope": "moderation.viewer"}}, host="localhost"
    ) as provider:
        secret = console.system.folder / "openid-secret"
        secret.write_text("drawn for this test")
        process = console.system.create_console(
            console.issuer,
            CONSOLE_OPENID_ISSUER=provider.url,
            CONSOLE_OPENID_CLIENT_ID="console",
            CONSOLE_OPENID_CLIENT_SECRET_FILE=str(secret),
            CONSOLE_OPENID_USER_CLAIM="uid",
        )
        process.start()
        await process.wait_until_ready()
        context = await chromium.new_context(base_url=process.url, java_script_enabled=False)
        context.set_default_timeout(DEADLINE_SECONDS * 1_000)
        page = await context.new_page()
        await page.goto("/audit?who=77")
        await page.focus("#openid")
        await page.keyboard.press("Enter")
        await page.wait_for_url(f"{provider.url}/**")
        await page.click("button:has-text('alice')")
        await page.wait_for_url("**/audit?who=77")
        shown = await page.inner_text("header")
        await context.close()
        process.kill()
    assert "user 77 · viewer" in shown
