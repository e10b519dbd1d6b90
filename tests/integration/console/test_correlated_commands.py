"""The search finds the newest commands with a correlation id."""

import re
import uuid
from collections.abc import AsyncIterator

import pytest

from schemas.fields import format_time
from services.console.roles import Role
from services.console.web.search_page import router
from services.console.web.signed_in_user import SignedInUser
from services.eventlog.id_search import find_correlated
from services.eventlog.postgres import OPERATOR, Pool, create_pool
from tests.fixtures.canvas.adapter import World
from tests.fixtures.console_pages import open_pages
from tests.fixtures.decided_commands import Json, decide_commands
from tests.fixtures.moderation_world import to_text


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[Pool]:
    opened = await create_pool(database_url, "test", OPERATOR, 2, 10)
    yield opened
    opened.terminate()


def sign_in(root_account: int) -> SignedInUser:
    return SignedInUser(77, root_account, Role.VIEWER, None, 0.0, "", False, False)


def commands_of(correlation_id: str) -> list[Json]:
    """Return an accepted and a rejected command with the correlation id."""
    world = World()
    course = world.command("upsert_course", {"name": "History"})
    grade = world.command("record_provisional_grade", {"student_id": 31, "score": 7}, "a1", "ta1")
    return [{**command, "correlation_id": correlation_id} for command in (course, grade)]


@pytest.mark.parametrize("correlation_id", [str(uuid.uuid4()), 'night run "7" \\ Ä', "202601311200"])
async def test_commands_are_found_by_a_correlation_id_of_any_form_in_the_own_account(
    correlation_id: str, database_url: str, pool: Pool
) -> None:
    course, grade = commands_of(correlation_id)
    await decide_commands(database_url, [course])
    async with open_pages(router, pool, sign_in(1)) as pages:
        only = await pages.get("/search", params={"q": f" {correlation_id} "})
        assert only.status_code == 303, only.text
        assert re.fullmatch(r"/verdicts/\d+-1", only.headers["location"])
        await decide_commands(database_url, [grade])
        both = to_text(await pages.get("/search", params={"q": correlation_id}))
    assert "Command record provisional grade: rejected Command upsert course: accepted" in both
    async with open_pages(router, pool, sign_in(2)) as pages:
        answer = await pages.get("/search", params={"q": correlation_id})
    assert answer.status_code == 404
    assert "Nothing that you may see has this id" in to_text(answer) or "This is not an id" in to_text(answer)


async def test_text_that_no_command_has_is_answered_on_the_page(pool: Pool) -> None:
    async with open_pages(router, pool, sign_in(1)) as pages:
        for text, expected in (
            ("Zadie Quill", "This is not an id"),
            ("a\0b", "This is not an id"),
            ("7", "Nothing that you may"),
        ):
            answer = await pages.get("/search", params={"q": text})
            assert answer.status_code == 404
            assert expected in to_text(answer), text
            # The verdicts of archived months are in files.
            assert "archived months are not searched" in to_text(answer)
            assert "moderated-grading admin archive attach FILE" in to_text(answer)


async def test_search_reads_the_newest_verdicts_of_each_shard_and_states_since_when(
    database_url: str, pool: Pool
) -> None:
    correlation_id = str(uuid.uuid4())
    course, grade = commands_of(correlation_id)
    await decide_commands(database_url, [course])
    (found,) = (await find_correlated(pool, correlation_id, 1, 10, verdicts_per_shard=1)).verdicts
    (later,) = await decide_commands(database_url, [{**grade, "correlation_id": "another"}])
    beyond = await find_correlated(pool, correlation_id, None, 10, verdicts_per_shard=1)
    whole = await find_correlated(pool, correlation_id, None, 10, verdicts_per_shard=2)
    assert (found.type, found.status) == ("upsert_course", "accepted")
    assert beyond.verdicts == []
    assert beyond.since is not None
    assert format_time(beyond.since) <= later["decided_at"]
    assert (whole.verdicts, whole.since) == ([found], None)
