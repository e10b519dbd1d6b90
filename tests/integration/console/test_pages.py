"""The console's pages over HTTP, without a browser."""

import asyncio
import csv
import html
import io
import json
import re
import uuid
from functools import partial

import httpx
import pytest

from schemas.topics import MIB
from services.telemetry.metrics.console import ConsoleMetrics
from tests.fixtures.bad_inputs import BAD_INPUTS
from tests.fixtures.console_client import (
    ConsoleClient,
    Json,
    connect_to_log,
    create_dead_letter,
    create_graded_assignment,
    send_command,
)
from tests.fixtures.dead_letter_fixtures import append_dead_letters, read_commands_partition
from tests.fixtures.fault_helpers import wait_until_idle
from tests.fixtures.process_runner import wait_until

REASON_FORM = {"why": "the exporter was fixed"}


async def page_contains(console: ConsoleClient, path: str, *texts: str) -> bool:
    page = await console.request("GET", path)
    return all(text in page.text for text in texts)


@pytest.mark.parametrize(
    "group", [{"partition": "nine"}, {"partition": "nine", "reason": "not_json"}, {"until": "now"}]
)
async def test_invalid_group_filter_is_rejected_and_matches_no_dead_letter(group: Json, console: ConsoleClient) -> None:
    letter = await create_dead_letter(console)
    form = {**group, "action": str(uuid.uuid4()), **REASON_FORM}
    assert (await console.request("POST", "/act/discard", "admin", data=form)).status_code == 400
    assert "Discard…" in (await console.request("GET", f"/failures/dead-letters/{letter}", "operator")).text


async def test_double_click_and_back_button_redrive_once(console: ConsoleClient) -> None:
    letter = await create_dead_letter(console, b"{clicked")
    form = {"letter": letter, "action": str(uuid.uuid4()), "anyway": "true", **REASON_FORM}
    answers = await asyncio.gather(*(console.request("POST", "/act/redrive", "operator", data=form) for _ in range(3)))
    assert {(a.status_code, a.headers["location"]) for a in answers} == {(303, f"/actions/{form['action']}")}
    other_tab = await console.request("POST", "/act/redrive", "operator", data={**form, "action": str(uuid.uuid4())})
    assert other_tab.status_code == 409
    await wait_until(
        lambda: any(r.value == b"{clicked" for r in console.system.client.records["dead-letters"]), "the outcome"
    )
    (record,) = [r for r in await read_commands_partition(console.system, 9) if r.value == b"{clicked"]
    texts = [f"redriven</a>&nbsp;to&nbsp;9/{record.offset}", "dead letter again"]
    await wait_until(
        partial(page_contains, console, f"/failures/dead-letters/{letter}", *texts), "the page shows the outcome"
    )


async def test_redrive_form_counts_records_and_lists_oversized_ones(console: ConsoleClient) -> None:
    reason = f"large_{uuid.uuid4().hex[:8]}"
    too_large = await create_dead_letter(console, b"{" * (MIB - 200), reason=reason)
    assert "it stays open until an operator discards it" in html.unescape(
        (await console.request("GET", f"/act/redrive?letter={too_large}", "operator")).text
    )
    await create_dead_letter(console, b"{", reason=reason)
    form = (await console.request("GET", f"/act/redrive?reason={reason}", "operator")).text
    assert "Redrive 1 open dead letter?" in form
    assert "Not included: 1 dead letter " in form
    assert f'<a href="/failures/dead-letters/{too_large}">' in form
    fields = {"reason": reason, "action": str(uuid.uuid4()), "anyway": "true", **REASON_FORM}
    done = await console.request("POST", "/act/redrive", "operator", data=fields)
    await wait_until(partial(page_contains, console, done.headers["location"], "1 dead letter sent"), "it is redriven")
    assert (
        "Discard 1 open dead letter?" in (await console.request("GET", f"/act/discard?reason={reason}", "admin")).text
    )


async def test_dead_letter_content_is_visible_only_to_the_operator_who_revealed_it(console: ConsoleClient) -> None:
    secret = b'{"comment": "Zadie Quill wrote this'
    letter = await create_dead_letter(console, secret)
    path = f"/failures/dead-letters/{letter}"
    masked = await console.request("GET", path, "admin")
    assert "Zadie" not in masked.text
    assert "comment" in masked.text
    form = {"letter": letter, "action": str(uuid.uuid4()), **REASON_FORM}
    revealed = await console.request("POST", "/act/reveal", "operator", data=form)
    content = revealed.headers["location"].removesuffix("#content")
    assert "Zadie Quill" in (await console.request("GET", content, "operator")).text
    assert "Zadie" not in (await console.request("GET", content, "viewer")).text
    other = {"authorization": f"Bearer {console.issuer.token(78, scope='moderation.admin')}"}
    assert "Zadie" not in (await console.http.get(content, headers=other)).text
    actions = (await console.request("GET", f"/actions/{form['action']}")).text
    assert REASON_FORM["why"] in actions
    assert "77 of root account 1" in actions


async def test_dry_run_page_shows_the_outcome(console: ConsoleClient) -> None:
    readable = await create_dead_letter(
        console, json.dumps(BAD_INPUTS["bases"]["upsert_course"]).encode(), reason="was_unreadable"
    )
    page = await console.request("GET", f"/failures/dead-letters/{readable}")
    assert "This version can read the record" in page.text
    dry = await console.request("POST", f"/failures/dead-letters/{readable}/dry-run", "operator")
    assert "Nothing was written" in dry.text
    unreadable = await create_dead_letter(console)
    page = await console.request("GET", f"/failures/dead-letters/{unreadable}")
    assert "This version cannot read the record" in page.text
    dry = await console.request("POST", f"/failures/dead-letters/{unreadable}/dry-run", "operator")
    assert "dead letter again" in dry.text


async def test_page_numbers_match_the_idle_log(console: ConsoleClient) -> None:
    await console.system.client.send_and_wait({**BAD_INPUTS["bases"]["upsert_course"], "command_id": str(uuid.uuid4())})
    await create_dead_letter(console)
    await wait_until_idle(console.system)
    async with connect_to_log(console) as log:
        decided = await log.fetchval("select count(*) from verdict")
        open_letters = await log.fetchval(
            "select count(*) from dead_letter d where not exists (select from dead_letter_settled s"
            " where (s.shard, s.number) = (d.shard, d.number))"
        )
        refused = await log.fetch(
            "select body->>'type', body->>'reason', count(*) from verdict"
            " where body->>'reason' is not null group by 1, 2"
        )
    texts = (f'<dd id="decided">{decided:,}</dd>', f'<a href="/failures">{open_letters:,} dead letter')
    await wait_until(partial(page_contains, console, "/", *texts), f"the page shows {texts}")
    failures = html.unescape((await console.request("GET", "/failures")).text)
    by_cause = re.findall(
        r'rejections\?type=(\w*)&reason=(\w+)">[^<]*</a></td><td[^>]*>[^<]*</td><td class="number"[^>]*>([\d,]+)<',
        failures,
    )
    assert {(kind or None, reason, int(count.replace(",", ""))) for kind, reason, count in by_cause} == {
        tuple(row) for row in refused
    }
    by_letter = re.findall(r'class="number" data-name="Open">([\d,]+)</td>', failures.split("Refused commands")[0])
    assert sum(int(count.replace(",", "")) for count in by_letter) == open_letters


async def test_console_exposes_every_metric_of_its_catalogue(console: ConsoleClient) -> None:
    families = console.process.get_metrics()
    catalogue = {family.name: family.documentation for family in ConsoleMetrics().registry.collect()}
    assert {family.name: family.documentation for family in families} == catalogue
    assert {family.name for family in families if not family.samples} == set()
    await wait_until(lambda: console.process.get_metric("moderation_ready") == 1, "the metric says that it is ready")


async def test_replay_is_recorded_executed_and_rejected_for_service_topics(console: ConsoleClient) -> None:
    await console.system.client.send_and_wait({**BAD_INPUTS["bases"]["upsert_course"], "command_id": str(uuid.uuid4())})
    target = f"{console.system.prefix}-replayed"
    form = {"output": "verdicts", "target": target, "action": str(uuid.uuid4()), **REASON_FORM}
    own = await console.request("POST", "/topics/replay", "operator", data={**form, "target": "moderation.events"})
    assert own.status_code == 400
    assert (await console.request("POST", "/topics/replay", "viewer", data=form)).status_code == 403
    assert (await console.request("POST", "/topics/replay", "operator", data=form)).status_code == 303
    await wait_until(
        partial(page_contains, console, f"/actions/{form['action']}", target, ">complete<"), "the replay is complete"
    )


async def test_topics_are_verified_against_the_log(console: ConsoleClient) -> None:
    assert (await console.request("POST", "/topics/check", "viewer")).status_code == 403
    await console.request("POST", "/topics/check", "operator")

    async def read_result() -> str:
        text = (await console.request("GET", "/topics", "operator")).text
        return "" if "A verification is running" in text else text

    page = await wait_until(read_result, "the verification is done")
    assert page.count("matches the log") == 5


async def test_command_page_links_to_its_topic_offsets(console: ConsoleClient) -> None:
    command = {**BAD_INPUTS["bases"]["upsert_course"], "command_id": str(uuid.uuid4()), "course_id": "9100"}
    await console.system.client.send_and_wait(command)
    ((_, event),) = await console.system.client.wait_for_outputs("events", command["command_id"], 1)
    records = console.system.client.records
    verdict = next(
        r for r in records["verdicts"] if dict(r.headers)["ce_causationid"].decode() == command["command_id"]
    )
    event_record = next(r for r in records["events"] if json.loads(r.value or b"") == event)
    answer = await console.http.get(
        f"/commands/1/{command['command_id']}",
        headers={"authorization": f"Bearer {console.token('viewer')}"},
        follow_redirects=True,
    )
    for name, record in (("verdicts", verdict), ("events", event_record)):
        assert f"{console.system.prefix}.{name}, partition {record.partition}, offset {record.offset}," in answer.text
    assert "upsert_course" in answer.text
    assert BAD_INPUTS["bases"]["upsert_course"]["data"]["name"] not in answer.text


@pytest.fixture(scope="session")
async def moderated_assignment(console: ConsoleClient) -> Json:
    """Create an assignment whose four students have a provisional grade each."""
    return await create_graded_assignment(console, 9200, 9201, students=4)


async def test_unprocessed_commands_are_shown_as_waiting(console: ConsoleClient) -> None:
    handler = next(process for process in console.system.processes if process.name == "handler")
    handler.kill()
    command = {**BAD_INPUTS["bases"]["upsert_course"], "command_id": str(uuid.uuid4()), "course_id": "9300"}
    try:
        await console.system.client.send(command)
        await wait_until(
            partial(page_contains, console, "/", "1 command is not decided, the oldest for"), "the page shows it"
        )
        other = html.unescape((await console.request("GET", "/failures")).text)
        assert re.search(r'<a href="/">[^<]*1 command is not decided, the oldest for', other)
    finally:
        handler.start()
        await handler.wait_until_ready()
    await console.system.client.wait_for_verdict(command["command_id"])

    async def is_decided() -> bool:
        return not await page_contains(console, "/", "not decided, the oldest")

    await wait_until(is_decided, "the page no longer shows it")


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/assignments/1/9223372036854775808", 404),
        ("/assignments/99999999999999999999/1", 404),
        ("/assignments/one/two", 400),
        ("/assignments?id=-1", 400),
        ("/assignments?id=99999999999999999999999", 400),
        ("/failures/dead-letters?partition=x", 400),
        ("/failures/dead-letters?before=0001-01-01T00:00:00%2B14:00~1-1", 400),
        ("/failures/dead-letters/9999-999999999999999999", 404),
        ("/failures/dead-letters/1", 404),
        ("/failures/rejections", 400),
        ("/verdicts/1-999999", 404),
        ("/commands/1/no-uuid", 400),
        ("/commands/0/0193a6a1-7a5e-7c3e-8f00-3b1e6d9a4c11", 404),
        ("/actions/0193a6a1-7a5e-7c3e-8f00-3b1e6d9a4c11", 404),
        ("/act/anything?letter=1-1", 404),
        ("/act/redrive", 400),
        ("/static/../app.py", 404),
        ("/nowhere", 404),
    ],
)
async def test_invalid_link_returns_an_error_page(path: str, status: int, console: ConsoleClient) -> None:
    answer = await console.request("GET", path, "operator")
    assert answer.status_code == status
    assert answer.headers["content-security-policy"]
    assert "<h1>" in answer.text


async def test_assignment_state_is_shown_by_version_or_time_and_compared(
    console: ConsoleClient, moderated_assignment: Json
) -> None:
    page = f"/assignments/1/{moderated_assignment['assignment_id']}"
    first = await console.request("GET", f"{page}?version=1")
    assert "You see version 1" in first.text
    assert "Initial state" in first.text
    compared = await console.request("GET", f"{page}?version=4&compare=1")
    assert "Changes since version 1" in compared.text
    assert "provisional_grades.[" in compared.text
    assert (await console.request("GET", f"{page}?at=2099-01-01T00:00:00")).status_code == 404
    assert (await console.request("GET", f"{page}?at=2020-01-01")).status_code == 404
    assert (await console.request("GET", f"{page}?version=9999")).status_code == 404
    assert (await console.request("GET", f"{page}?compare=9999")).status_code == 404


async def test_assignment_page_shows_agreement_by_version_and_reasons_for_missing_values(
    console: ConsoleClient,
) -> None:
    assignment_fields = await create_graded_assignment(console, 9400, 9401, students=3)
    marks = (("21", "31", 9), ("11", "31", 9), ("11", "32", 8), ("11", "33", 6))
    verdicts = [
        await send_command(
            console,
            "record_grade",
            course=9400,
            assignment_id=assignment_fields["assignment_id"],
            actor={"user_id": grader},
            data={"student_id": student, "score": score},
        )
        for grader, student, score in marks
    ]
    assert {verdict["status"] for verdict in verdicts} == {"accepted"}, verdicts
    page = f"/assignments/1/{assignment_fields['assignment_id']}"

    now, then = [
        (await console.request("GET", path)).text for path in (page, f"{page}?version={verdicts[-2]['stream_version']}")
    ]

    # Mean squares: between submissions 19 / 6, between graders 0, residual 1 / 2.
    assert re.search(r"Intraclass correlation \(A,1\)</dt><dd>0\.80 <small>-?\d\.\d\d to \d\.\d\d</small>", now)
    assert re.search(r"Intraclass correlation \(A,1\)</dt><dd>– <small[^>]*>fewer than three works were marked", then)


async def test_tables_are_downloaded_with_the_filters_of_their_page(console: ConsoleClient) -> None:
    reason = f"export_{uuid.uuid4().hex[:8]}"
    letter = await create_dead_letter(console, b"{", partition=7, reason=reason, message="=HYPERLINK(1)")
    await create_dead_letter(console, b"{", partition=8, reason=reason, message="=HYPERLINK(1)")
    page = await console.request("GET", "/failures/dead-letters", params={"reason": reason, "partition": "7"})
    link = html.unescape(page.text.split('<p class="export"><a href="')[1].split('"')[0])
    assert ">CSV of this dead letter</a>" in page.text
    response = await console.request("GET", link)
    assert response.headers["content-type"] == "text/csv; charset=utf-8"
    assert response.headers["cache-control"] == "no-store"
    (row,) = read_csv(response)
    assert (f"{row['Shard']}-{row['Number']}", row["Cause"]) == (letter, reason)
    causes = read_csv(await console.request("GET", "/failures?csv=dead-letter-causes"))
    (cause,) = [row for row in causes if row["Cause"] == reason]
    assert (cause["Open"], cause["Partitions"], cause["Message"]) == ("2", "7, 8", "'=HYPERLINK(1)")


async def test_link_to_a_file_says_that_it_has_only_the_rows_of_the_page(console: ConsoleClient) -> None:
    reason = f"pages_{uuid.uuid4().hex[:8]}"
    await append_dead_letters(console.system, 9, [b"{"] * 51, reason=reason)
    page = await console.request("GET", "/failures/dead-letters", params={"reason": reason})
    assert ">CSV of these 50 dead letters</a>" in page.text
    response = await console.request("GET", "/failures/dead-letters", params={"reason": reason, "csv": "dead-letters"})
    assert len(read_csv(response)) == 50


def read_csv(response: httpx.Response) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(response.text.removeprefix("\ufeff"), newline="")))


@pytest.mark.parametrize(
    "path",
    [
        "/failures?csv=dead-letter-causes",
        "/failures?csv=refusal-causes",
        "/failures/dead-letters?csv=dead-letters",
        "/failures/rejections?reason=unauthorized&csv=refusals",
        "/assignments?csv=assignments",
        "/topics?csv=topics",
        "/topics?csv=consumer-groups",
        "/actions?csv=actions",
    ],
)
async def test_tables_are_downloaded_only_by_users_who_may_see_the_page(path: str, console: ConsoleClient) -> None:
    async def download() -> httpx.Response | None:
        # Consumer groups are read from Kafka, which may be busy: 503 until they are known.
        answer = await console.request("GET", path)
        return answer if answer.status_code == 200 else None

    response = await wait_until(download, "the file can be made")
    assert response.headers["content-disposition"].startswith("attachment")
    assert (await console.request("GET", path, "moderator")).status_code == 403
    assert (await console.http.get(path)).status_code == 303
    assert (await console.request("GET", f"{path}s")).status_code == 400
