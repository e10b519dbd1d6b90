"""The moderators' first page lists the assignments that the user moderates or audits now, and no others."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from asyncpg.connection import LoggedQuery

from services.console.web import moderation_home
from services.eventlog import moderated_assignments
from services.eventlog.aggregates import load_as_of
from services.eventlog.moderated_assignments import ASSIGNMENT_EVENTS, CANDIDATES
from services.eventlog.postgres import OPERATOR, create_pool
from services.eventlog.schedules import FIRST_VERDICTS, find_refusals, read_schedules
from services.eventlog.stream_reader import StreamReader
from services.moderation.assignment import Assignment
from tests.fixtures.decided_commands import decide_commands
from tests.fixtures.moderation_pages import DecidedCourse
from tests.fixtures.moderation_world import main_text


@pytest.fixture
async def course(database_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[DecidedCourse]:
    # On a busy machine a query may take its time.
    monkeypatch.setattr(moderated_assignments, "LIST_SECONDS_MAX", 60.0)
    pool = await create_pool(database_url, "test", OPERATOR, 2, 10)
    yield DecidedCourse(database_url, pool)
    pool.terminate()


async def list_rows(course: DecidedCourse, name: str = "fg", query: str = "", root_account: int = 1) -> list[str]:
    """Return the text of each row that a user sees."""
    page = await course.read(f"/moderation{query}", name, root_account=root_account)
    assert "cannot be listed" not in page
    body = page.partition("<tbody>")[2].partition("</tbody>")[0]
    return [main_text(f"<main{row}</main>").strip() for row in body.split("</tr>")[:-1]]


async def test_list_shows_course_state_and_students_and_leads_to_publication_and_adjudication(
    course: DecidedCourse,
) -> None:
    await course.create()
    await course.decide(course.world.command("upsert_course", {"name": "History"}))
    a1, course_id = course.world.assignment_id("a1"), course.world.course_id
    page = await course.read("/moderation")
    for path in ("publication", "adjudication"):
        assert f'href="{course.path}/{path}"' in page
    links = f"2 Publication of assignment {a1} · Adjudication of assignment {a1}"
    assert await list_rows(course) == [f"a1 {a1} History {course_id} – open {links}"]
    for score in (6, 9):
        await course.grade("ta1" if score == 6 else "ta2", "s1", score)
    later = datetime.now(UTC) + timedelta(days=1)
    await course.moderate("schedule_publication", {"publish_at": later.isoformat()})
    assert f"scheduled for {later:%Y-%m-%d %H:%M:%S}" in (await list_rows(course))[0]
    ((schedule,),) = [page async for page in read_schedules(course.pool, None, 100_000)]
    data = {"schedule_id": schedule.schedule_id}
    due = {**course.world.command("publish_provisional_grades", data, "a1", "fg"), "command_id": schedule.command_id}
    (verdict,) = await decide_commands(course.database_url, [due])
    assert verdict["reason"] == "selection_required"
    assert "was refused: selection required" in (await list_rows(course))[0]
    loaded = await load_as_of(StreamReader(course.pool), 1, int(a1))
    assert loaded is not None
    unscheduled = Assignment(1, b"", 1, 1, 1)
    queries: list[LoggedQuery] = []
    connection = await asyncpg.connect(course.database_url)
    with connection.query_logger(queries.append):
        refusals = await find_refusals(connection, [loaded[1], replace(loaded[1], secret=b"other"), unscheduled])
    await connection.close()
    assert refusals == {schedule.schedule_id: "selection_required"}
    # The driver asks for the types of the arguments, too.
    assert [logged.query for logged in queries].count(FIRST_VERDICTS) == 1
    grade = await course.grade("ta2", "s1", 8)
    await course.moderate("select_provisional_grade", {"provisional_grade_id": grade})
    await course.moderate("publish_provisional_grades", {})
    assert "published at" in (await list_rows(course))[0]


async def test_only_assignments_are_listed_for_which_the_user_has_the_right_now(course: DecidedCourse) -> None:
    await course.create()
    permissions = {"moderator": ["manage_grades", "select_final_grade"], "auditor": ["view_audit_trail"]}
    admins = [{"user_id": course.world.user_id(name), "permissions": rights} for name, rights in permissions.items()]
    await course.decide(course.world.command("upsert_admins", {"admins": admins}))

    async def who_sees_it() -> list[str]:
        users = ("fg", "moderator", "auditor", "ta1", "s1", "stranger")
        return [name for name in users if await list_rows(course, name)]

    assert await who_sees_it() == ["fg", "moderator", "auditor"]
    assert await list_rows(course, root_account=2) == []
    dismissed = [{"user_id": course.world.user_id("auditor"), "permissions": []}]
    await course.decide(
        course.world.command("upsert_admins", {"admins": dismissed}),
        *course.given({"do": "update_assignment", "id": "a1", "set": {"final_grader": "ta1"}}),
    )
    assert await who_sees_it() == ["moderator", "ta1"]
    assert "You moderate or audit no assignment" in await course.read("/moderation")
    await course.decide(*course.given({"do": "update_assignment", "id": "a1", "set": {"deleted": True}}))
    assert await who_sees_it() == []


async def test_pages_list_each_assignment_once_the_newest_first(
    course: DecidedCourse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moderation_home, "ROWS_MAX", 2)
    await course.create()
    settings = {"moderated_grading": True, "grader_count": 2, "points_possible": 10, "grading_type": "points"}
    for name in ("a2", "a3", "a4", "a5", "a6"):
        step = {"do": "assignment", "id": name, "final_grader": "fg", **settings}
        await course.decide(*course.given(step))
    for name in ("a5", "a4"):
        await course.decide(*course.given({"do": "update_assignment", "id": name, "set": {"final_grader": "ta1"}}))
    first = await course.read("/moderation")
    older = first.split("/moderation?before=")[1].split('"')[0]
    pages = [await list_rows(course), await list_rows(course, query=f"?before={older}")]
    assert [[row.split()[0] for row in rows] for rows in pages] == [["a6", "a3"], ["a2", "a1"]]


async def test_list_that_cannot_be_read_in_time_leaves_the_way_by_id(
    course: DecidedCourse, monkeypatch: pytest.MonkeyPatch
) -> None:
    await course.create()
    monkeypatch.setattr(moderated_assignments, "LIST_SECONDS_MAX", 1e-6)
    page = await course.read("/moderation")
    assert "Your assignments cannot be listed: the search took too long" in main_text(page)
    assert "migration" not in main_text(page)
    assert 'id="assignment"' in page


# Course n has the admins n, … n + 9 and 10 assignments, whose final graders are 1001, 1002, … in turn.
LARGE_LOG = """
insert into stream select n, 1, n, null, 1 from generate_series(1, 500) n;
insert into stream select 1000 + n, 1, 1 + n % 500, n, 1 from generate_series(1, 5000) n;
insert into event select 1, n, null, n, 1, 'admins_updated', 1,
    json_build_object('payload', json_build_object('admins',
        (select json_agg(json_build_object('user_id', (n + i)::text, 'permissions', json_build_array()))
         from generate_series(0, 9) i))), '{}', now() from generate_series(1, 500) n;
insert into event select 1, 1000 + n, null, 1000 + n, 1, 'assignment_created', 1,
    json_build_object('payload', json_build_object('final_grader_id', (1001 + n % 1000)::text)), '{}', now()
    from generate_series(1, 5000) n;
insert into event select 1, 10000 + n, null, 1001 + n % 5000, 2 + n / 5000, 'grade_recorded', 1,
    json_build_object('payload', json_build_object('final_grader_id', '')), '{}', now()
    from generate_series(1, 20000) n;
analyze event, stream;
"""


def count_read_rows(plan: dict[str, Any]) -> int:
    """Count the rows that the scans of a plan read, also those that they then left out."""
    removed = plan.get("Rows Removed by Filter", 0) + plan.get("Rows Removed by Index Recheck", 0)
    own = (plan["Actual Rows"] + removed) * plan["Actual Loops"] if plan["Node Type"].endswith("Scan") else 0
    return int(own) + sum(map(count_read_rows, plan.get("Plans", [])))


@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
async def test_list_reads_only_events_and_assignments_that_concern_the_user(database_url: str, mode: str) -> None:
    owner = await asyncpg.connect(database_url)
    await owner.execute(LARGE_LOG)
    await owner.execute(f"set plan_cache_mode = {mode}")
    found, read = [], []
    for user in ("1005", "250", "stranger"):
        arguments = (1, user, moderated_assignments.NEWEST, 20)
        found.append(len(await owner.fetch(CANDIDATES, *arguments)))
        plan = await owner.fetchval(f"explain (analyze, format json) {CANDIDATES}", *arguments)
        read.append(count_read_rows(json.loads(plan)[0]["Plan"]))
    await owner.close()
    assert found == [5, 20, 0]
    assert read == [pytest.approx(0, abs=limit) for limit in (100, 600, 20)]


async def test_settings_of_listed_assignments_are_read_from_indexes(course: DecidedCourse) -> None:
    async with course.pool.acquire() as connection, connection.transaction():
        await connection.execute("set local enable_seqscan = off")
        plan = "\n".join(row[0] for row in await connection.fetch(f"explain {ASSIGNMENT_EVENTS}", [1]))
    assert [index for index in ("event_assignment_settings", "event_schedule") if index not in plan] == []
