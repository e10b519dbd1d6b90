"""The console in a real Chromium: live, accessible, by keyboard alone, without JavaScript, with hostile texts."""

import json
import shutil
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import psycopg
import pytest
from axe_playwright_python.base import AXE_FILE_PATH
from playwright.async_api import Browser, Page, ViewportSize, async_playwright

from tests.cases.bad_inputs import DOCUMENT
from tests.console.conftest import Console
from tests.console.letters import dead, on_topic
from tests.processes.running import until

Json = dict[str, Any]
WIDE, NARROW = ViewportSize(width=1280, height=900), ViewportSize(width=390, height=844)
SWITCHES = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
HOSTILE = '</td><script>window.pwned=1</script><img src=x onerror="window.pwned=2">\u202e\u2066evil\u200b' + "W" * 90
COURSE, ASSIGNMENT = 7001, 7002
TABS_MAX = 120
AXE = AXE_FILE_PATH.read_text()


@pytest.fixture(scope="session")
async def chromium() -> AsyncIterator[Browser]:
    program = shutil.which("chromium")
    assert program is not None, "Chromium is missing: run deploy/setup tests"
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=SWITCHES)
        yield browser
        await browser.close()


Opened = Callable[..., Any]


@pytest.fixture
def opened(chromium: Browser, console: Console) -> Opened:
    """Opens a page as somebody who has signed in; what the browser complains of is a failure."""

    @asynccontextmanager
    async def open_page(role: str = "operator", **options: Any) -> AsyncIterator[Page]:
        context = await chromium.new_context(base_url=console.url, **options)
        page = await context.new_page()
        complaints: list[str] = []
        page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: complaints.append(dialog.message))
        await page.goto("/sign-in")
        await page.fill("#token", console.token(role))
        await page.click("button.main")
        yield page
        await context.close()
        expected = ("ERR_CONNECTION", "ERR_INCOMPLETE", "status of 404", "status of 409")
        assert [said for said in complaints if not any(part in said for part in expected)] == []

    return open_page


async def sent(console: Console, kind: str, *, course: int = COURSE, **changes: Any) -> Json:
    """Send a command of the corpus's and await its verdict."""
    command = {**DOCUMENT["bases"][kind], "command_id": str(uuid.uuid4()), "course_id": str(course), **changes}
    return await console.system.outside.verdict(command)


@pytest.fixture(scope="session")
async def season(console: Console) -> Console:
    """One assignment with names that mean no good, grades and a comment, published; letters of both kinds."""
    system = console.system
    graders = [{"user_id": user, "name": f"{HOSTILE} {user}"} for user in (11, 21)]
    people = [(11, "TeacherEnrollment"), (21, "TaEnrollment"), (31, "StudentEnrollment"), (32, "StudentEnrollment")]
    rows = [{"user_id": user, "type": kind, "state": "active"} for user, kind in people]
    of_assignment: Json = {"assignment_id": str(ASSIGNMENT)}
    settings = {**DOCUMENT["bases"]["assignment"]["data"], "name": HOSTILE}
    grade = {"student_id": "31", "posted_grade": "7", "comment": HOSTILE}
    verdicts = [
        await sent(console, "upsert_course", data={"name": HOSTILE}),
        await sent(console, "upsert_users", data={"users": graders}),
        await sent(console, "upsert_users", type="upsert_enrollments", data={"enrollments": rows}),
        await sent(console, "assignment", **of_assignment, data=settings),
        await sent(console, "record_grade", **of_assignment, data=grade, actor={"user_id": "21"}),
        await sent(
            console, "record_grade", **of_assignment, data={**grade, "posted_grade": "9"}, actor={"user_id": "11"}
        ),
        await sent(console, "record_grade", **of_assignment, data=grade, actor={"user_id": "31"}),
    ]
    assert [verdict["status"] for verdict in verdicts] == ["accepted"] * 6 + ["rejected"], verdicts
    letters = len(system.outside.records["dead-letters"])
    await system.outside.send_raw(HOSTILE.encode(), HOSTILE.encode(), [(HOSTILE, HOSTILE.encode())], partition=2)
    await until(lambda: len(system.outside.records["dead-letters"]) > letters, "the dead letter")
    readable = json.dumps({**DOCUMENT["bases"]["upsert_course"], "command_id": str(uuid.uuid4())}).encode()
    await dead(system, 2, [readable], reason="was_unreadable", message=HOSTILE)
    form = {"letter": await letter(console, "reason=was_unreadable"), "action": str(uuid.uuid4()), "why": HOSTILE}
    kept = await console.ask("POST", "/act/discard", "operator", data={**form, "why": HOSTILE})
    assert kept.status_code == 303
    await console.ask("POST", "/topics/check", "operator")
    return console


async def letter(console: Console, query: str) -> str:
    """The newest dead letter of a list."""
    text = (await console.ask("GET", f"/failures/dead-letters?{query}")).text
    return text.split("/failures/dead-letters/")[1].split('"')[0]


async def paths(console: Console) -> list[str]:
    """Every page."""
    newest = await letter(console, "partition=2&state=open")
    actions = (await console.ask("GET", "/actions")).text
    verdict = (await console.ask("GET", f"/assignments/1/{ASSIGNMENT}")).text.split("/commands/")[1].split('"')[0]
    return [
        "/",
        "/failures",
        "/failures/dead-letters?state=all",
        f"/failures/dead-letters/{newest}",
        "/failures/rejections?type=record_provisional_grade&reason=unauthorized",
        f"/act/redrive?letter={newest}",
        "/assignments",
        f"/assignments/1/{ASSIGNMENT}",
        f"/commands/{verdict}",
        "/topics",
        "/topics/replay",
        "/actions",
        "/actions/" + actions.split('"/actions/')[1].split('"')[0],
        "/nowhere",
    ]


async def violations(page: Page) -> list[str]:
    """What axe-core finds on the page as it is; a page wider than the screen is one too."""
    found = await page.evaluate("axe.run(document, {resultTypes: ['violations']}).then(found => found.violations)")
    wide = await page.evaluate("document.documentElement.scrollWidth > window.innerWidth")
    return [f"{v['id']}: {v['nodes'][0]['html'][:200]}" for v in found] + ["wider than the screen"] * wide


async def test_no_page_has_an_accessibility_violation_in_light_or_dark_wide_or_narrow(
    season: Console, opened: Opened
) -> None:
    found = {}
    async with opened("operator") as page:
        for path in await paths(season):
            answer = await page.goto(path)
            assert answer is not None
            assert answer.status == (404 if path == "/nowhere" else 200), path
            await page.evaluate(AXE)
            for size in (WIDE, NARROW):
                await page.set_viewport_size(size)
                for scheme in ("light", "dark"):
                    await page.emulate_media(color_scheme=scheme)
                    found[path, size["width"], scheme] = await violations(page)
    assert {place: wrong for place, wrong in found.items() if wrong} == {}


async def test_hostile_texts_do_nothing_and_turn_nothing_around(season: Console, opened: Opened) -> None:
    async with opened("operator") as page:
        for path in await paths(season):
            await page.goto(path)
            assert await page.evaluate("window.pwned") is None
            assert "\u202e" not in await page.inner_text("body")
        await page.goto(f"/assignments/1/{ASSIGNMENT}")
        assert "</td><script>" in await page.inner_text("h1")
        assert "\\u202e" in await page.inner_text("h1")


async def test_a_decision_is_on_the_page_within_a_second_of_its_commit(season: Console, opened: Opened) -> None:
    late = []
    async with opened("viewer") as page:
        await page.goto("/")
        await page.wait_for_function("document.querySelector('#recent a') !== null")
        for course in range(7100, 7120):
            await sent(season, "upsert_course", course=course)
            begun = time.monotonic()
            await page.locator("#recent td", has_text=str(course)).wait_for(timeout=10_000)
            late += [course] if time.monotonic() - begun > 1 else []
    assert len(late) <= 1, late


async def test_a_console_that_is_gone_is_said_to_be_and_comes_back_by_itself(season: Console, opened: Opened) -> None:
    async with opened("viewer") as page:
        await page.goto("/")
        await page.wait_for_function("document.querySelector('#recent a') !== null")
        season.process.kill()
        try:
            await page.locator("#connection", has_text="Stale since").wait_for(timeout=5_000)
            await sent(season, "upsert_course", course=7200)
        finally:
            season.process.start()
            await season.process.ready()
        await page.locator("#recent td", has_text="7200").wait_for(timeout=3_000)
        assert await page.locator("#connection").is_hidden()
        assert await page.locator("#recent td", has_text="7200").count() == 1


async def test_a_redrive_by_keyboard_alone(season: Console, opened: Opened) -> None:
    await dead(season.system, 3, [b"{by keyboard"], reason="keyboard")
    async with opened("operator") as page:

        async def go(selector: str, wait: Callable[[], Awaitable[Any]]) -> None:
            """Tab until the focus is there, where it must be seen, and press Enter."""
            for _ in range(TABS_MAX):
                await page.keyboard.press("Tab")
                if await page.evaluate("s => document.activeElement.matches(s)", selector):
                    break
            assert await page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid", selector
            if await page.evaluate("document.activeElement.tagName") != "TEXTAREA":
                await page.keyboard.press("Enter")
            await wait()

        await go('nav a[href="/failures"]', lambda: page.wait_for_url("**/failures"))
        await go('a[href="/failures/dead-letters?reason=keyboard"]', lambda: page.wait_for_url("**reason=keyboard"))
        await go('th a[href^="/failures/dead-letters/3-"]', lambda: page.wait_for_url("**/dead-letters/3-*"))
        await go("#dry-run", lambda: page.wait_for_url("**/dry-run"))
        assert "Nothing was written" in await page.inner_text("main")
        await go("#redrive", lambda: page.wait_for_url("**/act/redrive**"))
        await go("#why", lambda: page.keyboard.type("mended"))
        await go("#confirm", lambda: page.wait_for_url("**/actions/*"))
        assert "1 dead letter" in await page.inner_text("h1")
    async with opened("operator", java_script_enabled=False) as page:
        await page.goto("/actions")
        assert "mended" in await page.inner_text("main")


async def test_a_double_click_sends_one_record(season: Console, opened: Opened) -> None:
    await dead(season.system, 4, [b"{double"], reason="double")
    async with opened("operator") as page:
        await page.goto(f"/act/redrive?letter={await letter(season, 'reason=double')}")
        await page.fill("#why", "mended")
        await page.dblclick("#confirm")
        await page.wait_for_url("**/actions/*")
        await page.go_back()
        assert "it has been redriven" in await page.inner_text("main")
    outside = season.system.outside
    await until(lambda: any(r.value == b"{double" for r in outside.records["dead-letters"]), "the outcome")
    assert len([record for record in await on_topic(season.system, 4) if record.value == b"{double"]) == 1


async def test_without_javascript_everything_works_by_loading_the_page(season: Console, opened: Opened) -> None:
    await dead(season.system, 5, [b"{plain"], reason="plain")
    async with opened("operator", java_script_enabled=False) as page:
        decided = await page.inner_text("#decided")
        assert int(decided.replace(",", "")) > 0
        await page.goto(f"/failures/dead-letters/{await letter(season, 'reason=plain')}")
        await page.click("#redrive")
        await page.fill("#why", "mended")
        await page.click("#confirm")
        assert "1 dead letter" in await page.inner_text("h1")


async def test_a_page_is_small_and_all_of_it_is_ours(season: Console, opened: Opened) -> None:
    async with opened("viewer") as page:
        for path in ("/", "/failures", f"/assignments/1/{ASSIGNMENT}"):
            loaded: list[Any] = []
            fresh = await page.context.new_page()
            fresh.on("response", lambda answer, loaded=loaded: loaded.append(answer))
            await fresh.goto(path)
            own = [answer for answer in loaded if not answer.url.endswith("/live")]
            assert all(answer.url.startswith(season.url) for answer in own)
            assert len(own) <= 6
            assert sum([len(await answer.body()) for answer in own]) <= 100_000


async def test_ten_thousand_dead_letters_and_five_hundred_courses_come_a_page_at_a_time(
    season: Console, new_database: Callable[[], str], opened: Opened
) -> None:
    url = new_database()
    fill(url)
    many = season.system.console(season.issuer, DATABASE_URL=url)
    many.start()
    await many.ready()
    crowded = Console(season.system, many, season.issuer, season.http)
    headers = {"authorization": f"Bearer {season.token('operator')}"}
    rows = {}
    for path in (
        "/",
        "/failures",
        "/failures/dead-letters",
        "/failures/dead-letters?reason=cause_3&partition=5",
        "/act/redrive?reason=cause_3",
        "/assignments",
        "/assignments?id=250",
    ):
        answer = await season.http.get(f"{crowded.url}{path}", headers=headers, timeout=1)
        assert answer.status_code == 200, path
        assert len(answer.content) < 60_000, path
        rows[path] = answer.text.count("<tr>")
    assert rows["/failures/dead-letters"] == rows["/assignments"] == 51
    assert rows["/assignments?id=250"] == 2
    answer = await season.http.get(f"{crowded.url}/failures/dead-letters?partition=5", headers=headers)
    older = answer.text.split("&amp;before=")[1].split('"')[0]
    page = await season.http.get(f"{crowded.url}/failures/dead-letters?partition=5&before={older}", headers=headers)
    assert page.text.count("<tr>") == 51
    many.kill()


def fill(url: str) -> None:
    """10,000 dead letters of ten causes and 500 courses with an assignment each."""
    with psycopg.connect(url) as connection:
        connection.execute("insert into source (topic, reason) values ('crowd.commands', 'test')")
        connection.execute(
            "insert into dead_letter select n % 12, n / 12 + 1, 1, n % 12, n, 0, 'k', 'v', '[]', 'cause_' || n % 10,"
            " 'no JSON', clock_timestamp() from generate_series(0, 9999) n"
        )
        connection.execute("insert into stream select n, 1, n, null, n % 12 from generate_series(1, 500) n")
        connection.execute("insert into stream select n + 500, 1, n, n + 1000, n % 12 from generate_series(1, 500) n")
        connection.execute(
            "insert into event select shard, row_number() over (partition by shard order by number), null, number, 1,"
            " 'assignment_created', 1, '{\"payload\": {\"name\": \"Essay\"}}', '{}', clock_timestamp() from stream"
        )
