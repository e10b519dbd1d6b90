"""The numbers on the pages are the log's at rest, whatever has happened: over ``--seasons`` random seasons."""

import random
import re
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from playwright.async_api import Page

from deploy.season.sample_data import SampleData, encode_command
from services.console.verdict_stats import RECENT_MAX
from services.kafka.topics import full_topic_name
from tests.console.conftest import Opened
from tests.console.looking import Connection, Console, log_of
from tests.faults.steps import until_at_rest
from tests.processes.running import DEADLINE_SECONDS

Numbers = dict[str, Any]
OPEN = "not exists (select from dead_letter_settled s where (s.shard, s.number) = (d.shard, d.number))"
# The console counts in tens of seconds.
OF_LATE = (
    "(metadata->>'time')::timestamptz >= to_timestamp(floor(extract(epoch from clock_timestamp()) / 10) * 10 - $1)"
)


@pytest.fixture
def seasons(pytestconfig: pytest.Config) -> int:
    """How many are played."""
    return int(pytestconfig.getoption("--seasons"))


def records(season: SampleData, chance: random.Random) -> Iterator[tuple[int, bytes]]:
    """(course, value): what is wanted, much of it left out, repeated, sent by the wrong people, or broken."""
    commands = [fact for fact in season.lms_facts() if fact["type"] != "record_submission" or chance.random() < 0.2]
    commands += [command for _, _, _, command in season.grading_commands() if chance.random() < 0.3]
    for taught in season.courses:
        people = (taught.final_grader, *taught.graders)
        commands += [season.publish_command(taught, each, chance.choice(people)) for each in taught.assignments]
    for command in commands:
        value, course, draw = encode_command(command), int(command["course_id"]), chance.random()
        if draw < 0.03:
            value = value[: chance.randrange(len(value))]
        elif draw < 0.06:
            value = encode_command({**command, "version": 9})
        yield course, value
        if 0.06 < draw < 0.1:
            yield course, value


async def play(console: Console, log: Connection, season: SampleData, chance: random.Random) -> None:
    """Send a season, and await that all of it is decided and out."""
    await until_at_rest(console.system)
    before, sent = await settled(log), 0
    for course, value in records(season, chance):
        await console.system.outside.send_raw(value, str(course).encode())
        sent += 1
    await decided(log, before + sent)


async def settled(log: Connection) -> int:
    """Records that are verdicts or dead letters, those of topics of other tests too."""
    return int(await log.fetchval("select (select count(*) from verdict) + (select count(*) from dead_letter)"))


async def decided(log: Connection, records: int) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while (found := await settled(log)) < records:
        assert time.monotonic() < deadline, f"{found} of {records} decided"
    assert found == records


async def repair(console: Console, log: Connection, chance: random.Random) -> None:
    """Redrive what lies in one partition, and discard one dead letter of another."""
    rows = await log.fetch(
        f"select d.partition, min(d.shard || '-' || d.number) from dead_letter d where {OPEN} group by 1"
    )
    redriven, discarded = chance.sample(rows, 2)
    await until_at_rest(console.system)
    before = await settled(log)
    count = await log.fetchval(f"select count(*) from dead_letter d where partition = $1 and {OPEN}", redriven[0])
    for kind, asked in (("redrive", {"partition": str(redriven[0])}), ("discard", {"letter": discarded[1]})):
        form = {"action": str(uuid.uuid4()), "why": "a season's end", **asked}
        assert (await console.ask("POST", f"/act/{kind}", "operator", data=form)).status_code == 303
    await decided(log, before + count)


async def same(
    seen: Callable[[Page], Awaitable[Numbers]],
    page: Page,
    told: Callable[[Connection], Awaitable[Numbers]],
    log: Connection,
) -> None:
    """Wait until a page says what the log does; they are asked side by side, for some numbers are of minutes."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while (shown := await seen(page)) != (true := await told(log)):
        assert time.monotonic() < deadline, f"{seen.__name__}: {shown} is not {true}"


async def test_numbers_on_the_pages_are_those_of_the_log_at_rest(
    season: Console, seasons: int, opened: Opened, say: Callable[[str], None]
) -> None:
    """The first page is loaded once, and kept fresh by its stream alone."""
    async with opened("operator") as live, opened("operator") as page, log_of(season) as log:
        await live.goto("/")
        for seed in range(seasons):
            chance = random.Random(seed)
            await play(season, log, SampleData(base_id=10_000_000 + 10_000 * seed, seed=seed), chance)
            await repair(season, log, chance)
            await same(first_page, live, counts(season), log)
            await same(failures, page, causes, log)
            await same(assignments, page, versions, log)
        await season.ask("POST", "/topics/check", "operator")
        await same(topics, page, lengths(season), log)
        say(f"{seasons} seasons, {await settled(log):,} records: every number on the pages is the log's")


async def texts(page: Page, selector: str) -> list[list[str]]:
    """The cells of a table's rows."""
    script = "rows => rows.map(row => [...row.cells].map(cell => cell.innerText.trim()))"
    found: list[list[str]] = await page.locator(selector).evaluate_all(script)
    return found


def number(text: str) -> int:
    """Of a text that begins with one, or holds only one."""
    found = re.search(r"\d[\d,]*", text)
    assert found is not None, text
    return int(found[0].replace(",", ""))


async def first_page(page: Page) -> Numbers:
    figures = await page.locator("#figures dd").all_inner_texts()
    links = "links => links.map(link => link.pathname)"
    sentence = await page.inner_text("#status")
    return {
        "last minute": number(figures[0]),
        "refused": number(figures[1]),
        "decided": number(figures[4]),
        "open": number(sentence.split(";")[1]),
        "at rest": "Every command is decided and every grade is out" in sentence,
        "partitions": [(int(row[0]), number(row[3]), number(row[5])) for row in await texts(page, "#partitions tr")],
        "not out": {row[0]: number(row[3]) for row in await texts(page, "#outputs tr")},
        "recent": await page.locator("#recent td:nth-child(2) a").evaluate_all(links),
    }


def counts(console: Console) -> Callable[[Connection], Awaitable[Numbers]]:
    """What the log says of the first page's numbers."""
    commands = full_topic_name(console.system.prefix, "commands")
    newest = "order by (metadata->>'time')::timestamptz desc, shard desc, number desc limit $1"

    async def told(log: Connection) -> Numbers:
        source = await log.fetchval("select max(number) from source where topic = $1", commands)
        ends = await log.fetch("select p, watermark($1, p) + 1 from generate_series(0, 11) p order by p", source)
        rows = await log.fetch(f"select '/verdicts/' || shard || '-' || number from verdict {newest}", RECENT_MAX)
        refused = f"select count(*) from verdict where body->>'reason' is not null and {OF_LATE}"
        return {
            "last minute": await log.fetchval(f"select count(*) from verdict where {OF_LATE}", 50),
            "refused": await log.fetchval(refused, 890),
            "decided": await log.fetchval("select count(*) from verdict"),
            "open": await log.fetchval(f"select count(*) from dead_letter d where {OPEN}"),
            "at rest": True,
            "partitions": [(partition, 0, end) for partition, end in ends],
            "not out": dict.fromkeys(("verdicts", "live-events", "caliper", "events", "dead-letters"), 0),
            "recent": [row[0] for row in rows],
        }

    return told


async def failures(page: Page) -> Numbers:
    await page.goto("/failures")
    letters = await texts(page, "section:has(#letters-title) tbody tr")
    refused = await texts(page, "section:has(#rejections-title) tbody tr")
    return {
        "letters": {row[0]: (number(row[1]), row[4]) for row in letters},
        "refused": {(row[0], row[1]): number(row[2]) for row in refused},
    }


async def causes(log: Connection) -> Numbers:
    letters = await log.fetch(
        "select replace(reason, '_', ' '), count(*), string_agg(distinct partition::text, ', ') from dead_letter d"
        f" where {OPEN} group by 1"
    )
    refused = await log.fetch(
        "select coalesce(replace(body->>'type', '_', ' '), 'unreadable'), replace(body->>'reason', '_', ' '), count(*)"
        " from verdict where body->>'reason' is not null group by 1, 2"
    )
    by_number = {row[0]: (row[1], ", ".join(sorted(row[2].split(", "), key=int))) for row in letters}
    return {"letters": by_number, "refused": {(row[0], row[1]): row[2] for row in refused}}


async def assignments(page: Page) -> Numbers:
    await page.goto("/assignments")
    rows = await texts(page, "tbody tr")
    return {row[0]: (row[2], number(row[4])) for row in rows}


async def versions(log: Connection) -> Numbers:
    rows = await log.fetch(
        "select s.assignment::text, s.course::text, max(e.version)::bigint from stream s"
        " join event e on e.stream = s.number where s.assignment is not null"
        " group by s.number, 1, 2 order by s.number desc limit 50"
    )
    return {row[0]: (row[1], row[2]) for row in rows}


async def topics(page: Page) -> Numbers:
    await page.goto("/topics")
    rows = await texts(page, "section:has(#topics-title) tbody tr")
    return {row[0].rsplit(".", 1)[1]: row[2] for row in rows}


def lengths(console: Console) -> Callable[[Connection], Awaitable[Numbers]]:
    """How many records each topic has, the log being wholly out."""

    async def told(log: Connection) -> Numbers:
        published = "(select count(*) from event where live_number is not null)"
        row = await log.fetchrow(
            f"select (select count(*) from verdict), {published}, {published}, (select count(*) from event),"
            " (select count(*) from dead_letter)"
        )
        assert row is not None
        return {
            name: f"{count:,}"
            for name, count in zip(("verdicts", "live-events", "caliper", "events", "dead-letters"), row, strict=True)
        }

    return told
