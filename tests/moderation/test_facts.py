"""Facts from the LMS: what they must say, what they change, and that saying them again changes nothing."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from services.moderation import commands as asked
from services.moderation.decision import Accepted, Rejected
from services.moderation.payload import to_payload
from tests.moderation.memory import ANN, BEN, CAT, ESSAY, STRANGER, TA1, TEACHER, Memory, names, office

DAY1, DAY2, DAY3 = (datetime(2025, 12, day, tzinfo=UTC) for day in (1, 2, 3))


def users(*rows: tuple[int, dict[str, Any]]) -> asked.UpsertUsers:
    return asked.UpsertUsers(users=tuple(asked.StatedUser(user_id=user, stated=stated) for user, stated in rows))


def enrollment(user: int, **stated: Any) -> asked.UpsertEnrollments:
    row = asked.StatedEnrollment(user_id=user, type="StudentEnrollment", section_id=None, stated=stated)
    return asked.UpsertEnrollments(enrollments=(row,))


def submission(student: int, **stated: Any) -> asked.RecordSubmission:
    return asked.RecordSubmission(student_id=student, stated=stated)


def comment(student: int, text: str = "seen", at: datetime | None = None) -> asked.RecordSubmissionComment:
    return asked.RecordSubmissionComment(student_id=student, author_id=TEACHER, comment=text, created_at=at)


def assignment(**stated: Any) -> asked.ConfigureAssignment:
    whole = {"name": "Essay", "points_possible": Decimal(10), "grading_type": "points", "moderated_grading": True}
    return asked.ConfigureAssignment(stated={**whole, **stated})


@pytest.mark.parametrize(
    "fact",
    [asked.UpsertCourse(stated={}), users((1, {"name": "Ann"})), enrollment(ANN, state="active"), asked.UpsertAdmins(
        admins=(asked.StatedAdmin(user_id=1, permissions=("manage_grades",)),)
    )],
)  # fmt: skip
def test_any_fact_about_a_course_begins_it(fact: asked.Data) -> None:
    memory = Memory()
    assert len(memory.accept(fact).events) == 1
    assert memory.courses[1001].version == 1
    assert memory.accept(fact).events == ()


@pytest.mark.parametrize(
    "fact", [assignment(), submission(ANN), comment(ANN), asked.PostGrades(student_ids=None, posted_at=None)]
)
def test_an_assignment_of_no_course_is_not_found(fact: asked.Data) -> None:
    refused = Memory().ask(fact)
    assert isinstance(refused, Rejected)
    assert refused.reason == "not_found"


@pytest.mark.parametrize("fact", [submission(STRANGER, attempt=1), comment(STRANGER), submission(TA1), comment(TA1)])
def test_the_work_of_nobody_enrolled_as_a_student_is_not_found(fact: asked.Data) -> None:
    assert office().refuse(fact) == "not_found"


@pytest.mark.parametrize("left_out", ["name", "points_possible", "grading_type", "moderated_grading"])
def test_an_assignment_names_what_is_missing_when_first_mentioned(left_out: str) -> None:
    memory = office()
    whole = assignment().stated
    refused = memory.ask(
        asked.ConfigureAssignment(stated={n: v for n, v in whole.items() if n != left_out}), assignment=2002
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
        asked.ConfigureAssignment(stated={"name": None}),
        asked.ConfigureAssignment(stated={"moderated_grading": None}),
    ],
)
def test_what_must_be_there_can_be_neither_left_out_at_first_nor_cleared(fact: asked.Data) -> None:
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
    memory.accept(asked.ConfigureAssignment(stated=stated))
    settings = memory.document()["settings"]
    assert [settings[name] for name in cleared] == ["assigned", False, True, 0]
    assert settings["final_grader_id"] is None
    assert settings["points_possible"] is None


@pytest.mark.parametrize(
    "fact",
    [
        asked.UpsertCourse(stated={"name": "Physics", "grading_scheme": (("P", Decimal("0.5")), ("F", Decimal(0)))}),
        users((1, {"name": "Ann", "created_at": DAY1}), (2, {"name": "Ben"}), (1, {"login_id": "ann"})),
        enrollment(ANN, state="inactive", limited_to_section=True, permissions={"manage_grades": True}),
        asked.UpsertAdmins(admins=(asked.StatedAdmin(user_id=1, permissions=("b", "a", "a")),)),
        asked.UpsertAdmins(admins=(asked.StatedAdmin(user_id=1, permissions=()),)),
        assignment(assigned_to=[BEN, ANN, BEN], grading_scheme=(("P", Decimal("0.5")), ("F", Decimal(0)))),
        submission(ANN, submission_id=5, attempt=1, submitted_at=DAY1, score=Decimal("1.50"), grade="1.5"),
        submission(ANN, excused=True, posted_at=DAY2, anonymous_id="abcDE"),
        submission(ANN, excused=None, score=None),
        comment(ANN),
        comment(ANN, at=DAY1),
    ],
)
def test_a_fact_stated_again_changes_nothing_even_after_a_restart(fact: asked.Data) -> None:
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
    assert getattr(event, "stated", None) == {"posted_at": DAY2}


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
    assert not course.may(TA1, "manage_grades")
    assert course.may(TA1, "view_all_grades")
    memory.enroll(TA1, "Ta", permissions=None)
    assert course.may(TA1, "manage_grades")
    memory.enroll(STRANGER, "Designer", permissions={"manage_grades": True})
    assert course.may(STRANGER, "manage_grades")


@pytest.mark.parametrize("graded", [True, False])
def test_moderation_is_not_switched_while_grades_exist(graded: bool) -> None:
    memory = office()
    memory.comment(TA1, ANN)
    if graded:
        memory.accept(submission(ANN, score=Decimal(5), grade="5"))
    else:
        memory.grade(TA1, ANN, 5)
    refused = memory.ask(asked.ConfigureAssignment(stated={"moderated_grading": False}))
    assert isinstance(refused, Rejected)
    assert refused.reason == "moderation_locked"
    assert refused.message == "Moderated grading setting cannot be changed if graded submissions exist"
    assert memory.configure(moderated_grading=True, grader_count=3).events != ()


def test_moderation_is_switched_while_there_are_comments_only() -> None:
    memory = office()
    memory.comment(TA1, ANN)
    memory.configure(moderated_grading=False)


def test_without_moderation_its_settings_are_at_their_defaults() -> None:
    settings = {
        "final_grader_id": TEACHER,
        "grader_count": 3,
        "graders_anonymous_to_graders": True,
        "grader_names_visible_to_final_grader": False,
        "grader_comments_visible_to_graders": False,
    }
    memory = office(**settings)
    (event,) = memory.configure(moderated_grading=False).events
    assert to_payload(event) == {
        "moderated_grading": [True, False],
        "final_grader_id": [str(TEACHER), None],
        "grader_count": [3, 0],
        "graders_anonymous_to_graders": [True, False],
        "grader_names_visible_to_final_grader": [False, True],
        "grader_comments_visible_to_graders": [False, True],
    }
    assert memory.configure(**settings).events == ()
    never = office(moderated_grading=False, **settings)
    assert {name: never.document()["settings"][name] for name in settings} == {
        "final_grader_id": None,
        "grader_count": 0,
        "graders_anonymous_to_graders": False,
        "grader_names_visible_to_final_grader": True,
        "grader_comments_visible_to_graders": True,
    }


@pytest.mark.parametrize(
    ("before", "switched_on"),
    [
        ({"moderated_grading": False}, {"moderated_grading": True, "final_grader_id": TEACHER, "grader_count": 2}),
        ({}, {"anonymous_grading": True}),
    ],
)
def test_all_that_canvas_tracks_is_told_when_moderation_or_anonymity_is_switched_on(
    before: dict[str, Any], switched_on: dict[str, Any]
) -> None:
    memory = office(final_grader_id=TEACHER, grader_count=2, **before)
    (event,) = memory.configure(**switched_on).events
    old = {"moderated_grading": True, "anonymous_grading": False, "grader_count": 2, "final_grader_id": str(TEACHER)}
    old |= {"grader_count": 0, "final_grader_id": None} if before else {}
    assert to_payload(event) == {
        "points_possible": [10, 10],
        "anonymous_grading": [False, "anonymous_grading" in switched_on],
        "moderated_grading": [bool(not before), True],
        "final_grader_id": [old["final_grader_id"], str(TEACHER)],
        "grader_count": [old["grader_count"], 2],
        "grader_names_visible_to_final_grader": [True, True],
        "grader_comments_visible_to_graders": [True, True],
        "graders_anonymous_to_graders": [False, False],
    }
    (later,) = memory.configure(grader_count=5).events
    assert to_payload(later) == {"grader_count": [2, 5]}


def test_two_students_never_have_one_submission_id() -> None:
    memory = office()
    memory.accept(submission(ANN, submission_id=777))
    refused = memory.ask(submission(CAT, submission_id=777))
    assert isinstance(refused, Rejected)
    assert refused.errors[0][0] == "data.submission_id"
    memory.accept(submission(ANN, submission_id=778))
    memory.accept(submission(CAT, submission_id=777))
    # What the LMS says comes before what was drawn: whose id that was draws another one.
    drawn = memory.gradebook(BEN)["submission_id"]
    memory.accept(submission(ANN, submission_id=drawn))
    ids = {student: memory.gradebook(student)["submission_id"] for student in (ANN, BEN, CAT)}
    assert (ids[ANN], ids[CAT], len({*ids.values()})) == (drawn, 777, 3)
    assert memory.read_again().document() == memory.document()


def test_a_submission_id_that_grades_were_published_under_stays_its_students() -> None:
    memory = office()
    memory.grade(TA1, BEN, 5)
    published = memory.gradebook(BEN)["submission_id"]
    memory.publish()
    assert memory.refuse(submission(ANN, submission_id=published)) == "invalid_command"
    assert memory.gradebook(BEN)["submission_id"] == published
    memory.accept(submission(BEN, submission_id=published))
    memory.accept(submission(ANN, submission_id=published + 1_000))


def test_a_comment_of_another_time_or_text_is_another_comment() -> None:
    memory = office()
    for fact in (comment(ANN, at=DAY1), comment(ANN, at=DAY2), comment(ANN, "again", DAY1), comment(BEN, at=DAY1)):
        assert names(memory.accept(fact)) == ["submission_comment_recorded"]
    assert memory.accept(comment(ANN)).events == ()


def test_the_copies_that_publication_made_are_known_when_the_lms_states_them() -> None:
    memory = office()
    memory.grade(TA1, ANN, 5, comment="well")
    memory.publish()
    stated = asked.RecordSubmissionComment(student_id=ANN, author_id=TA1, comment="well", created_at=None)
    assert memory.accept(stated).events == ()


@pytest.mark.parametrize(
    ("facts", "state", "matches"),
    [
        ([], "unsubmitted", True),
        ([{"attempt": 1, "submitted_at": DAY1}], "submitted", True),
        ([{"score": Decimal(5), "grade": "5"}], "graded", True),
        ([{"submitted_at": DAY2, "score": Decimal(5), "graded_at": DAY3}], "graded", True),
        ([{"submitted_at": DAY3, "score": Decimal(5), "graded_at": DAY2}], "submitted", False),
        ([{"score": Decimal(5)}, {"submitted_at": DAY2, "attempt": 2}], "submitted", False),
        ([{"score": Decimal(5), "graded_at": DAY1}, {"submitted_at": DAY2}], "submitted", False),
        ([{"score": Decimal(5), "graded_at": DAY2}, {"submitted_at": DAY1}], "graded", True),
        ([{"score": Decimal(5), "graded_at": DAY1}, {"submitted_at": DAY2}, {"graded_at": DAY3}], "graded", True),
        ([{"score": Decimal(5), "graded_at": DAY1}, {"submitted_at": DAY2}, {"score": Decimal(6)}], "graded", True),
        ([{"score": Decimal(5), "submitted_at": DAY1}, {"score": None}], "submitted", True),
        ([{"score": Decimal(5)}, {"posted_at": DAY1}], "graded", True),
    ],
)
def test_the_state_of_a_submission_follows_its_work_and_its_grade(
    facts: list[dict[str, Any]], state: str, matches: bool
) -> None:
    memory = office()
    for stated in facts:
        memory.accept(submission(ANN, **stated))
    row = memory.gradebook(ANN)
    assert (row["workflow_state"], row["grade_matches_current_submission"]) == (state, matches)


def test_a_stated_submission_id_stands_until_it_is_cleared() -> None:
    memory = office()
    drawn = memory.gradebook(ANN)["submission_id"]
    (event,) = memory.accept(submission(ANN, submission_id=777)).events
    assert getattr(event, "submission_id", None) == 777
    assert memory.gradebook(ANN)["submission_id"] == 777
    memory.accept(submission(ANN, submission_id=None))
    assert memory.gradebook(ANN)["submission_id"] == drawn


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
