"""Grades whose points, type or scheme changed later: every text shown or published is the current one."""

from decimal import Decimal
from typing import Any

import orjson
import pytest

from services.agreement.ratings import collect_ratings
from services.gateway.state_document_cache import StateDocumentCache
from services.moderation import commands
from services.moderation.events import GradePublished, SubmissionHidden, SubmissionPosted
from tests.fixtures.in_memory_course import ANN, BEN, COURSE, ESSAY, FINAL_GRADER, TA1, InMemoryCourse, moderated_course
from tests.unit.moderation.lms_fact_builders import submission_fact
from tests.unit.moderation.view_helpers import view_submission

Grade = commands.RecordProvisionalGrade
PASS_OR_FAIL = (("Pass", Decimal("0.5")), ("Fail", Decimal(0)))


def course_of(grading_type: str, points: int | None, **settings: Any) -> InMemoryCourse:
    points_possible = None if points is None else Decimal(points)
    return moderated_course(grading_type=grading_type, points_possible=points_possible, **settings)


def published(memory: InMemoryCourse, student: int = ANN) -> GradePublished:
    events = [event for event in memory.publish().events if isinstance(event, GradePublished)]
    return next(event for event in events if event.student_id == student)


def scores_and_grades(rows: list[dict[str, Any]]) -> list[tuple[Any, Any]]:
    return [(row["score"], row["grade"]) for row in rows]


def assert_all_show(memory: InMemoryCourse, score: Any, text: str) -> None:
    """Assert that state document, its cached form and Canvas's views show the grades that are then published."""
    document = memory.document()
    assert scores_and_grades(document["provisional_grades"]) == [(score, text)]
    rows = view_submission(memory, FINAL_GRADER)["provisional_grades"]
    assert scores_and_grades(rows) == [(score, text)]
    event = published(memory)
    assert (event.score[1], event.grade[1]) == (score, text)
    row = memory.get_submission(ANN)
    assert (row["score"], row["grade"]) == (score, text)


@pytest.mark.parametrize(
    ("grading_type", "points", "score", "changed", "text"),
    [
        ("letter_grade", 100, "85", {"points_possible": Decimal(200)}, "F"),
        ("percent", 100, "85", {"points_possible": Decimal(50)}, "170%"),
        ("percent", 100, "85", {"points_possible": None}, "85%"),
        ("points", 10, "8.5", {"grading_type": "letter_grade"}, "B"),
        ("points", 10, "3", {"grading_type": "percent"}, "30%"),
        ("percent", 10, "3.5", {"grading_type": "points"}, "3.5"),
        ("letter_grade", 100, "85", {"grading_scheme": PASS_OR_FAIL}, "Pass"),
        ("gpa_scale", 100, "40", {"grading_scheme": PASS_OR_FAIL}, "Fail"),
        ("letter_grade", 100, "85", {"points_possible": Decimal(0)}, "B"),
        ("points", 10, "8.5", {"grading_type": "pass_fail"}, "complete"),
        ("points", 10, "0", {"grading_type": "pass_fail"}, "incomplete"),
        ("points", None, "8.5", {"grading_type": "pass_fail"}, "complete"),
        ("letter_grade", 100, "85", {"grading_type": "not_graded"}, "85"),
    ],
)
def test_published_text_follows_the_score_under_the_current_settings(
    grading_type: str, points: int | None, score: str, changed: dict[str, Any], text: str
) -> None:
    memory = course_of(grading_type, points)
    memory.grade(TA1, ANN, score)
    memory.configure(**changed)
    assert_all_show(memory, float(score), text)


def test_published_text_follows_the_course_scheme() -> None:
    memory = course_of("letter_grade", 100)
    memory.grade(TA1, ANN, 85)
    memory.expect_accepted(commands.UpsertCourse(fields={"grading_scheme": PASS_OR_FAIL}))
    assert_all_show(memory, 85, "Pass")


def test_course_scheme_is_ignored_if_the_assignment_has_its_own() -> None:
    memory = course_of("letter_grade", 100, grading_scheme=(("High", Decimal("0.8")), ("Low", Decimal(0))))
    memory.grade(TA1, ANN, 85)
    memory.expect_accepted(commands.UpsertCourse(fields={"grading_scheme": PASS_OR_FAIL}))
    assert_all_show(memory, 85, "High")


@pytest.mark.parametrize(
    ("points", "word", "new_points", "score"),
    [
        (None, "complete", 10, 10),
        (10, "complete", 20, 20),
        (10, "complete", None, 0),
        (10, "pass", 0, 0),
        (None, "incomplete", 10, 0),
        (10, "incomplete", 20, 0),
    ],
)
def test_pass_fail_word_is_kept_and_its_score_follows_the_points(
    points: int | None, word: str, new_points: int | None, score: int
) -> None:
    memory = course_of("pass_fail", points)
    memory.grade(TA1, ANN, posted_grade=word)
    memory.configure(points_possible=None if new_points is None else Decimal(new_points))
    assert_all_show(memory, score, "incomplete" if word == "incomplete" else "complete")


def test_score_on_pass_fail_is_published_as_given_while_nothing_changed() -> None:
    memory = course_of("pass_fail", 10)
    memory.grade(TA1, ANN, 5)
    assert_all_show(memory, 5, "complete")


def test_grade_given_after_the_change_is_published_as_given() -> None:
    memory = course_of("letter_grade", 100)
    memory.configure(points_possible=Decimal(200))
    memory.grade(TA1, ANN, 170)
    memory.configure(name="Renamed")
    assert_all_show(memory, 170, "B")


def test_regrading_saves_the_current_text() -> None:
    memory = course_of("letter_grade", 100)
    memory.grade(TA1, ANN, 85)
    memory.configure(points_possible=Decimal(200))
    answer = memory.expect_accepted(commands.RecordProvisionalComment(student_id=ANN, comment="well"), TA1).result
    assert (answer["score"], answer["grade"]) == (85, "F")
    again = memory.expect_accepted(Grade(student_id=ANN, score=Decimal(85)), TA1).events[0]
    assert getattr(again, "changes", {})["grade"] == ("B", "F")


def test_old_grade_is_the_gradebook_grade_under_the_current_settings() -> None:
    memory = course_of("letter_grade", 100)
    memory.expect_accepted(submission_fact(ANN, score=Decimal(70), grade="C-"))
    memory.expect_accepted(submission_fact(BEN, score=Decimal(85), grade="B"))
    memory.grade(TA1, ANN, 150)
    memory.grade(TA1, BEN, 85)
    memory.configure(points_possible=Decimal(200))
    done = memory.publish()
    events = {event.student_id: event for event in done.events if isinstance(event, GradePublished)}
    assert events[ANN].grade == ("F", "C")
    assert events[BEN].grade == ("F", "F")
    assert [change["student_id"] for change in memory.told(done)] == [ANN]


def test_posting_and_hiding_repeat_the_current_text() -> None:
    memory = course_of("letter_grade", 100)
    memory.grade(TA1, ANN, 85)
    memory.publish()
    memory.configure(points_possible=Decimal(200))
    assert (memory.get_submission(ANN)["score"], memory.get_submission(ANN)["grade"]) == (85, "F")
    (posted,) = memory.expect_accepted(commands.PostGrades(student_ids=(ANN,), posted_at=None)).events
    assert isinstance(posted, SubmissionPosted)
    assert posted.grade == "F"
    assert view_submission(memory, ANN)["grade"] == "F"
    memory.configure(points_possible=Decimal(100))
    (hidden,) = memory.expect_accepted(commands.HideGrades(student_ids=(ANN,))).events
    assert isinstance(hidden, SubmissionHidden)
    assert hidden.grade == "B"


def test_grade_stated_by_the_lms_after_the_change_is_kept() -> None:
    memory = course_of("letter_grade", 100)
    stated = submission_fact(ANN, score=Decimal(85), grade="B")
    memory.expect_accepted(stated)
    memory.configure(points_possible=Decimal(200))
    assert memory.get_submission(ANN)["grade"] == "F"
    assert memory.expect_accepted(submission_fact(ANN, score=Decimal(85), grade="F")).events == ()
    assert len(memory.expect_accepted(stated).events) == 1
    assert memory.expect_accepted(stated).events == ()
    assert memory.get_submission(ANN)["grade"] == "B"
    assert memory.replay().snapshot() == memory.snapshot()


def test_lms_stating_only_score_or_text_keeps_the_current_value_of_the_other() -> None:
    memory = course_of("pass_fail", 10)
    memory.expect_accepted(submission_fact(ANN, score=Decimal(10), grade="complete"))
    memory.configure(points_possible=Decimal(20))
    memory.expect_accepted(submission_fact(ANN, grade="excellent"))
    assert scores_and_grades([memory.get_submission(ANN)]) == [(20, "excellent")]


def test_grades_without_a_score_or_of_another_attempt_are_not_derived_again() -> None:
    memory = course_of("letter_grade", 100)
    memory.expect_accepted(submission_fact(ANN, grade="B"))
    memory.expect_accepted(submission_fact(BEN, score=Decimal(85), grade="B", attempt=1))
    memory.expect_accepted(submission_fact(BEN, attempt=2))
    memory.assignments[ESSAY].submission(BEN).workflow_state = "submitted"
    memory.configure(points_possible=Decimal(200))
    assert [memory.get_submission(student)["grade"] for student in (ANN, BEN)] == ["B", "B"]


def test_agreement_compares_the_current_grades() -> None:
    memory = course_of("pass_fail", None)
    memory.grade(TA1, ANN, posted_grade="complete")
    memory.configure(points_possible=Decimal(10))
    ratings = collect_ratings(memory.courses[COURSE], memory.assignments[ESSAY])
    assert ratings.submissions[0].ratings[TA1].score == 10
    memory = course_of("points", 10)
    memory.grade(TA1, ANN, posted_grade="8.5")
    memory.configure(grading_type="letter_grade", grading_scheme=(("8.5", Decimal("0.9")), ("B", Decimal(0))))
    ratings = collect_ratings(memory.courses[COURSE], memory.assignments[ESSAY])
    assert ratings.submissions[0].ratings[TA1].category_index == 0


def test_cached_state_document_follows_the_settings() -> None:
    memory, cache = course_of("letter_grade", 100), StateDocumentCache()
    memory.grade(TA1, ANN, 85)

    def cached_document() -> bytes:
        return orjson.dumps(cache.get_document(memory.courses[COURSE], memory.assignments[ESSAY]))

    assert cached_document() == orjson.dumps(memory.document())
    memory.expect_accepted(commands.UpsertCourse(fields={"grading_scheme": PASS_OR_FAIL}))
    assert cached_document() == orjson.dumps(memory.document())
