"""Facts from the LMS: required fields, effects, and that repeating them changes nothing."""

from decimal import Decimal

import pytest

from services.moderation import commands
from services.moderation.decisions import Rejected
from tests.fixtures.in_memory_course import ANN, BEN, ESSAY, STRANGER, TA1, InMemoryCourse, moderated_course
from tests.unit.moderation.lms_fact_builders import (
    DAY1,
    DAY2,
    assignment_fact,
    comment_fact,
    enrollment_fact,
    submission_fact,
    users_fact,
)


@pytest.mark.parametrize(
    "fact",
    [
        commands.UpsertCourse(fields={}),
        users_fact((1, {"name": "Ann"})),
        enrollment_fact(ANN, state="active"),
        commands.UpsertAdmins(admins=(commands.AdminUpsert(user_id=1, permissions=("manage_grades",)),)),
    ],
)
def test_any_course_fact_creates_the_course(fact: commands.CommandData) -> None:
    memory = InMemoryCourse()
    assert len(memory.expect_accepted(fact).events) == 1
    assert memory.courses[1001].version == 1
    assert memory.expect_accepted(fact).events == ()


@pytest.mark.parametrize(
    "fact",
    [assignment_fact(), submission_fact(ANN), comment_fact(ANN), commands.PostGrades(student_ids=None, posted_at=None)],
)
def test_assignment_fact_without_a_course_is_not_found(fact: commands.CommandData) -> None:
    refused = InMemoryCourse().submit(fact)
    assert isinstance(refused, Rejected)
    assert refused.reason == "not_found"


@pytest.mark.parametrize(
    "fact", [submission_fact(STRANGER, attempt=1), comment_fact(STRANGER), submission_fact(TA1), comment_fact(TA1)]
)
def test_submission_of_a_non_student_is_not_found(fact: commands.CommandData) -> None:
    assert moderated_course().expect_rejection(fact) == "not_found"


@pytest.mark.parametrize("left_out", ["name", "points_possible", "grading_type", "moderated_grading"])
def test_new_assignment_reports_missing_required_fields(left_out: str) -> None:
    memory = moderated_course()
    whole = assignment_fact().fields
    refused = memory.submit(
        commands.ConfigureAssignment(fields={n: v for n, v in whole.items() if n != left_out}), assignment=2002
    )
    assert isinstance(refused, Rejected)
    assert refused.reason == "invalid_command"
    assert [path for path, _ in refused.errors] == [f"data.{left_out}"]
    assert left_out in refused.message


def test_new_assignment_accepts_null_points_possible() -> None:
    memory = moderated_course()
    memory.expect_accepted(assignment_fact(points_possible=None), assignment=2002)
    assert memory.document(2002)["settings"]["points_possible"] is None


@pytest.mark.parametrize(
    "fact",
    [
        users_fact((1, {})),
        users_fact((1, {"name": None})),
        enrollment_fact(STRANGER),
        enrollment_fact(STRANGER, state=None),
        enrollment_fact(ANN, state=None),
        commands.ConfigureAssignment(fields={"name": None}),
        commands.ConfigureAssignment(fields={"moderated_grading": None}),
    ],
)
def test_required_fields_cannot_be_omitted_or_cleared(fact: commands.CommandData) -> None:
    assert moderated_course().expect_rejection(fact) == "invalid_command"


def test_user_name_is_kept_and_cannot_be_cleared() -> None:
    memory = moderated_course()
    memory.expect_accepted(users_fact((1, {"name": "Ann", "login_id": "ann"})))
    memory.expect_accepted(users_fact((1, {"login_id": None})))
    assert memory.courses[1001].users[1] == {"user_id": 1, "name": "Ann", "login_id": None}
    assert memory.expect_rejection(users_fact((1, {"name": None}))) == "invalid_command"


def test_cleared_settings_return_to_their_defaults() -> None:
    memory = moderated_course(
        moderation_set="selected", anonymous_grading=True, grader_names_visible_to_final_grader=False
    )
    cleared = ("moderation_set", "anonymous_grading", "grader_names_visible_to_final_grader", "grader_count")
    stated = dict.fromkeys((*cleared, "final_grader_id", "points_possible"))
    memory.expect_accepted(commands.ConfigureAssignment(fields=stated))
    settings = memory.document()["settings"]
    assert [settings[name] for name in cleared] == ["assigned", False, True, 0]
    assert settings["final_grader_id"] is None
    assert settings["points_possible"] is None


@pytest.mark.parametrize(
    "fact",
    [
        commands.UpsertCourse(fields={"name": "Physics", "grading_scheme": (("P", Decimal("0.5")), ("F", Decimal(0)))}),
        users_fact((1, {"name": "Ann", "created_at": DAY1}), (2, {"name": "Ben"}), (1, {"login_id": "ann"})),
        enrollment_fact(ANN, state="inactive", limited_to_section=True, permissions={"manage_grades": True}),
        commands.UpsertAdmins(admins=(commands.AdminUpsert(user_id=1, permissions=("b", "a", "a")),)),
        commands.UpsertAdmins(admins=(commands.AdminUpsert(user_id=1, permissions=()),)),
        assignment_fact(assigned_to=[BEN, ANN, BEN], grading_scheme=(("P", Decimal("0.5")), ("F", Decimal(0)))),
        submission_fact(ANN, submission_id=5, attempt=1, submitted_at=DAY1, score=Decimal("1.50"), grade="1.5"),
        submission_fact(ANN, excused=True, posted_at=DAY2, anonymous_id="abcDE"),
        submission_fact(ANN, excused=None, score=None),
        comment_fact(ANN),
        comment_fact(ANN, at=DAY1),
    ],
)
def test_repeated_fact_emits_no_event_even_after_replay(fact: commands.CommandData) -> None:
    memory = moderated_course()
    memory.expect_accepted(fact)
    before = memory.snapshot()
    assert memory.expect_accepted(fact).events == ()
    assert memory.replay().expect_accepted(fact).events == ()
    assert memory.snapshot() == before


def test_event_records_only_changed_fields() -> None:
    memory = moderated_course()
    memory.expect_accepted(submission_fact(ANN, attempt=1, submitted_at=DAY1))
    (event,) = memory.expect_accepted(submission_fact(ANN, attempt=1, submitted_at=DAY1, posted_at=DAY2)).events
    assert getattr(event, "changed_fields", None) == {"posted_at": DAY2}


def test_enrollment_rows_are_merged_by_key() -> None:
    memory = moderated_course()
    memory.enroll(ANN, "Ta", section=51)
    memory.enroll(ANN, "Ta", section=51, state="inactive")
    memory.enroll(ANN, "Ta", section=52)
    held = memory.courses[1001].enrollments[ANN]
    assert {key: row.state for key, row in held.items()} == {
        ("StudentEnrollment", None): "active",
        ("TaEnrollment", 51): "inactive",
        ("TaEnrollment", 52): "active",
    }


def test_enrollment_permissions_override_type_defaults_until_cleared() -> None:
    memory = moderated_course()
    course = memory.courses[1001]
    memory.enroll(TA1, "Ta", permissions={"manage_grades": False})
    assert not course.has_permission(TA1, "manage_grades")
    assert course.has_permission(TA1, "view_all_grades")
    memory.enroll(TA1, "Ta", permissions=None)
    assert course.has_permission(TA1, "manage_grades")
    memory.enroll(STRANGER, "Designer", permissions={"manage_grades": True})
    assert course.has_permission(STRANGER, "manage_grades")


def test_only_posting_and_hiding_facts_emit_grade_changes() -> None:
    memory = moderated_course()
    facts = (
        submission_fact(ANN, score=Decimal(5), grade="5", posted_at=DAY1),
        comment_fact(ANN),
        assignment_fact(name="New"),
    )
    for fact in facts:
        assert memory.told(memory.expect_accepted(fact)) == []


def test_deleted_assignment_accepts_only_a_restore() -> None:
    memory = moderated_course()
    memory.configure(deleted=True)
    assert memory.expect_rejection(submission_fact(ANN, attempt=1)) == "not_found"
    memory.configure(deleted=False)
    memory.expect_accepted(submission_fact(ANN, attempt=1), assignment=ESSAY)
