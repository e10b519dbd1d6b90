"""The audit trail on the console: every page that shows education records adds a row, and the rows can be found."""

import re
from html import unescape

import pytest

from tests.fixtures.console_client import (
    ConsoleClient,
    connect_to_log,
    create_dead_letter,
    create_graded_assignment,
    send_command,
)

ROW = re.compile(r"<tr>(?!<th)(.*?)</tr>", re.DOTALL)


async def audit_rows(console: ConsoleClient, query: str, **options: str) -> list[str]:
    """Return the texts of the rows of the page."""
    page = await console.request("GET", f"/audit?{query}", **options)
    assert page.status_code == 200, page.text
    return [unescape(re.sub(r"<[^>]+>", " ", row)) for row in ROW.findall(page.text.split("<tbody>", 1)[-1])]


async def test_pages_with_education_records_add_a_row_each(console: ConsoleClient) -> None:
    ids = await create_graded_assignment(console, 7801, 7802, students=1)
    verdict = await send_command(console, "assignment", course=7801, **ids, data={"name": "Renamed"})
    for path in (f"/assignments/1/{ids['assignment_id']}", f"/commands/1/{verdict['command_id']}"):
        redirect = await console.request("GET", path)
        if redirect.status_code == 303:
            assert (await console.request("GET", redirect.headers["location"])).status_code == 200

    rows = await audit_rows(console, f"of={ids['assignment_id']}")

    assert len(rows) == 2, rows
    assert "command page" in rows[0]
    assert verdict["command_id"] in rows[0]
    assert "assignment page" in rows[1]
    assert all("user 77 of root account 1" in row and "127.0.0.1" in row for row in rows)


async def test_rows_are_found_by_user_login_kind_and_time(console: ConsoleClient) -> None:
    async with connect_to_log(console) as connection:
        login = await connection.fetchval("select session_user")
        await connection.execute(
            "insert into access_record (process, what, target, reason) values"
            " ('cli', 'state', '{\"root_account\": \"1\", \"assignment\": \"7811\"}', 'appeal 12')"
        )
    letter = await create_dead_letter(console)
    form = {"letter": letter, "action": "0193a6a1-7a5e-7c3e-8f00-3b1e6d9a4c99", "why": "the sender asks"}
    assert (await console.request("POST", "/act/reveal", "operator", data=form)).status_code == 303

    [by_login] = await audit_rows(console, f"who={login}&of=7811")
    [by_kind] = await audit_rows(console, f"what=reveal&of={letter}&who=77")

    assert f"login {login}" in " ".join(by_login.split())
    assert "appeal 12" in by_login
    assert "the sender asks" in by_kind
    assert await audit_rows(console, "since=2999-01-01") == []
    assert await audit_rows(console, "who=78") == []


async def test_older_entries_are_on_the_next_page(console: ConsoleClient) -> None:
    async with connect_to_log(console) as connection:
        await connection.execute(
            "insert into access_record (process, what, target) select 'cli', 'paged', json_build_object("
            "'root_account', '1', 'number', n::text) from generate_series(1, 60) n"
        )
    first = await console.request("GET", "/audit?what=paged")
    link = re.search(r'href="(/audit\?[^"]*before=[^"]*)"', first.text)
    assert link is not None
    second = await console.request("GET", unescape(link[1]))
    numbers = [number for page in (first, second) for number in re.findall(r"number <bdi>(\d+)</bdi>", page.text)]
    assert sorted(map(int, numbers)) == list(range(1, 61))
    assert "Older entries" not in second.text


async def test_entries_of_another_root_account_are_not_shown(console: ConsoleClient) -> None:
    async with connect_to_log(console) as connection:
        await connection.execute(
            "insert into access_record (process, root_account, user_id, what, target)"
            " select 'console', 3, 9, 'elsewhere', json_build_object('root_account', n) from unnest('{2,3}'::text[]) n"
        )
    counts = {}
    for scope in ("moderation.admin", "moderation.admin moderation.all_accounts"):
        token = console.issuer.token(77, scope=scope, root_account_id="3")
        page = await console.http.get("/audit?what=elsewhere", headers={"authorization": f"Bearer {token}"})
        counts[scope] = page.text.count("user 9 of root account 3")
    assert counts == {"moderation.admin": 1, "moderation.admin moderation.all_accounts": 2}
    assert await audit_rows(console, "what=elsewhere") == []


async def test_actions_on_persons_of_another_root_account_are_not_shown(console: ConsoleClient) -> None:
    async with connect_to_log(console) as connection:
        actions = await connection.fetch(
            "insert into operator_action (id, kind, root_account, user_id, reason, detail)"
            " select gen_random_uuid(), 'export', n, 9, 'appeal in ' || n,"
            " json_build_object('root_account_id', n::text) from unnest('{2,3}'::bigint[]) n returning id"
        )
    shown = {}
    for scope in ("moderation.admin", "moderation.admin moderation.all_accounts"):
        token = console.issuer.token(77, scope=scope, root_account_id="3")
        headers = {"authorization": f"Bearer {token}"}
        page = await console.http.get("/actions", headers=headers)
        details = [await console.http.get(f"/actions/{row['id']}", headers=headers) for row in actions]
        listed = [f"appeal in {account}" in page.text for account in (2, 3)]
        shown[scope] = (listed, [detail.status_code for detail in details])
    assert shown == {
        "moderation.admin": ([False, True], [404, 200]),
        "moderation.admin moderation.all_accounts": ([True, True], [200, 200]),
    }


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("since=yesterday", 400),
        ("before=x", 400),
        ("who=" + "9" * 30, 200),
        ("who=00000000000000000000000000001", 200),
        ("of=%00", 400),
        ("what=" + "x" * 300, 400),
        ("of=%3Cscript%3E&what=%3Cb%3E&who='--", 200),
    ],
)
async def test_invalid_filter_is_answered_without_an_error(console: ConsoleClient, query: str, status: int) -> None:
    page = await console.request("GET", f"/audit?{query}")
    assert page.status_code == status
    assert "<script>" not in page.text.replace('<script src="/static', "")
