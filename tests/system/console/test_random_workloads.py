"""After random workloads the idle pages show the numbers of the log; ``--seasons`` sets how many run."""

import random
import re
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from playwright.async_api import Page

from deploy.season.sample_data import SampleData, encode_command
from services.console.pipeline_status import ALL_DONE
from services.console.verdict_stats import RECENT_MAX
from services.kafka.topics import full_topic_name
from tests.fixtures.console_client import Connection, ConsoleClient, connect_to_log
from tests.fixtures.console_fixtures import OpenPage
from tests.fixtures.fault_helpers import wait_until_idle
from tests.fixtures.process_runner import DEADLINE_SECONDS

Numbers = dict[str, Any]
IS_OPEN = "not exists (select from dead_letter_settled s where (s.shard, s.number) = (d.shard, d.number))"
# The console counts in intervals of ten seconds.
IS_RECENT = (
    "(metadata->>'time')::timestamptz >= to_timestamp(floor(extract(epoch from clock_timestamp()) / 10) * 10 - $1)"
)


@pytest.fixture
def seasons(pytestconfig: pytest.Config) -> int:
    """Return the number of workloads to run."""
    return int(pytestconfig.getoption("--seasons"))


def workload_records(sample_data: SampleData, chance: random.Random) -> Iterator[tuple[int, bytes]]:
    """Yield (course, value): commands of a season, many left out, repeated, unauthorized or broken."""
    commands = [
        fact for fact in sample_data.lms_facts() if fact["type"] != "record_submission" or chance.random() < 0.2
    ]
    commands += [command for _, _, _, command in sample_data.grading_commands() if chance.random() < 0.3]
    for taught in sample_data.courses:
        people = (taught.final_grader, *taught.graders)
        commands += [sample_data.publish_command(taught, each, chance.choice(people)) for each in taught.assignments]
    for command in commands:
        value, course, draw = encode_command(command), int(command["course_id"]), chance.random()
        if draw < 0.03:
            value = value[: chance.randrange(len(value))]
        elif draw < 0.06:
            value = encode_command({**command, "version": 9})
        yield course, value
        if 0.06 < draw < 0.1:
            yield course, value


async def run_workload(console: ConsoleClient, log: Connection, sample_data: SampleData, chance: random.Random) -> None:
    """Send a workload and wait until all of it is decided."""
    await wait_until_idle(console.system)
    before, sent = await count_outcomes(log), 0
    for course, value in workload_records(sample_data, chance):
        await console.system.client.send_raw(value, str(course).encode())
        sent += 1
    await wait_for_outcomes(log, before + sent)


async def count_outcomes(log: Connection) -> int:
    """Count verdicts and dead letters, including those of other tests."""
    return int(await log.fetchval("select (select count(*) from verdict) + (select count(*) from dead_letter)"))


async def wait_for_outcomes(log: Connection, records: int) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while (found := await count_outcomes(log)) < records:
        assert time.monotonic() < deadline, f"{found} of {records} decided"
    assert found == records


async def redrive_and_discard(console: ConsoleClient, log: Connection, chance: random.Random) -> None:
    """Redrive the dead letters of one partition, and discard one of another."""
    rows = await log.fetch(
        f"select d.partition, min(d.shard || '-' || d.number) from dead_letter d where {IS_OPEN} group by 1"
    )
    redriven, discarded = chance.sample(rows, 2)
    await wait_until_idle(console.system)
    before = await count_outcomes(log)
    count = await log.fetchval(f"select count(*) from dead_letter d where partition = $1 and {IS_OPEN}", redriven[0])
    for kind, asked in (("redrive", {"partition": str(redriven[0])}), ("discard", {"letter": discarded[1]})):
        form = {"action": str(uuid.uuid4()), "why": "end of the season", "anyway": "true", **asked}
        assert (await console.request("POST", f"/act/{kind}", "operator", data=form)).status_code == 303
    await wait_for_outcomes(log, before + count)


async def wait_until_equal(
    read_page: Callable[[Page], Awaitable[Numbers]],
    page: Page,
    read_log: Callable[[Connection], Awaitable[Numbers]],
    log: Connection,
) -> None:
    """Wait until a page shows the numbers of the log; both are read together, because some change with time."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while (page_numbers := await read_page(page)) != (log_numbers := await read_log(log)):
        assert time.monotonic() < deadline, f"{read_page.__name__}: {page_numbers} is not {log_numbers}"


async def test_page_numbers_match_the_idle_log_after_random_workloads(
    populated_console: ConsoleClient, seasons: int, open_page: OpenPage, report: Callable[[str], None]
) -> None:
    """The status page is loaded once and updated by its stream alone."""
    async with open_page("operator") as live, open_page("operator") as page, connect_to_log(populated_console) as log:
        await live.goto("/")
        for seed in range(seasons):
            chance = random.Random(seed)
            await run_workload(
                populated_console, log, SampleData(base_id=10_000_000 + 10_000 * seed, seed=seed), chance
            )
            await redrive_and_discard(populated_console, log, chance)
            await wait_until_equal(read_status_page, live, expected_status_page(populated_console), log)
            await wait_until_equal(read_failures_page, page, expected_failures, log)
            await wait_until_equal(read_assignments_page, page, expected_assignments, log)
        await populated_console.request("POST", "/topics/check", "operator")
        await wait_until_equal(read_topics_page, page, expected_topics(populated_console), log)
        report(f"{seasons} seasons, {await count_outcomes(log):,} records: all numbers on the pages match the log")


async def table_texts(page: Page, selector: str) -> list[list[str]]:
    """Return the cell texts of a table's rows."""
    script = "rows => rows.map(row => [...row.cells].map(cell => cell.innerText.trim()))"
    found: list[list[str]] = await page.locator(selector).evaluate_all(script)
    return found


def parse_number(text: str) -> int:
    """Return the first number in a text."""
    found = re.search(r"\d[\d,]*", text)
    assert found is not None, text
    return int(found[0].replace(",", ""))


async def read_status_page(page: Page) -> Numbers:
    figures = await page.locator("#figures dd").all_inner_texts()
    links = "links => links.map(link => link.pathname)"
    sentence = await page.inner_text("#status")
    return {
        "last minute": parse_number(figures[0]),
        "refused": parse_number(figures[1]),
        "decided": parse_number(figures[4]),
        "open": parse_number(sentence.split(";")[1]),
        "up to date": ALL_DONE in sentence,
        "partitions": [
            (int(row[0]), parse_number(row[3]), parse_number(row[-1]))
            for row in await table_texts(page, "#partitions tr")
        ],
        "waiting": {row[0]: parse_number(row[3]) for row in await table_texts(page, "#outputs tr")},
        "recent": await page.locator("#recent td:nth-child(2) a").evaluate_all(links),
    }


def expected_status_page(console: ConsoleClient) -> Callable[[Connection], Awaitable[Numbers]]:
    """Return a function that reads the status page's numbers from the log."""
    commands = full_topic_name(console.system.prefix, "commands")
    newest = "order by (metadata->>'time')::timestamptz desc, shard desc, number desc limit $1"

    async def read_log(log: Connection) -> Numbers:
        source = await log.fetchval("select max(number) from source where topic = $1", commands)
        ends = await log.fetch("select p, watermark($1, p) + 1 from generate_series(0, 11) p order by p", source)
        rows = await log.fetch(f"select '/verdicts/' || shard || '-' || number from verdict {newest}", RECENT_MAX)
        refused = f"select count(*) from verdict where body->>'reason' is not null and {IS_RECENT}"
        return {
            "last minute": await log.fetchval(f"select count(*) from verdict where {IS_RECENT}", 50),
            "refused": await log.fetchval(refused, 890),
            "decided": await log.fetchval("select count(*) from verdict"),
            "open": await log.fetchval(f"select count(*) from dead_letter d where {IS_OPEN}"),
            "up to date": True,
            "partitions": [(partition, 0, end) for partition, end in ends],
            "waiting": dict.fromkeys(("verdicts", "live-events", "caliper", "events", "dead-letters"), 0),
            "recent": [row[0] for row in rows],
        }

    return read_log


async def read_failures_page(page: Page) -> Numbers:
    await page.goto("/failures")
    letters = await table_texts(page, "section:has(#letters-title) tbody tr")
    refused = await table_texts(page, "section:has(#rejections-title) tbody tr")
    return {
        "letters": {row[0]: (parse_number(row[1]), row[4]) for row in letters},
        "refused": {(row[0], row[1]): parse_number(row[3]) for row in refused},
    }


async def expected_failures(log: Connection) -> Numbers:
    letters = await log.fetch(
        "select replace(reason, '_', ' '), count(*), string_agg(distinct partition::text, ', ') from dead_letter d"
        f" where {IS_OPEN} group by 1"
    )
    refused = await log.fetch(
        "select coalesce(replace(body->>'type', '_', ' '), 'unreadable'), replace(body->>'reason', '_', ' '), count(*)"
        " from verdict where body->>'reason' is not null group by 1, 2"
    )
    by_number = {row[0]: (row[1], ", ".join(sorted(row[2].split(", "), key=int))) for row in letters}
    return {"letters": by_number, "refused": {(row[0], row[1]): row[2] for row in refused}}


async def read_assignments_page(page: Page) -> Numbers:
    await page.goto("/assignments")
    rows = await table_texts(page, "tbody tr")
    return {row[0]: (row[2], parse_number(row[4])) for row in rows}


async def expected_assignments(log: Connection) -> Numbers:
    rows = await log.fetch(
        "select s.assignment::text, s.course::text, max(e.version)::bigint from stream s"
        " join event e on e.stream = s.number where s.assignment is not null"
        " group by s.number, 1, 2 order by s.number desc limit 50"
    )
    return {row[0]: (row[1], row[2]) for row in rows}


async def read_topics_page(page: Page) -> Numbers:
    await page.goto("/topics")
    rows = await table_texts(page, "section:has(#topics-title) tbody tr")
    return {row[0].rsplit(".", 1)[1]: row[2] for row in rows}


def expected_topics(console: ConsoleClient) -> Callable[[Connection], Awaitable[Numbers]]:
    """Return a function that reads from the log how many records each topic has."""

    async def read_log(log: Connection) -> Numbers:
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

    return read_log
