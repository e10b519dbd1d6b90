"""Facts from the LMS: what they must say, what they change, and that saying them again changes nothing."""

from decimal import Decimal

import pytest

from services.moderation import commands
from services.moderation.decisions import Accepted, Rejected
from tests.moderation.memory import ANN, BEN, ESSAY, STRANGER, TA1, Memory, office
from tests.moderation.stating import DAY1, DAY2, assignment, comment, enrollment, submission, users


@pytest.mark.parametrize(
    "fact",
    [
        commands.UpsertCourse(fields={}),
        users((1, {"name": "Ann"})),
        enrollment(ANN, state="active"),
        commands.UpsertAdmins(admins=(commands.AdminUpsert(user_id=1, permissions=("manage_grades",)),)),
    ],
)
def test_any_fact_about_a_course_begins_it(fact: commands.CommandData) -> None:
    memory = Memory()
    assert len(memory.accept(fact).events) == 1
    assert memory.courses[1001].version == 1
    assert memory.accept(fact).events == ()


@pytest.mark.parametrize(
    "fact", [assignment(), submission(ANN), comment(ANN), commands.PostGrades(student_ids=None, posted_at=None)]
)
def test_an_assignment_of_no_course_is_not_found(fact: commands.CommandData) -> None:
    refused = Memory().ask(fact)
    assert isinstance(refused, Rejected)
    assert refused.reason == "not_found"


@pytest.mark.parametrize("fact", [submission(STRANGER, attempt=1), comment(STRANGER), submission(TA1), comment(TA1)])
def test_the_work_of_nobody_enrolled_as_a_student_is_not_found(fact: commands.CommandData) -> None:
    assert office().refuse(fact) == "not_found"


@pytest.mark.parametrize("left_out", ["name", "points_possible", "grading_type", "moderated_grading"])
def test_an_assignment_names_what_is_missing_when_first_mentioned(left_out: str) -> None:
    memory = office()
    whole = assignment().fields
    refused = memory.ask(
        commands.ConfigureAssignment(fields={n: v for n, v in whole.items() if n != left_out}), assignment=2002
    )
    assert isinstance(refused, Rejected)
    assert refused.reason == "invalid_command"
    assert [path for path, _ in refused.errors] == [f"data.{left_out}"]
    assert left_out in refused.message


def test_points_may_be_nothing_from_the_start() -> None:
    memory = office()
    memory.accept(assignment(points_possible=None), assignment=2002)
    assert memory.document(2002)["settings"]["points_possible"] is None


@pytest.mark.parametrize(
    "fact",
    [
        users((1, {})),
        users((1, {"name": None})),
        enrollment(STRANGER),
        enrollment(STRANGER, state=None),
        enrollment(ANN, state=None),
        commands.ConfigureAssignment(fields={"name": None}),
        commands.ConfigureAssignment(fields={"moderated_grading": None}),
    ],
)
def test_what_must_be_there_can_be_neither_left_out_at_first_nor_cleared(fact: commands.CommandData) -> None:
    assert office().refuse(fact) == "invalid_command"


def test_a_name_is_stated_once_and_never_cleared() -> None:
    memory = office()
    memory.accept(users((1, {"name": "Ann", "login_id": "ann"})))
    memory.accept(users((1, {"login_id": None})))
    assert memory.courses[1001].users[1] == {"user_id": 1, "name": "Ann", "login_id": None}
    assert memory.refuse(users((1, {"name": None}))) == "invalid_command"


def test_settings_go_back_to_their_defaults_when_cleared() -> None:
    memory = office(moderation_set="selected", anonymous_grading=True, grader_names_visible_to_final_grader=False)
    cleared = ("moderation_set", "anonymous_grading", "grader_names_visible_to_final_grader", "grader_count")
    stated = dict.fromkeys((*cleared, "final_grader_id", "points_possible"))
    memory.accept(commands.ConfigureAssignment(fields=stated))
    settings = memory.document()["settings"]
    assert [settings[name] for name in cleared] == ["assigned", False, True, 0]
    assert settings["final_grader_id"] is None
    assert settings["points_possible"] is None


@pytest.mark.parametrize(
    "fact",
    [
        commands.UpsertCourse(fields={"name": "Physics", "grading_scheme": (("P", Decimal("0.5")), ("F", Decimal(0)))}),
        users((1, {"name": "Ann", "created_at": DAY1}), (2, {"name": "Ben"}), (1, {"login_id": "ann"})),
        enrollment(ANN, state="inactive", limited_to_section=True, permissions={"manage_grades": True}),
        commands.UpsertAdmins(admins=(commands.AdminUpsert(user_id=1, permissions=("b", "a", "a")),)),
        commands.UpsertAdmins(admins=(commands.AdminUpsert(user_id=1, permissions=()),)),
        assignment(assigned_to=[BEN, ANN, BEN], grading_scheme=(("P", Decimal("0.5")), ("F", Decimal(0)))),
        submission(ANN, submission_id=5, attempt=1, submitted_at=DAY1, score=Decimal("1.50"), grade="1.5"),
        submission(ANN, excused=True, posted_at=DAY2, anonymous_id="abcDE"),
        submission(ANN, excused=None, score=None),
        comment(ANN),
        comment(ANN, at=DAY1),
    ],
)
def test_a_fact_stated_again_changes_nothing_even_after_a_restart(fact: commands.CommandData) -> None:
    memory = office()
    memory.accept(fact)
    before = memory.everything()
    assert memory.accept(fact).events == ()
    assert memory.read_again().accept(fact).events == ()
    assert memory.everything() == before


def test_only_what_changed_is_recorded() -> None:
    memory = office()
    memory.accept(submission(ANN, attempt=1, submitted_at=DAY1))
    (event,) = memory.accept(submission(ANN, attempt=1, submitted_at=DAY1, posted_at=DAY2)).events
    assert getattr(event, "changed_fields", None) == {"posted_at": DAY2}


def test_rows_are_merged_by_their_key() -> None:
    memory = office()
    memory.enroll(ANN, "Ta", section=51)
    memory.enroll(ANN, "Ta", section=51, state="inactive")
    memory.enroll(ANN, "Ta", section=52)
    held = memory.courses[1001].enrollments[ANN]
    assert {key: row.state for key, row in held.items()} == {
        ("StudentEnrollment", None): "active",
        ("TaEnrollment", 51): "inactive",
        ("TaEnrollment", 52): "active",
    }


def test_permissions_of_an_enrolment_go_over_those_of_its_type_until_cleared() -> None:
    memory = office()
    course = memory.courses[1001]
    memory.enroll(TA1, "Ta", permissions={"manage_grades": False})
    assert not course.has_permission(TA1, "manage_grades")
    assert course.has_permission(TA1, "view_all_grades")
    memory.enroll(TA1, "Ta", permissions=None)
    assert course.has_permission(TA1, "manage_grades")
    memory.enroll(STRANGER, "Designer", permissions={"manage_grades": True})
    assert course.has_permission(STRANGER, "manage_grades")


def test_no_fact_but_posting_and_hiding_is_told_to_the_world() -> None:
    memory = office()
    facts = (submission(ANN, score=Decimal(5), grade="5", posted_at=DAY1), comment(ANN), assignment(name="New"))
    for fact in facts:
        accepted = memory.accept(fact)
        assert isinstance(accepted, Accepted)
        assert not any(event.emits_grade_change for event in accepted.events)


def test_a_deleted_assignment_can_be_brought_back_and_nothing_else() -> None:
    memory = office()
    memory.configure(deleted=True)
    assert memory.refuse(submission(ANN, attempt=1)) == "not_found"
    memory.configure(deleted=False)
    memory.accept(submission(ANN, attempt=1), assignment=ESSAY)
