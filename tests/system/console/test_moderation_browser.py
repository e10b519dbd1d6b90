"""A moderator plans, schedules and publishes in Chromium, by keyboard only, while the assignment changes."""

import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from axe_playwright_python.base import AXE_FILE_PATH
from playwright.async_api import Page, Response, ViewportSize, expect

from tests.fixtures.console_client import ConsoleClient
from tests.fixtures.console_fixtures import OpenPage
from tests.fixtures.moderation_world import ModerationWorld
from tests.fixtures.process_runner import wait_until

TABS_MAX = 60
AXE = AXE_FILE_PATH.read_text()
RULES = "{resultTypes: ['violations'], rules: {'target-size': {enabled: true}}}"


async def press_on(page: Page, selector: str, wait: Callable[[], Awaitable[Any]]) -> None:
    """Tab to an element and press Enter."""
    for _ in range(TABS_MAX):
        if await page.evaluate("s => document.activeElement.matches(s)", selector):
            break
        await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await wait()


async def find_violations(page: Page) -> list[str]:
    """Return axe-core's violations at two widths, and whether the page is wider than the screen."""
    found: list[str] = []
    await page.evaluate(AXE)
    for width in (1280, 390):
        await page.set_viewport_size(ViewportSize(width=width, height=844))
        violations = await page.evaluate(f"axe.run(document, {RULES}).then(result => result.violations)")
        found += [f"{width}: {v['id']}: {v['nodes'][0]['html'][:200]}" for v in violations]
        found += ["wider"] * await page.evaluate("document.documentElement.scrollWidth > window.innerWidth")
    return found


async def test_moderator_schedules_and_publishes_by_keyboard_and_sees_that_the_plan_changed(
    console: ConsoleClient, open_page: OpenPage
) -> None:
    world = await ModerationWorld.create(console)
    await world.grade_all(("ta1", "s1", 6), ("ta1", "s2", 8))
    at = datetime.now(UTC) + timedelta(hours=2)
    async with open_page(token=world.token("fg"), reduced_motion="reduce") as page:
        await expect(page.locator("h1")).to_have_text("Moderation")
        await page.keyboard.press("Tab")
        await page.focus("#assignment")
        await page.keyboard.type(world.world.assignment_id("a1"))
        await press_on(page, "#assignment", lambda: page.wait_for_url("**/publication"))
        await page.fill("#publish-at", f"{at:%Y-%m-%dT%H:%M:%S}")
        await press_on(page, "#schedule", lambda: page.locator("#cancel").wait_for())
        await expect(page.locator("[data-until]")).to_contain_text("in 1 h 5")
        assert await find_violations(page) == []

        await expect(page.locator("#page-notice p")).to_have_count(0)
        await world.grade("ta1", "s2", 9)
        await expect(page.locator("#page-notice")).to_contain_text("changed since this page was loaded")
        await press_on(page, "#publish", lambda: page.locator("#problem").wait_for())
        await expect(page.locator("#schedule-state")).not_to_contain_text("Published at")

        await press_on(page, "#publish", lambda: page.locator("#confirm").wait_for())
        assert await find_violations(page) == []
        await press_on(page, "#confirm", lambda: page.wait_for_url("**/publication"))
        await expect(page.locator("#schedule-state")).to_contain_text("Published at")


async def test_open_page_shows_a_cancelled_schedule_and_a_publication_by_others(
    console: ConsoleClient, open_page: OpenPage
) -> None:
    world = await ModerationWorld.create(console)
    await world.grade("ta1", "s1", 6)
    later = datetime.now(UTC) + timedelta(days=3)
    await world.moderate("schedule_publication", {"publish_at": f"{later:%Y-%m-%dT%H:%M:%SZ}"})
    async with open_page(token=world.token("fg")) as page:
        await page.goto(f"{world.path}/publication")
        state = page.locator("#schedule-state")
        await expect(state).to_contain_text("in 2 d 23 h")
        await world.moderate("cancel_scheduled_publication", {})
        await expect(state).to_contain_text("No publication is scheduled")
        await world.moderate("publish_provisional_grades", {})
        await expect(state).to_contain_text("Published at")


async def test_page_asks_less_and_less_often_after_its_user_lost_the_right_to_read_it(
    console: ConsoleClient, open_page: OpenPage
) -> None:
    world = await ModerationWorld.create(console)
    refused_at: list[float] = []

    def note_refusal(answer: Response) -> None:
        if "/moderation/live" in answer.url and answer.status == 404:
            refused_at.append(time.monotonic())

    async with open_page(token=world.token("fg")) as page:
        await page.goto(f"{world.path}/publication")
        await expect(page.locator("#schedule-state")).to_contain_text("No publication is scheduled")
        page.on("response", note_refusal)
        for command in world.world.given({"do": "enrollment_state", "user": "fg", "state": "inactive"}):
            await world.send(command)
        await wait_until(lambda: len(refused_at) >= 5, "the stream is refused five times")
    assert refused_at[4] - refused_at[3] > 1.5
