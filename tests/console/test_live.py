"""The first page in a real Chromium while things change: soon, true, and with nobody looking quiet."""

import re
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from aiokafka import AIOKafkaProducer
from playwright.async_api import Page, expect

from services.console.kafka_probe import KafkaProbe
from services.kafka.relay_progress import PROGRESS_KEY, RelayProgress
from services.kafka.topics import full_topic_name
from tests.cases.bad_inputs import DOCUMENT
from tests.console.conftest import Opened
from tests.console.letters import dead
from tests.console.looking import Console, at, graded, log_of, sent
from tests.processes.running import Process, until

EVENTS, ROUNDS_MAX = 100, 5
AWAY_SECONDS = 10
# Keeps when each course's decision was painted first.
WATCH_RECENT = """
window.painted = {};
const look = () => requestAnimationFrame(() => {
  for (const row of document.querySelectorAll("#recent tr")) painted[row.cells[3]?.textContent] ??= Date.now();
});
new MutationObserver(look).observe(document.getElementById("recent"), {childList: true});
"""
# Keeps what was said of publications, and waits until ten of twenty grades are out and a rate is known.
WATCH_PUBLICATIONS = """
window.said = [];
const publications = document.getElementById("publications");
new MutationObserver(() => said.push(publications.innerText)).observe(publications, {childList: true});
"""
HALF_OUT = r"""() => said.map(text => text.match(
  /10 of 20 grades are out, ([\d.]+) a second, ([\d.]+) s left/)).find(found => found)"""


def process(console: Console, name: str) -> Process:
    return next(process for process in console.system.processes if process.name == name)


async def is_live(page: Page) -> None:
    """Wait until the page has heard of the decisions."""
    await page.goto("/")
    await page.locator("#recent a").first.wait_for()


async def streams(console: Console, count: int) -> None:
    """Wait until so many pages keep a stream open."""
    await until(lambda: console.process.told("moderation_sse_clients") == count, f"{count} streams")


async def test_a_decision_is_on_the_page_within_a_second_of_its_commit(
    season: Console, opened: Opened, say: Callable[[str], None]
) -> None:
    async with opened("viewer") as page:
        await is_live(page)
        await page.evaluate(WATCH_RECENT)
        # A machine that stands still for some seconds says nothing of the console: one round has to be in time.
        for number in range(ROUNDS_MAX):
            courses = range(7_100_000 + EVENTS * number, 7_100_000 + EVENTS * (number + 1))
            took = await seconds_to_be_seen(season, page, courses)
            late = took[EVENTS * 95 // 100 - 1]
            say(f"commit to visible: p50 {took[EVENTS // 2]:.2f} s, p95 {late:.2f} s of {EVENTS}")
            if late <= 1:
                break
    assert late <= 1, took[-20:]


async def seconds_to_be_seen(console: Console, page: Page, courses: range) -> list[float]:
    """From each decision to when it was painted, the longest last; infinite where newer ones came at once."""
    for course in courses:
        await sent(console, "upsert_course", course=course)
    await page.locator("#recent td", has_text=str(courses[-1])).wait_for()
    painted = await page.evaluate("painted")
    async with log_of(console) as log:
        # Before its commit: what is measured is more than what is promised.
        decided = await log.fetch(
            "select body->>'course_id', extract(epoch from (metadata->>'time')::timestamptz)::float8 from verdict"
            " where (body->>'course_id')::bigint between $1 and $2",
            courses[0],
            courses[-1],
        )
    assert len(decided) == EVENTS
    return sorted(painted.get(course, float("inf")) / 1_000 - at for course, at in decided)


async def test_a_console_that_is_gone_for_ten_seconds_is_said_to_be_and_comes_back_by_itself(
    season: Console, opened: Opened
) -> None:
    async with opened("viewer") as page:
        await is_live(page)
        gone_at, gone = time.monotonic(), datetime.now(UTC)
        season.process.kill()
        try:
            await page.locator("#connection", has_text="Stale since").wait_for()
            said = re.search(r"since (\d\d:\d\d:\d\d)", await page.inner_text("#connection"))
            for course in range(7_400, 7_405):
                await sent(season, "upsert_course", course=course)
            await at(gone_at + AWAY_SECONDS)
            assert await page.locator("#recent td", has_text="7404").count() == 0
        finally:
            season.process.start()
            await season.process.ready()
        await page.locator("#recent td", has_text="7404").wait_for()
        await expect(page.locator("#connection")).to_be_hidden()
        shown = await page.locator("#recent td:nth-child(2) a").evaluate_all("links => links.map(a => a.pathname)")
    assert said is not None
    since = datetime.combine(gone.date(), datetime.strptime(said[1], "%H:%M:%S").time(), UTC)
    # It was heard last a little before it was gone, perhaps on the day before.
    assert -1 <= (gone - since).total_seconds() % 86_400 <= AWAY_SECONDS
    async with log_of(season) as log:
        rows = await log.fetch(
            "select '/verdicts/' || shard || '-' || number from verdict"
            " order by (metadata->>'time')::timestamptz desc, shard desc, number desc limit $1",
            len(shown),
        )
    assert shown == [row[0] for row in rows]


async def test_a_tab_that_nobody_looks_at_closes_its_stream_and_is_fresh_again_when_somebody_does(
    season: Console, opened: Opened
) -> None:
    async with opened("viewer") as page:
        await page.clock.install()
        await page.add_init_script("Object.defineProperty(document, 'hidden', {get: () => window.covered === true})")
        await is_live(page)
        await streams(season, 1)
        turn = "covered => { window.covered = covered; document.dispatchEvent(new Event('visibilitychange')) }"
        await page.evaluate(turn, True)
        await page.clock.run_for(10_000)
        await page.evaluate(turn, False)
        await page.clock.run_for(25_000)
        await streams(season, 1)
        await page.evaluate(turn, True)
        await page.clock.run_for(30_000)
        await streams(season, 0)
        await sent(season, "upsert_course", course=7_501)
        assert await page.locator("#recent td", has_text="7501").count() == 0
        await page.evaluate(turn, False)
        await page.locator("#recent td", has_text="7501").wait_for()


async def test_whoever_pauses_a_page_is_told_so_and_sees_it_stand_still_until_they_resume(
    season: Console, opened: Opened
) -> None:
    async with opened("viewer") as page:
        await is_live(page)
        await page.click("#pause")
        await page.locator("#connection", has_text="Paused at").wait_for()
        await streams(season, 0)
        await sent(season, "upsert_course", course=7_502)
        assert await page.locator("#recent td", has_text="7502").count() == 0
        await page.click("#pause")
        await page.locator("#recent td", has_text="7502").wait_for()
        await expect(page.locator("#connection")).to_be_hidden()


@asynccontextmanager
async def relay_away(console: Console) -> AsyncIterator[tuple[RelayProgress, Any]]:
    """Without a relay: how far it had come, and a function that says, in its place, that it has come further."""
    system, relay = console.system, process(console, "relay")
    for name in system.outside.records:
        await system.outside.caught_up(name)
    relay.kill()
    broker = KafkaProbe(system.bootstrap, system.prefix)
    producer = AIOKafkaProducer(bootstrap_servers=system.bootstrap)
    await broker.start()
    await producer.start()
    before = await broker.read_latest_progress()
    assert before is not None

    async def come(progress: RelayProgress) -> None:
        await producer.send_and_wait(full_topic_name(system.prefix, "progress"), progress.encode(), key=PROGRESS_KEY)

    try:
        yield before, come
    finally:
        await come(before)
        await producer.stop()
        await broker.stop()
        relay.start()
        await relay.ready()


def further(before: RelayProgress, shard: int, grades: int) -> RelayProgress:
    """So many published grades of a shard later."""
    numbers = list(before.sequences["live-events"])
    numbers[shard] += grades
    return replace(before, sequences={**before.sequences, "live-events": tuple(numbers)})


async def test_a_publication_says_how_much_of_it_is_out_how_fast_it_comes_and_until_when(
    season: Console, opened: Opened
) -> None:
    of = await graded(season, 7_600, 7_601, students=20)
    base = DOCUMENT["bases"]["record_grade"]
    command = {**base, "command_id": str(uuid.uuid4()), **of, "type": "publish_provisional_grades", "data": {}}
    async with opened("viewer") as page:
        await is_live(page)
        under_way = page.locator("#publications p")
        async with relay_away(season) as (before, come), log_of(season) as log:
            await page.evaluate(WATCH_PUBLICATIONS)
            sent_at = time.monotonic()
            await season.system.outside.send({**command, "actor": {"user_id": "11"}})
            await under_way.get_by_text("0 of 20 grades are out").wait_for()
            seen_at = time.monotonic()
            shard = await log.fetchval(
                "select shard from event where metadata->>'command_id' = $1", command["command_id"]
            )
            for grades in range(1, 11):
                await at(seen_at + grades / 10)
                begun_at = time.monotonic()
                await come(further(before, shard, grades))
            found = await (await page.wait_for_function(HALF_OUT)).json_value()
            told_at = time.monotonic()
            late = page.locator("#status", has_text="the relay is behind or stopped")
            await late.wait_for()
            href = await under_way.locator("a").get_attribute("href")
            bar = await page.locator("#publications progress").evaluate("bar => [bar.value, bar.max]")
        await page.locator("#publications", has_text="None: every published grade is on the topic").wait_for()
    rate, left = map(float, found[1:])
    # The console saw none of them out, and later ten; the span between lies between these two.
    assert 10 / (told_at - sent_at) - 0.1 <= rate <= 10 / (begun_at - seen_at) + 0.1
    # Both are rounded as they are shown.
    assert abs(left * rate - 10) <= 0.1 * left + 0.6 * rate
    assert (href, bar) == ("/assignments/1/7601", [10, 20])
    assert len(await season.system.outside.caused_by("live-events", command["command_id"], 20)) == 20


async def test_a_screen_reader_hears_what_changes_and_not_more_than_every_five_seconds(
    season: Console, opened: Opened
) -> None:
    async with opened("viewer") as page:
        await page.clock.install()
        await is_live(page)
        await page.clock.pause_at(datetime.now(UTC) + timedelta(hours=1))
        region = page.locator("#announcement[role=status]")

        async def told() -> str:
            """One more has failed a second later, and the page says so; what is heard then."""
            await page.clock.run_for(1_000)
            before = await page.title()
            await dead(season.system, 6, [b"{heard"], reason="heard")
            await expect(page).not_to_have_title(before)
            return await region.inner_text()

        heard = await told()
        assert heard != ""
        assert await told() == heard
        assert await told() == heard
        await page.clock.run_for(5_100)
        await expect(region).not_to_have_text(heard)
        news = "document.title === document.getElementById('announcement').textContent + ' · Moderated Grading'"
        assert await page.evaluate(news)
