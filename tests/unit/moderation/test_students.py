"""Who is a student of an assignment: assigned students, Canvas's Test Student, pending enrolments."""

from decimal import Decimal

import pytest

from schemas.reasons import REASONS
from services.agreement.ratings import collect_ratings
from services.moderation import commands
from services.moderation.decisions import Rejected
from tests.fixtures.in_memory_course import (
    ANN,
    BEN,
    CAT,
    COURSE,
    ESSAY,
    FINAL_GRADER,
    TA1,
    InMemoryCourse,
    event_names,
    moderated_course,
)
from tests.unit.moderation.lms_fact_builders import DAY1, submission_fact
from tests.unit.moderation.view_helpers import view_as

Grade = commands.RecordProvisionalGrade
Comment = commands.RecordProvisionalComment
TEST_STUDENT = 34


@pytest.mark.parametrize(
    "data",
    [Grade(student_id=ANN, score=Decimal(3)), Grade(student_id=ANN, excuse=True), Comment(student_id=ANN, comment="x")],
)
@pytest.mark.parametrize("actor", [TA1, FINAL_GRADER])
def test_student_without_the_assignment_is_not_graded(data: commands.CommandData, actor: int) -> None:
    memory = moderated_course(assigned_to=[BEN])
    before = memory.snapshot()
    refused = memory.submit(data, actor)
    assert isinstance(refused, Rejected)
    assert refused.reason == "not_assigned"
    assert REASONS["not_assigned"].http_status == 403
    assert memory.snapshot() == before
    memory.configure(assigned_to=[ANN])
    memory.expect_accepted(data, FINAL_GRADER)


def test_refusals_before_the_assignment_come_first() -> None:
    memory = moderated_course(assigned_to=[BEN])
    grade = Grade(student_id=ANN, score=Decimal(3))
    assert memory.expect_rejection(grade, CAT) == "unauthorized"
    memory.enroll(ANN, "Student", "completed")
    assert memory.expect_rejection(grade, TA1) == "student_not_enrolled"
    assert memory.expect_rejection(Grade(student_id=CAT, score=Decimal(3), excuse=True), TA1) == "not_assigned"


def test_submission_of_an_unassigned_student_is_not_found() -> None:
    memory = moderated_course()
    memory.grade(TA1, ANN, 5)
    memory.configure(assigned_to=[BEN])
    view = view_as(memory, FINAL_GRADER)
    for shown in (view.provisional_grade_status(ANN, None), view.submission_json(ANN, ())):
        assert isinstance(shown, Rejected)
        assert shown.reason == "not_found"


def course_with_test_student() -> InMemoryCourse:
    memory = moderated_course()
    memory.enroll(TEST_STUDENT, "StudentView")
    return memory


def test_test_student_is_graded_and_published_without_a_grade_change() -> None:
    memory = course_with_test_student()
    assert TEST_STUDENT in memory.selections()
    memory.expect_accepted(submission_fact(TEST_STUDENT, attempt=1, submitted_at=DAY1))
    memory.grade(TA1, TEST_STUDENT, 8)
    memory.grade(TA1, ANN, 7)
    done = memory.publish()
    assert event_names(done) == ["grade_published", "grade_published", "grades_posted"]
    assert memory.get_submission(TEST_STUDENT)["score"] == 8
    assert [change["student_id"] for change in memory.told(done)] == [ANN]
    posted = memory.expect_accepted(commands.PostGrades(student_ids=None, posted_at=None))
    hidden = memory.expect_accepted(commands.HideGrades(student_ids=None))
    excused = memory.expect_accepted(Grade(student_id=TEST_STUDENT, excuse=True), FINAL_GRADER)
    assert [[change["student_id"] for change in memory.told(d)] for d in (posted, hidden, excused)] == [
        [ANN],
        [ANN],
        [],
    ]


def test_test_student_who_is_also_a_student_has_grade_changes() -> None:
    memory = course_with_test_student()
    memory.enroll(TEST_STUDENT, "Student")
    memory.grade(TA1, TEST_STUDENT, 8)
    assert [change["student_id"] for change in memory.told(memory.publish())] == [TEST_STUDENT]


def test_test_student_does_not_count_in_agreement() -> None:
    memory = course_with_test_student()
    memory.grade(TA1, TEST_STUDENT, 8)
    memory.grade(TA1, ANN, 7)
    ratings = collect_ratings(memory.courses[COURSE], memory.assignments[ESSAY])
    assert [submission.ratings[TA1].score for submission in ratings.submissions] == [7]


def test_enrollment_in_state_creation_pending_counts_as_invited() -> None:
    memory = moderated_course()
    memory.enroll(35, "Student", "creation_pending")
    assert 35 in memory.selections()
    assert memory.expect_rejection(Grade(student_id=35, score=Decimal(3)), TA1) == "student_not_enrolled"
    memory.enroll(ANN, "Student", "creation_pending")
    assert memory.selections()[ANN] is None
