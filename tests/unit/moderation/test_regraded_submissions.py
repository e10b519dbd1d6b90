"""Grades of the gradebook through several changes of points, type and scheme, as Canvas saves them at each one.

These cases were found by random histories against the reference model, and shrunk.
"""

from decimal import Decimal
from typing import Any

from services.moderation import commands
from tests.fixtures.in_memory_course import ANN, FINAL_GRADER, TA1, InMemoryCourse, moderated_course
from tests.unit.moderation.lms_fact_builders import DAY1, DAY2, DAY3, submission_fact
from tests.unit.moderation.test_late_publication import late_course

MERIT = (("Merit", Decimal("0.75")), ("Pass", Decimal(0)))
HALF = (("Upper", Decimal("0.5")), ("Lower", Decimal(0)))


def graded_course(score: int, grade: str, **settings: Any) -> InMemoryCourse:
    """Build a course in which Ann's work of day one was graded in the LMS on day two."""
    memory = moderated_course(**settings)
    stated = {"score": Decimal(score), "grade": grade, "submitted_at": DAY1, "graded_at": DAY2}
    memory.expect_accepted(submission_fact(ANN, **stated))
    return memory


def gradebook(memory: InMemoryCourse) -> tuple[Any, ...]:
    assert memory.replay().snapshot() == memory.snapshot()
    row = memory.get_submission(ANN)
    return row["score"], row["grade"], row["workflow_state"]


def test_resubmission_keeps_the_text_derived_at_the_change() -> None:
    memory = graded_course(8, "8")
    memory.configure(grading_type="percent")
    memory.expect_accepted(submission_fact(ANN, submitted_at=DAY3, attempt=2))
    assert gradebook(memory) == (8, "80%", "submitted")
    memory.configure(points_possible=Decimal(20))
    assert gradebook(memory) == (8, "80%", "submitted")
    memory.expect_accepted(submission_fact(ANN, graded_at=DAY3))
    assert gradebook(memory) == (8, "80%", "graded")
    memory.configure(points_possible=Decimal(16))
    assert gradebook(memory) == (8, "50%", "graded")


def test_lifted_excusal_keeps_the_text_derived_at_the_change() -> None:
    memory = graded_course(8, "8")
    memory.expect_accepted(submission_fact(ANN, excused=True))
    memory.configure(grading_type="percent")
    memory.grade(FINAL_GRADER, ANN, 5)
    assert gradebook(memory) == (8, "80%", "graded")


def test_excusal_of_a_resubmission_derives_the_text_at_changes_until_it_ends() -> None:
    memory = graded_course(8, "8")
    memory.expect_accepted(submission_fact(ANN, submitted_at=DAY3, attempt=2))
    memory.configure(points_possible=Decimal(16))
    memory.expect_accepted(submission_fact(ANN, excused=True))
    memory.configure(grading_type="percent")
    assert gradebook(memory) == (8, "50%", "graded")
    memory.expect_accepted(submission_fact(ANN, excused=False))
    memory.configure(points_possible=Decimal(20))
    assert gradebook(memory) == (8, "50%", "submitted")


def test_word_removed_by_a_change_does_not_return() -> None:
    memory = graded_course(10, "complete", grading_type="pass_fail")
    memory.configure(grading_type="points")
    assert gradebook(memory) == (10, "10", "graded")
    memory.configure(points_possible=Decimal(20))
    memory.configure(grading_type="pass_fail")
    assert gradebook(memory) == (10, "complete", "graded")
    memory.configure(points_possible=Decimal(30))
    assert gradebook(memory) == (30, "complete", "graded")


def test_change_derives_the_text_from_the_course_scheme_at_that_time() -> None:
    memory = graded_course(6, "6")
    memory.expect_accepted(commands.UpsertCourse(fields={"grading_scheme": MERIT}))
    memory.configure(grading_type="letter_grade")
    memory.expect_accepted(commands.UpsertCourse(fields={"grading_scheme": HALF}))
    assert gradebook(memory) == (6, "Pass", "graded")
    memory.configure(points_possible=Decimal(11))
    assert gradebook(memory) == (6, "Upper", "graded")


def test_text_stated_after_a_change_keeps_the_deduction() -> None:
    memory = late_course()
    memory.grade(TA1, ANN, 700)
    memory.publish()
    memory.configure(grading_type="percent")
    memory.expect_accepted(submission_fact(ANN, grade="40.0%"))
    row = memory.get_submission(ANN)
    assert (row["entered_score"], row["points_deducted"], row["score"], row["grade"]) == (700, 300, 400, "40.0%")
