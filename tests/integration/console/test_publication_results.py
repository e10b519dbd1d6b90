"""What the publication page says about students who are blocked, and about those whose grades are published."""

from collections.abc import AsyncIterator

import pytest

from schemas.reasons import REASONS
from services.eventlog.postgres import OPERATOR, create_pool
from tests.fixtures.moderation_pages import DecidedCourse
from tests.fixtures.moderation_world import main_text


@pytest.fixture
async def course(database_url: str) -> AsyncIterator[DecidedCourse]:
    pool = await create_pool(database_url, "test", OPERATOR, 2, 10)
    yield DecidedCourse(database_url, pool)
    pool.terminate()


async def test_every_reason_of_blocked_students_comes_with_what_to_do_and_a_link_that_moderators_may_follow(
    course: DecidedCourse,
) -> None:
    await course.create(adjudication={"marks": 2, "within_points": "5", "result": "mean"})
    for grader, score in (("ta1", 6), ("ta2", 9)):
        for student in ("s1", "s2"):
            await course.grade(grader, student, score)
    await course.moderate("adjudicate_provisional_grades", {"student_ids": [course.world.user_id("s1")]})
    await course.grade("ta1", "s1", 7)
    page = await course.read(f"{course.path}/publication")
    blocked = main_text(page).split("Blocked: 2 students")[1].split("Provisional grades")[0]
    for reason in ("selection_required", "adjudication_stale"):
        assert f"1 student: {REASONS[reason].when} What to do: {REASONS[reason].remedy}" in blocked
        assert f'href="/reasons#{reason}"' in page
    reasons = await course.read("/reasons")
    assert [reason for reason in REASONS if f'id="{reason}"' not in reasons] == []
