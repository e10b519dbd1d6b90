"""What the console's pages say and do: over HTTP, without a browser."""

import asyncio
import html
import json
import re
import uuid
from functools import partial

import pytest

from services.kafka.topics import MIB
from services.telemetry.metrics import ConsoleMetrics
from tests.cases.bad_inputs import DOCUMENT
from tests.console.letters import on_topic
from tests.console.looking import Console, Json, graded, letter_of, log_of, sent
from tests.faults.steps import until_at_rest
from tests.processes.running import until

WHY = {"why": "the exporter was mended"}


async def says(console: Console, path: str, *texts: str) -> bool:
    page = await console.ask("GET", path)
    return all(text in page.text for text in texts)


@pytest.mark.parametrize(
    "group", [{"partition": "nine"}, {"partition": "nine", "reason": "not_json"}, {"until": "now"}]
)
async def test_a_group_that_cannot_be_understood_is_none_and_not_all(group: Json, console: Console) -> None:
    letter = await letter_of(console)
    form = {**group, "action": str(uuid.uuid4()), **WHY}
    assert (await console.ask("POST", "/act/discard", "admin", data=form)).status_code == 400
    assert "Discard…" in (await console.ask("GET", f"/failures/dead-letters/{letter}", "operator")).text


async def test_a_double_click_and_the_back_button_send_one_record(console: Console) -> None:
    letter = await letter_of(console, b"{clicked")
    form = {"letter": letter, "action": str(uuid.uuid4()), **WHY}
    answers = await asyncio.gather(*(console.ask("POST", "/act/redrive", "operator", data=form) for _ in range(3)))
    assert {(a.status_code, a.headers["location"]) for a in answers} == {(303, f"/actions/{form['action']}")}
    other_tab = await console.ask("POST", "/act/redrive", "operator", data={**form, "action": str(uuid.uuid4())})
    assert other_tab.status_code == 409
    await until(
        lambda: any(r.value == b"{clicked" for r in console.system.outside.records["dead-letters"]), "its outcome"
    )
    (found,) = [r for r in await on_topic(console.system, 9) if r.value == b"{clicked"]
    said = [f"redriven</a>&nbsp;to&nbsp;9/{found.offset}", "a dead letter again"]
    await until(partial(says, console, f"/failures/dead-letters/{letter}", *said), "what came of it is shown")


async def test_a_form_counts_what_it_will_send_and_names_what_is_too_large(console: Console) -> None:
    reason = f"large_{uuid.uuid4().hex[:8]}"
    too_large = await letter_of(console, b"{" * (MIB - 200), reason=reason)
    assert "it stays open until somebody discards it" in html.unescape(
        (await console.ask("GET", f"/act/redrive?letter={too_large}", "operator")).text
    )
    await letter_of(console, b"{", reason=reason)
    form = (await console.ask("GET", f"/act/redrive?reason={reason}", "operator")).text
    assert "Redrive 1 open dead letter?" in form
    assert "Left out: 1 dead letter," in form
    assert f'<a href="/failures/dead-letters/{too_large}">' in form
    fields = {"reason": reason, "action": str(uuid.uuid4()), **WHY}
    done = await console.ask("POST", "/act/redrive", "operator", data=fields)
    await until(partial(says, console, done.headers["location"], "1 dead letter back on the topic"), "it is redriven")
    assert "Discard 1 open dead letter?" in (await console.ask("GET", f"/act/discard?reason={reason}", "admin")).text


async def test_the_content_is_shown_to_who_said_why_and_to_nobody_else(console: Console) -> None:
    secret = b'{"comment": "Zadie Quill wrote this'
    letter = await letter_of(console, secret)
    path = f"/failures/dead-letters/{letter}"
    masked = await console.ask("GET", path, "admin")
    assert "Zadie" not in masked.text
    assert "comment" in masked.text
    form = {"letter": letter, "action": str(uuid.uuid4()), **WHY}
    revealed = await console.ask("POST", "/act/reveal", "operator", data=form)
    content = revealed.headers["location"].removesuffix("#content")
    assert "Zadie Quill" in (await console.ask("GET", content, "operator")).text
    assert "Zadie" not in (await console.ask("GET", content, "viewer")).text
    other = {"authorization": f"Bearer {console.issuer.token(78, scope='moderation.admin')}"}
    assert "Zadie" not in (await console.http.get(content, headers=other)).text
    actions = (await console.ask("GET", f"/actions/{form['action']}")).text
    assert WHY["why"] in actions
    assert "user 77" in actions


async def test_a_dry_run_says_on_the_page_what_would_come_of_it(console: Console) -> None:
    readable = await letter_of(
        console, json.dumps(DOCUMENT["bases"]["upsert_course"]).encode(), reason="was_unreadable"
    )
    page = await console.ask("GET", f"/failures/dead-letters/{readable}")
    assert "The version that runs now can read it" in page.text
    dry = await console.ask("POST", f"/failures/dead-letters/{readable}/dry-run", "operator")
    assert "Nothing was written" in dry.text
    unreadable = await letter_of(console)
    page = await console.ask("GET", f"/failures/dead-letters/{unreadable}")
    assert "stays unreadable until the code changes" in page.text
    dry = await console.ask("POST", f"/failures/dead-letters/{unreadable}/dry-run", "operator")
    assert "a dead letter again" in dry.text


async def test_numbers_on_the_page_are_those_of_the_log_when_nothing_moves(console: Console) -> None:
    await console.system.outside.verdict({**DOCUMENT["bases"]["upsert_course"], "command_id": str(uuid.uuid4())})
    await letter_of(console)
    await until_at_rest(console.system)
    async with log_of(console) as log:
        decided = await log.fetchval("select count(*) from verdict")
        open_letters = await log.fetchval(
            "select count(*) from dead_letter d where not exists (select from dead_letter_settled s"
            " where (s.shard, s.number) = (d.shard, d.number))"
        )
        refused = await log.fetch(
            "select body->>'type', body->>'reason', count(*) from verdict"
            " where body->>'reason' is not null group by 1, 2"
        )
    wanted = (f'<dd id="decided">{decided:,}</dd>', f"The oldest of {open_letters:,} open dead letter")
    await until(partial(says, console, "/", *wanted), f"the page says {wanted}")
    failures = html.unescape((await console.ask("GET", "/failures")).text)
    by_cause = re.findall(r'rejections\?type=(\w*)&reason=(\w+)">[^<]*</a></td><td class="number">([\d,]+)<', failures)
    assert {(kind or None, reason, int(count.replace(",", ""))) for kind, reason, count in by_cause} == {
        tuple(row) for row in refused
    }
    by_letter = re.findall(r'class="number">([\d,]+)</td>', failures.split("Refused commands")[0])
    assert sum(int(count.replace(",", "")) for count in by_letter) == open_letters


async def test_the_console_tells_every_metric_of_its_catalogue(console: Console) -> None:
    families = console.process.metrics()
    catalogue = {family.name: family.documentation for family in ConsoleMetrics().registry.collect()}
    assert {family.name: family.documentation for family in families} == catalogue
    assert {family.name for family in families if not family.samples} == set()
    await until(lambda: console.process.told("moderation_ready") == 1, "it is told that it is ready")


async def test_a_replay_is_kept_carried_out_and_refused_where_a_topic_is_the_services_own(console: Console) -> None:
    await console.system.outside.verdict({**DOCUMENT["bases"]["upsert_course"], "command_id": str(uuid.uuid4())})
    target = f"{console.system.prefix}-replayed"
    form = {"output": "verdicts", "target": target, "action": str(uuid.uuid4()), **WHY}
    own = await console.ask("POST", "/topics/replay", "operator", data={**form, "target": "moderation.events"})
    assert own.status_code == 400
    assert (await console.ask("POST", "/topics/replay", "viewer", data=form)).status_code == 403
    assert (await console.ask("POST", "/topics/replay", "operator", data=form)).status_code == 303
    await until(partial(says, console, f"/actions/{form['action']}", target, "all of it is there"), "it is done")


async def test_topics_are_checked_against_the_log(console: Console) -> None:
    assert (await console.ask("POST", "/topics/check", "viewer")).status_code == 403
    await console.ask("POST", "/topics/check", "operator")

    async def checked() -> str:
        text = (await console.ask("GET", "/topics", "operator")).text
        return "" if "A check is under way" in text else text

    page = await until(checked, "the check is done")
    assert page.count("as the log says") == 5


async def test_the_way_of_a_command_leads_to_its_places_on_the_topics(console: Console) -> None:
    command = {**DOCUMENT["bases"]["upsert_course"], "command_id": str(uuid.uuid4()), "course_id": "9100"}
    await console.system.outside.verdict(command)
    ((_, event),) = await console.system.outside.caused_by("events", command["command_id"], 1)
    records = console.system.outside.records
    verdict = next(
        r for r in records["verdicts"] if dict(r.headers)["ce_causationid"].decode() == command["command_id"]
    )
    found = next(r for r in records["events"] if json.loads(r.value or b"") == event)
    answer = await console.http.get(
        f"/commands/1/{command['command_id']}",
        headers={"authorization": f"Bearer {console.token('viewer')}"},
        follow_redirects=True,
    )
    for name, record in (("verdicts", verdict), ("events", found)):
        assert f"{console.system.prefix}.{name}, partition {record.partition}, offset {record.offset}," in answer.text
    assert "upsert_course" in answer.text
    assert DOCUMENT["bases"]["upsert_course"]["data"]["name"] not in answer.text


@pytest.fixture(scope="session")
async def moderated(console: Console) -> Json:
    """An assignment whose four students have a provisional grade each."""
    return await graded(console, 9200, 9201, students=4)


async def test_commands_that_nobody_decides_are_said_to_wait(console: Console) -> None:
    handler = next(process for process in console.system.processes if process.name == "handler")
    handler.kill()
    command = {**DOCUMENT["bases"]["upsert_course"], "command_id": str(uuid.uuid4()), "course_id": "9300"}
    try:
        await console.system.outside.send(command)
        await until(partial(says, console, "/", "1 command not decided, the oldest waiting"), "that it waits is said")
        other = html.unescape((await console.ask("GET", "/failures")).text)
        assert re.search(r'<a href="/">[^<]*1 command not decided, the oldest waiting', other)
    finally:
        handler.start()
        await handler.ready()
    await console.system.outside.verdict_of(command["command_id"])

    async def is_said_no_more() -> bool:
        return not await says(console, "/", "not decided, the oldest")

    await until(is_said_no_more, "it is said no more")


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
async def test_a_link_that_leads_nowhere_is_told_so_on_a_page_of_ours(path: str, status: int, console: Console) -> None:
    answer = await console.ask("GET", path, "operator")
    assert answer.status_code == status
    assert answer.headers["content-security-policy"]
    assert "<h1>" in answer.text


async def test_a_state_is_shown_as_of_a_version_or_time_beside_another_and_nowhere_beyond(
    console: Console, moderated: Json
) -> None:
    page = f"/assignments/1/{moderated['assignment_id']}"
    first = await console.ask("GET", f"{page}?version=1")
    assert "As it stood at version 1" in first.text
    assert "What its first event stated" in first.text
    compared = await console.ask("GET", f"{page}?version=4&compare=1")
    assert "What differs from version 1" in compared.text
    assert "provisional_grades.[" in compared.text
    assert (await console.ask("GET", f"{page}?at=2099-01-01T00:00:00")).status_code == 404
    assert (await console.ask("GET", f"{page}?at=2020-01-01")).status_code == 404
    assert (await console.ask("GET", f"{page}?version=9999")).status_code == 404
    assert (await console.ask("GET", f"{page}?compare=9999")).status_code == 404


async def test_how_far_graders_agree_is_shown_then_and_now_and_what_there_is_not_says_why(console: Console) -> None:
    of = await graded(console, 9400, 9401, students=3)
    marks = (("21", "31", 9), ("11", "31", 9), ("11", "32", 8), ("11", "33", 6))
    verdicts = [
        await sent(
            console,
            "record_grade",
            course=9400,
            assignment_id=of["assignment_id"],
            actor={"user_id": grader},
            data={"student_id": student, "score": score},
        )
        for grader, student, score in marks
    ]
    assert {verdict["status"] for verdict in verdicts} == {"accepted"}, verdicts
    page = f"/assignments/1/{of['assignment_id']}"

    now, then = [
        (await console.ask("GET", path)).text for path in (page, f"{page}?version={verdicts[-2]['stream_version']}")
    ]

    # Mean squares: between works 19 / 6, between graders 0, residual 1 / 2.
    assert re.search(r"Intraclass correlation \(A,1\)</dt><dd>0\.80 <small>-?\d\.\d\d to \d\.\d\d</small>", now)
    assert re.search(r"Intraclass correlation \(A,1\)</dt><dd>– <small[^>]*>fewer than three works were marked", then)
