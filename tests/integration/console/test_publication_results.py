"""What the publication page says about students who are blocked, and about those whose grades are published."""

from collections.abc import AsyncIterator

import pytest

from schemas.reasons import REASONS
from services.console.roles import Role
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


async def publish_grades(course: DecidedCourse, **settings: object) -> None:
    """Publish 6 for s1, chosen of 6 and 9, 5 for s2, and 4 for s3, who is in section b."""
    await course.create(**settings)
    await course.decide(*course.given({"do": "enroll", "user": "s3", "role": "student", "sections": ["b"]}))
    selected = await course.grade("ta1", "s1", 6)
    for grader, student, score in (("ta2", "s1", 9), ("ta1", "s2", 5), ("ta2", "s3", 4)):
        await course.grade(grader, student, score)
    await course.moderate("select_provisional_grade", {"provisional_grade_id": selected})
    await course.moderate("publish_provisional_grades", {})


def rows_of(page: str) -> dict[str, str]:
    """Return the text of each row of a page's last table by its student."""
    rows = page.rpartition("<tbody>")[2].split("</tr>")[:-1]
    return {row.split("/students/")[1].split('"')[0]: main_text(f"<main{row}</main>").strip() for row in rows}


async def test_published_grades_are_listed_with_the_chosen_mark_the_gradebook_now_and_a_link_to_why(
    course: DecidedCourse,
) -> None:
    await publish_grades(course)
    s1, s2, s3 = (course.world.user_id(name) for name in ("s1", "s2", "s3"))
    await course.moderate("revise_published_grade", {"student_id": s2, "score": 7, "reason": "an appeal"})
    page = await course.read(f"{course.path}/publication")
    ta1, ta2 = (f"user {course.world.user_id(name)}" for name in ("ta1", "ta2"))
    rows = rows_of(page)
    assert "Who got what: 3 grades" in main_text(page)
    assert list(rows.values()) == [
        f"{s1} 6 6 6 {ta1} as published",
        f"{s2} 5 5 5 {ta1} 7 (score 7 )",
        f"{s3} 4 4 4 {ta2} as published",
    ]
    assert "The grade 6 was published" in await course.read(f"{course.path}/students/{s1}")
    changed_first = rows_of(await course.read(f"{course.path}/publication?sort=now"))
    assert list(changed_first) == [s2, s1, s3]
    assert list(rows_of(await course.read(f"{course.path}/publication?find={s3}"))) == [s3]


async def test_published_grades_are_listed_for_the_sections_of_the_moderator_also_after_an_enrolment_has_ended(
    course: DecidedCourse,
) -> None:
    await publish_grades(course, anonymous_grading=True)
    s1, s2, s3 = (course.world.user_id(name) for name in ("s1", "s2", "s3"))
    limited = {"user_id": course.world.user_id("fg"), "type": "TeacherEnrollment", "state": "active"}
    auditor = {"user_id": course.world.user_id("auditor"), "permissions": ["view_audit_trail"]}
    await course.decide(
        course.world.command("upsert_enrollments", {"enrollments": [{**limited, "limited_to_section": True}]}),
        course.world.command("upsert_admins", {"admins": [auditor]}),
        *course.given({"do": "enrollment_state", "user": "s2", "state": "concluded"}),
    )
    path = f"{course.path}/publication"
    assert list(rows_of(await course.read(path))) == [s1, s2]
    assert list(rows_of(await course.read(path, "auditor"))) == [s1, s2, s3]
    assert list(rows_of(await course.read(path, "operator", Role.VIEWER))) == [s1, s2, s3]
    # The why of each listed student opens, and of no other.
    assert "was published" in await course.read(f"{course.path}/students/{s2}")
    with pytest.raises(AssertionError, match="no such student"):
        await course.read(f"{course.path}/students/{s3}")


async def test_after_the_publication_no_reader_finds_a_plan_or_is_asked_for_a_moderator(course: DecidedCourse) -> None:
    await publish_grades(course)
    auditor = {"user_id": course.world.user_id("auditor"), "permissions": ["view_audit_trail"]}
    await course.decide(course.world.command("upsert_admins", {"admins": [auditor]}))
    for name, role in (("fg", Role.MODERATOR), ("auditor", Role.MODERATOR), ("operator", Role.VIEWER)):
        text = main_text(await course.read(f"{course.path}/publication", name, role))
        plan = text.split("Plan")[1].split("Time of publication")[0]
        shown = "The grades are published: there is nothing left to plan. Who got what is listed below."
        assert " ".join(plan.split()) == shown
        assert "Who got what: 3 grades" in text
