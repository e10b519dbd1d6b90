"""The theme and the time zone that a reader of the console chooses, in Chromium."""

from datetime import datetime
from zoneinfo import ZoneInfo

from playwright.async_api import Page, expect

from tests.fixtures.console_client import ConsoleClient
from tests.fixtures.console_fixtures import OpenPage

ZONE = "Asia/Tokyo"
BACKGROUND = "getComputedStyle(document.body).backgroundColor"
LIGHT, DARK = "rgb(244, 245, 248)", "rgb(17, 19, 25)"


async def choose(page: Page, selector: str, *keys: str) -> None:
    """Reach a choice in the page's head with the tab key, and press keys there."""
    await page.focus(".brand")
    while not await page.evaluate("s => document.activeElement.matches(s)", selector):
        assert await page.evaluate("document.activeElement.closest('main') === null"), f"{selector} is not in the head"
        await page.keyboard.press("Tab")
    assert await page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    for key in keys:
        await page.keyboard.press(key)


async def first_time(page: Page) -> tuple[datetime, str]:
    """Return the first time of a page, and its text."""
    time = page.locator("main time").first
    at = await time.get_attribute("datetime")
    assert at is not None
    return datetime.fromisoformat(at), await time.inner_text()


def format_time(at: datetime, zone: str) -> str:
    local, today = at.astimezone(ZoneInfo(zone)), datetime.now(ZoneInfo(zone)).date()
    return f"{local:%H:%M:%S}" if local.date() == today else f"{local:%Y-%m-%d %H:%M:%S}"


async def test_chosen_theme_holds_on_every_page_and_against_the_system(
    console: ConsoleClient, open_page: OpenPage
) -> None:
    async with open_page("viewer", color_scheme="light") as page:
        assert await page.evaluate(BACKGROUND) == LIGHT
        await choose(page, "#theme", "End")
        assert await page.evaluate(BACKGROUND) == DARK
        for path in ("/topics", "/nowhere", "/sign-in"):
            await page.goto(path)
            assert await page.evaluate(BACKGROUND) == DARK, path
            await expect(page.locator("#theme")).to_have_value("dark")
        await page.emulate_media(color_scheme="dark")
        await choose(page, "#theme", "ArrowUp")
        assert await page.evaluate(BACKGROUND) == LIGHT
        await choose(page, "#theme", "Home")
        assert await page.evaluate(BACKGROUND) == DARK


async def test_times_are_utc_until_local_time_is_chosen(populated_console: ConsoleClient, open_page: OpenPage) -> None:
    async with open_page("viewer", timezone_id=ZONE) as page:
        await page.goto("/actions")
        at, text = await first_time(page)
        assert text == format_time(at, "UTC")
        await expect(page.locator("footer")).to_contain_text("All times are UTC.")
        await choose(page, "#times", "ArrowDown")
        assert await first_time(page) == (at, format_time(at, ZONE))
        await expect(page.locator("footer")).to_contain_text(f"Times are local: {ZONE}.")
        await page.goto("/failures")
        at, text = await first_time(page)
        assert text == format_time(at, ZONE)
        await choose(page, "#times", "ArrowUp")
        assert await first_time(page) == (at, format_time(at, "UTC"))


async def test_live_updates_show_local_time(populated_console: ConsoleClient, open_page: OpenPage) -> None:
    async with open_page("viewer", timezone_id=ZONE) as page:
        await choose(page, "#times", "ArrowDown")
        # Stands for an update: the stream sends the fragment only when a command is decided.
        await page.evaluate("""document.getElementById('recent').innerHTML =
            '<tr><td><time datetime="2026-01-31T20:00:00.000+00:00">2026-01-31 20:00:00</time></td></tr>'""")
        await expect(page.locator("#recent time").first).to_have_text("2026-02-01 05:00:00")


async def test_without_script_the_choices_are_hidden_and_times_are_utc(
    populated_console: ConsoleClient, open_page: OpenPage
) -> None:
    async with open_page("viewer", java_script_enabled=False, timezone_id=ZONE, color_scheme="dark") as page:
        await page.goto("/actions")
        at, text = await first_time(page)
        assert text == format_time(at, "UTC")
        for name in ("#theme", "#times"):
            await expect(page.locator(name)).to_be_hidden()
        await expect(page.locator("footer")).to_contain_text("All times are UTC.")
