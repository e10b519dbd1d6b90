"""Search by any id, and the list of students on an assignment's page."""

import asyncio
import re
import uuid

import httpx
import pytest

from tests.fixtures.console_client import (
    ConsoleClient,
    Json,
    connect_to_log,
    create_dead_letter,
    create_graded_assignment,
    send_command,
)
from tests.fixtures.moderation_world import to_text

COURSE, ASSIGNMENT, STUDENTS = 9500, 9501, 3


@pytest.fixture(scope="session")
async def graded(console: ConsoleClient) -> Json:
    """Create an assignment with students 31 to 33, whose grades are 7."""
    return await create_graded_assignment(console, COURSE, ASSIGNMENT, STUDENTS)


async def search(console: ConsoleClient, text: str, role: str = "viewer") -> httpx.Response:
    return await console.request("GET", "/search", role, params={"q": text})


async def test_command_assignment_dead_letter_and_verdict_are_found_by_id(console: ConsoleClient, graded: Json) -> None:
    verdict = await send_command(console, "upsert_course", course=COURSE)
    letter = await create_dead_letter(console)
    for text, path in (
        (verdict["command_id"], f"/commands/1/{verdict['command_id']}"),
        (f" {verdict['command_id'].upper()} ", f"/commands/1/{verdict['command_id']}"),
        (str(ASSIGNMENT), f"/assignments/1/{ASSIGNMENT}"),
        (str(COURSE), f"/assignments/1/{ASSIGNMENT}"),
    ):
        answer = await search(console, text)
        assert (answer.status_code, answer.headers.get("location")) == (303, path), text
    found = await search(console, letter)
    links = found.headers.get("location", "") + found.text
    assert f"/failures/dead-letters/{letter}" in links


async def test_event_is_found_by_its_id_on_the_topic(console: ConsoleClient, graded: Json) -> None:
    verdict = await send_command(console, "upsert_course", course=COURSE, data={"name": f"Course {uuid.uuid4()}"})
    await console.system.client.wait_for_outputs("events", verdict["command_id"], 1)
    records = console.system.client.records["events"]
    record = next(r for r in records if dict(r.headers)["ce_causationid"].decode() == verdict["command_id"])
    answer = await search(console, dict(record.headers)["ce_id"].decode())
    assert answer.headers["location"] == f"/commands/1/{verdict['command_id']}"


async def test_student_is_found_with_the_assignments_that_have_events_about_them(
    console: ConsoleClient, graded: Json
) -> None:
    answer = await search(console, "33")
    links = answer.headers.get("location", "") + answer.text
    assert f"/assignments/1/{ASSIGNMENT}?find=33" in links
    audit = await console.request("GET", "/audit?of=33&what=search")
    assert "search" in audit.text.split("<tbody>")[1]


async def test_search_answers_other_input_on_its_page_and_shows_only_the_own_account(
    console: ConsoleClient, graded: Json
) -> None:
    for text, expected in (
        ("Zadie Quill", "This is not an id"),
        ("-1", "This is not an id"),
        ("9" * 25, "This is not an id"),
        (str(uuid.uuid4()), "Nothing that you may see has this id"),
        ("987654321987", "Nothing that you may see has this id"),
        ("9999-1", "Nothing that you may see has this id"),
    ):
        answer = await search(console, text)
        assert answer.status_code == 404
        assert expected in to_text(answer), text
    verdict = await send_command(console, "upsert_course", course=COURSE)
    other = {"authorization": f"Bearer {console.issuer.token(77, scope='moderation.admin', root_account_id='2')}"}
    for text in (verdict["command_id"], str(ASSIGNMENT), "33"):
        answer = await console.http.get("/search", headers=other, params={"q": text})
        assert answer.status_code == 404, text


async def test_verdict_of_another_root_account_is_not_found_by_its_number(console: ConsoleClient, graded: Json) -> None:
    verdict = await send_command(console, "upsert_course", course=COURSE)
    path = (await console.request("GET", f"/commands/1/{verdict['command_id']}")).headers["location"]
    number = path.removeprefix("/verdicts/")
    shown = {}
    for account, scope in (("1", "viewer"), ("2", "admin"), ("2", "admin moderation.all_accounts")):
        token = console.issuer.token(77, scope=f"moderation.{scope}", root_account_id=account)
        headers = {"authorization": f"Bearer {token}"}
        answer = await console.http.get("/search", headers=headers, params={"q": number})
        shown[account, scope] = path in answer.headers.get("location", "") + answer.text
    assert shown == {("1", "viewer"): True, ("2", "admin"): False, ("2", "admin moderation.all_accounts"): True}


async def test_searches_without_an_index_run_one_at_a_time(console: ConsoleClient, graded: Json) -> None:
    async with connect_to_log(console) as connection, connection.transaction():
        await connection.execute("lock table event in access exclusive mode")
        answers = await asyncio.gather(*(search(console, str(uuid.uuid4())) for _ in range(10)))
    texts = [(answer.status_code, to_text(answer)) for answer in answers]
    refused = [status for status, text in texts if "Another search is reading the log for" in text]
    # On a slow machine some arrive when the first scan has already ended.
    assert (set(refused), len(refused) >= 7) == ({503}, True)
    assert any(status == 404 and "too large to search" in text for status, text in texts)


async def test_assignment_page_finds_a_student_and_sorts_by_column(console: ConsoleClient, graded: Json) -> None:
    page = f"/assignments/1/{ASSIGNMENT}"

    async def listed(query: str) -> list[str]:
        text = (await console.request("GET", f"{page}?{query}")).text
        rows = text.split('id="students-title"')[1].split("</table>")[0]
        return re.findall(rf'{page}/students/(\d+)"', rows)

    assert await listed("") == ["31", "32", "33"]
    assert await listed("sort=-student") == ["33", "32", "31"]
    assert await listed("find=32&version=5") == ["32"]
    assert await listed("students=2") == []
    missing = await console.request("GET", f"{page}?find=99")
    assert "No row of this table is about student 99" in to_text(missing)
    sorted_page = await console.request("GET", f"{page}?sort=grade&version=5")
    assert 'aria-sort="ascending"' in sorted_page.text
    assert f'href="{page}?version=5&amp;sort=-grade"' in sorted_page.text


async def test_assignment_that_is_not_moderated_has_a_page(console: ConsoleClient) -> None:
    plain = {"name": "Plain", "points_possible": 10, "grading_type": "points", "moderated_grading": False}
    verdict = await send_command(console, "assignment", course=COURSE, assignment_id="9502", data=plain)
    assert verdict["status"] == "accepted", verdict
    answer = await console.request("GET", "/assignments/1/9502")
    assert (answer.status_code, "not moderated" in answer.text) == (200, True)


async def test_discard_comes_first_while_a_redrive_would_fail_again(console: ConsoleClient) -> None:
    reason = f"order_{uuid.uuid4().hex[:8]}"
    await create_dead_letter(console, b"{", reason=reason)
    text = (await console.request("GET", f"/failures/dead-letters?reason={reason}", "admin")).text
    assert text.index('id="discard-all"') < text.index('id="redrive-all"')
    assert "inform the sender" in text
