"""The status page in Chromium while the pipeline changes."""

import re
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from playwright.async_api import Page, expect

from services.console.kafka_probe import KafkaProbe
from services.kafka.progress_topic import write_progress
from services.kafka.relay_progress import RelayProgress
from services.kafka.topics import full_topic_name
from tests.fixtures.bad_inputs import BAD_INPUTS
from tests.fixtures.console_client import (
    ConsoleClient,
    connect_to_log,
    create_graded_assignment,
    send_command,
    wait_until_time,
)
from tests.fixtures.console_fixtures import OpenPage
from tests.fixtures.dead_letter_fixtures import append_dead_letters
from tests.fixtures.process_runner import Process, wait_until

EVENTS, ROUNDS_MAX = 100, 5
AWAY_SECONDS = 10
# Records when the decision of each course was first painted.
WATCH_RECENT = """
window.painted = {};
const record = () => requestAnimationFrame(() => {
  for (const row of document.querySelectorAll("#recent tr")) painted[row.cells[3]?.textContent] ??= Date.now();
});
new MutationObserver(record).observe(document.getElementById("recent"), {childList: true});
"""
# Records the texts about publications.
WATCH_PUBLICATIONS = """
window.publicationTexts = [];
const publications = document.getElementById("publications");
new MutationObserver(() => publicationTexts.push(publications.innerText)).observe(publications, {childList: true});
"""
HALF_PUBLISHED = r"""() => publicationTexts.map(text => text.match(
  /10 of 20 grades on the topic, ([\d.]+) per second, ([\d.]+) s left/)).find(match => match)"""


def find_process(console: ConsoleClient, name: str) -> Process:
    return next(process for process in console.system.processes if process.name == name)


async def wait_until_live(page: Page) -> None:
    """Load the page and wait for its first update."""
    await page.goto("/")
    await page.locator("#recent a").first.wait_for()


async def wait_for_streams(console: ConsoleClient, count: int) -> None:
    """Wait until ``count`` pages have an open stream."""
    await wait_until(lambda: console.process.get_metric("moderation_sse_clients") == count, f"{count} streams")


async def test_verdict_appears_on_the_page_within_a_second_of_its_commit(
    populated_console: ConsoleClient, open_page: OpenPage, report: Callable[[str], None]
) -> None:
    async with open_page("viewer") as page:
        await wait_until_live(page)
        await page.evaluate(WATCH_RECENT)
        # One round must be in time; others may be late because the machine stalls.
        for number in range(ROUNDS_MAX):
            courses = range(7_100_000 + EVENTS * number, 7_100_000 + EVENTS * (number + 1))
            latencies = await measure_latencies(populated_console, page, courses)
            p95 = latencies[EVENTS * 95 // 100 - 1]
            report(f"commit to visible: p50 {latencies[EVENTS // 2]:.2f} s, p95 {p95:.2f} s of {EVENTS}")
            if p95 <= 1:
                break
    assert p95 <= 1, latencies[-20:]


async def measure_latencies(console: ConsoleClient, page: Page, courses: range) -> list[float]:
    """Return seconds from each decision to its first paint, ascending.

    Each is sent when the one before is visible: between two updates of the page more are decided than its table holds.
    """
    for course in courses:
        await send_command(console, "upsert_course", course=course)
        await page.locator("#recent td", has_text=str(course)).wait_for()
    painted = await page.evaluate("painted")
    async with connect_to_log(console) as log:
        # The decision's time is before its commit, so that the measured latency is an upper bound.
        rows = await log.fetch(
            "select body->>'course_id', extract(epoch from (metadata->>'time')::timestamptz)::float8 from verdict"
            " where (body->>'course_id')::bigint between $1 and $2",
            courses[0],
            courses[-1],
        )
    assert len(rows) == EVENTS
    return sorted(painted.get(course, float("inf")) / 1_000 - at for course, at in rows)


async def test_page_shows_a_lost_connection_and_reconnects(
    populated_console: ConsoleClient, open_page: OpenPage
) -> None:
    async with open_page("viewer") as page:
        await wait_until_live(page)
        killed_at, killed_time = time.monotonic(), datetime.now(UTC)
        populated_console.process.kill()
        try:
            await page.locator("#connection", has_text="Stale since").wait_for()
            stale_since = re.search(r"since (\d\d:\d\d:\d\d)", await page.inner_text("#connection"))
            for course in range(7_400, 7_405):
                await send_command(populated_console, "upsert_course", course=course)
            await wait_until_time(killed_at + AWAY_SECONDS)
            assert await page.locator("#recent td", has_text="7404").count() == 0
        finally:
            populated_console.process.start()
            await populated_console.process.wait_until_ready()
        await page.locator("#recent td", has_text="7404").wait_for()
        await expect(page.locator("#connection")).to_be_hidden()
        shown = await page.locator("#recent td:nth-child(2) a").evaluate_all("links => links.map(a => a.pathname)")
    assert stale_since is not None
    since = datetime.combine(killed_time.date(), datetime.strptime(stale_since[1], "%H:%M:%S").time(), UTC)
    # The last update came shortly before the kill, perhaps before midnight.
    assert -1 <= (killed_time - since).total_seconds() % 86_400 <= AWAY_SECONDS
    async with connect_to_log(populated_console) as log:
        rows = await log.fetch(
            "select '/verdicts/' || shard || '-' || number from verdict"
            " order by (metadata->>'time')::timestamptz desc, shard desc, number desc limit $1",
            len(shown),
        )
    assert shown == [row[0] for row in rows]


async def test_hidden_tab_closes_its_stream_and_refreshes_when_visible(
    populated_console: ConsoleClient, open_page: OpenPage
) -> None:
    async with open_page("viewer") as page:
        await page.clock.install()
        await page.add_init_script("Object.defineProperty(document, 'hidden', {get: () => window.isHidden === true})")
        await wait_until_live(page)
        await wait_for_streams(populated_console, 1)
        set_hidden = "hidden => { window.isHidden = hidden; document.dispatchEvent(new Event('visibilitychange')) }"
        await page.evaluate(set_hidden, True)
        await page.clock.run_for(10_000)
        await page.evaluate(set_hidden, False)
        await page.clock.run_for(25_000)
        await wait_for_streams(populated_console, 1)
        await page.evaluate(set_hidden, True)
        await page.clock.run_for(30_000)
        await wait_for_streams(populated_console, 0)
        await send_command(populated_console, "upsert_course", course=7_501)
        assert await page.locator("#recent td", has_text="7501").count() == 0
        await page.evaluate(set_hidden, False)
        await page.locator("#recent td", has_text="7501").wait_for()


async def test_paused_page_shows_its_state_and_stays_unchanged_until_resumed(
    populated_console: ConsoleClient, open_page: OpenPage
) -> None:
    async with open_page("viewer") as page:
        await wait_until_live(page)
        await page.click("#pause")
        await page.locator("#connection", has_text="Paused at").wait_for()
        await wait_for_streams(populated_console, 0)
        await send_command(populated_console, "upsert_course", course=7_502)
        assert await page.locator("#recent td", has_text="7502").count() == 0
        await page.click("#pause")
        await page.locator("#recent td", has_text="7502").wait_for()
        await expect(page.locator("#connection")).to_be_hidden()


@asynccontextmanager
async def stopped_relay(console: ConsoleClient) -> AsyncIterator[tuple[RelayProgress, Any]]:
    """Kill the relay; yield its progress, and a function that publishes progress in its place."""
    system, relay = console.system, find_process(console, "relay")
    for name in system.client.records:
        await system.client.wait_until_read(name)
    relay.kill()
    probe = KafkaProbe(system.bootstrap, system.prefix)
    await probe.start()
    before = await probe.read_latest_progress()
    assert before is not None

    async def publish_progress(progress: RelayProgress) -> None:
        await write_progress(system.bootstrap, full_topic_name(system.prefix, "progress"), progress)

    try:
        yield before, publish_progress
    finally:
        await publish_progress(before)
        await probe.stop()
        relay.start()
        await relay.wait_until_ready()


def advance(before: RelayProgress, shard: int, grades: int) -> RelayProgress:
    """Advance the progress by published grades of one shard."""
    numbers = list(before.sequences["live-events"])
    numbers[shard] += grades
    return replace(before, sequences={**before.sequences, "live-events": tuple(numbers)})


async def test_publication_shows_progress_rate_and_remaining_time(
    populated_console: ConsoleClient, open_page: OpenPage
) -> None:
    assignment_fields = await create_graded_assignment(populated_console, 7_600, 7_601, students=20)
    base = BAD_INPUTS["bases"]["record_grade"]
    command = {
        **base,
        "command_id": str(uuid.uuid4()),
        **assignment_fields,
        "type": "publish_provisional_grades",
        "data": {},
    }
    async with open_page("viewer") as page:
        await wait_until_live(page)
        in_progress = page.locator("#publications p")
        async with (
            stopped_relay(populated_console) as (before, publish_progress),
            connect_to_log(populated_console) as log,
        ):
            await page.evaluate(WATCH_PUBLICATIONS)
            sent_at = time.monotonic()
            await populated_console.system.client.send({**command, "actor": {"user_id": "11"}})
            await in_progress.get_by_text("0 of 20 grades on the topic").wait_for()
            seen_at = time.monotonic()
            shard = await log.fetchval(
                "select shard from event where metadata->>'command_id' = $1", command["command_id"]
            )
            for grades in range(1, 11):
                await wait_until_time(seen_at + grades / 10)
                first_progress_at = time.monotonic()
                await publish_progress(advance(before, shard, grades))
            rate_and_time = await (await page.wait_for_function(HALF_PUBLISHED)).json_value()
            reported_at = time.monotonic()
            await page.locator("#status", has_text="the relay is behind or stopped").wait_for()
            href = await in_progress.locator("a").get_attribute("href")
            bar = await page.locator("#publications progress").evaluate("bar => [bar.value, bar.max]")
        await page.locator("#publications", has_text="None: every published grade is on the topic").wait_for()
    rate, left = map(float, rate_and_time[1:])
    # The console saw none of them published, and later ten; the time between lies between these two.
    assert 10 / (reported_at - sent_at) - 0.1 <= rate <= 10 / (first_progress_at - seen_at) + 0.1
    # The page rounds both.
    assert abs(left * rate - 10) <= 0.1 * left + 0.6 * rate
    assert (href, bar) == ("/assignments/1/7601", [10, 20])
    assert len(await populated_console.system.client.wait_for_outputs("live-events", command["command_id"], 20)) == 20


async def test_screen_reader_announcements_are_throttled_to_five_seconds(
    populated_console: ConsoleClient, open_page: OpenPage
) -> None:
    async with open_page("viewer") as page:
        await page.clock.install()
        await wait_until_live(page)
        await page.clock.pause_at(datetime.now(UTC) + timedelta(hours=1))
        region = page.locator("#announcement[role=status]")

        async def add_failure_and_read() -> str:
            """Add a dead letter a second later, wait until the page shows it, and return the announcement."""
            await page.clock.run_for(1_000)
            before = await page.title()
            await append_dead_letters(populated_console.system, 6, [b"{announced"], reason="announced")
            await expect(page).not_to_have_title(before)
            return await region.inner_text()

        announced = await add_failure_and_read()
        assert announced != ""
        assert await add_failure_and_read() == announced
        assert await add_failure_and_read() == announced
        await page.clock.run_for(5_100)
        await expect(region).not_to_have_text(announced)
        announces_title = (
            "document.title === document.getElementById('announcement').textContent + ' · Moderated Grading'"
        )
        assert await page.evaluate(announces_title)
