"""Late policies at publication: the published grade, the views and the grade_change of a late submission."""

from decimal import Decimal
from typing import Any

import pytest

from services.moderation import commands
from services.moderation.events import Event, GradePublished
from tests.fixtures.in_memory_course import ANN, FINAL_GRADER, TA1, InMemoryCourse, moderated_course
from tests.unit.moderation.lms_fact_builders import DAY1, DAY2, submission_fact
from tests.unit.moderation.view_helpers import view_submission

HOUR, DAY = 3_600, 86_400


def state_policy(memory: InMemoryCourse, deduct: str, every: str = "day", down_to: str | None = None) -> None:
    policy: dict[str, Any] = {
        "late_submission_deduction_enabled": True,
        "late_submission_deduction": Decimal(deduct),
        "late_submission_interval": every,
        "late_submission_minimum_percent_enabled": down_to is not None,
        "late_submission_minimum_percent": Decimal(down_to or 0),
    }
    memory.expect_accepted(commands.UpsertCourse(fields={"late_policy": policy}))


def late_course(
    seconds_late: int = 3 * HOUR,
    status: str | None = None,
    grading_type: str = "points",
    points: str | None = "1000",
    **facts: Any,
) -> InMemoryCourse:
    """Build a course that deducts ten percent per hour, in which Ann's work is late."""
    memory = moderated_course(grading_type=grading_type, points_possible=None if points is None else Decimal(points))
    state_policy(memory, "10", "hour")
    stated = {"submitted_at": DAY1, "attempt": 1, "seconds_late": seconds_late, "late_policy_status": status, **facts}
    memory.expect_accepted(submission_fact(ANN, **stated))
    return memory


def publish(memory: InMemoryCourse, student: int = ANN) -> GradePublished:
    events = [event for event in memory.publish().events if isinstance(event, GradePublished)]
    assert memory.replay().snapshot() == memory.snapshot()
    return next(event for event in events if event.student_id == student)


def figures(event: Event) -> tuple[Any, ...]:
    """Return entered score, points deducted, published score and text."""
    assert isinstance(event, GradePublished)
    return event.entered_score, event.points_deducted, event.score[1], event.grade[1]


def shown(memory: InMemoryCourse, user: int = FINAL_GRADER) -> dict[str, Any]:
    body = view_submission(memory, user)
    names = ("entered_score", "entered_grade", "points_deducted", "score", "grade", "late", "missing", "seconds_late")
    return {name: body[name] for name in (*names, "late_policy_status")}


@pytest.mark.parametrize(
    ("facts", "score", "expected"),
    [
        pytest.param({}, 700, (700, 300, 400, "400"), id="a percentage per interval late"),
        pytest.param({"seconds_late": 0}, 700, (700, None, 700, "700"), id="in time"),
        pytest.param({"seconds_late": 0, "status": "late"}, 700, (700, 0, 700, "700"), id="late by no second"),
        pytest.param({"seconds_late": 4 * HOUR, "status": "late"}, 700, (700, 400, 300, "300"), id="marked late"),
        pytest.param({"status": "missing"}, 700, (700, None, 700, "700"), id="marked missing"),
        pytest.param({"status": "extended"}, 700, (700, None, 700, "700"), id="extended"),
        pytest.param({"status": "none"}, 700, (700, None, 700, "700"), id="marked as nothing"),
        pytest.param({"excused": True}, 700, (700, None, 700, "700"), id="excused work is never late"),
        pytest.param({"submitted_at": None, "attempt": None}, 700, (700, None, 700, "700"), id="not handed in"),
        pytest.param(
            {"submitted_at": None, "attempt": None, "status": "late"}, 700, (700, 300, 400, "400"),
            id="not handed in and marked late",
        ),
        pytest.param({}, 200, (200, 200, 0, "0"), id="the score is the most that can be lost"),
        pytest.param({}, 1200, (1200, 300, 900, "900"), id="extra credit"),
        pytest.param({}, -5, (-5, 0, -5, "-5"), id="a negative score"),
        pytest.param({"points": "0"}, 5, (5, 0, 5, "5"), id="worth no points"),
        pytest.param({"points": None}, 5, (5, 0, 5, "5"), id="without points"),
        pytest.param({"points": "10", "grading_type": "percent"}, 8, (8, 3, 5, "50%"), id="percent"),
        pytest.param({"points": "100", "grading_type": "letter_grade"}, 95, (95, 30, 65, "D"), id="letter grade"),
        pytest.param({"points": "100", "grading_type": "gpa_scale"}, 95, (95, 30, 65, "D"), id="gpa scale"),
        pytest.param({"points": "10", "grading_type": "pass_fail"}, 10, (10, 0, 10, "complete"), id="pass or fail"),
        pytest.param(
            {"points": "1", "seconds_late": 12 * HOUR}, "0.555", (Decimal("0.56"), Decimal("0.56"), 0, "0"),
            id="all of a score with three decimals",
        ),
    ],
)  # fmt: skip
def test_published_grade_of_a_submission(facts: dict[str, Any], score: int | str, expected: tuple[Any, ...]) -> None:
    memory = late_course(**facts)
    number = memory.grade(TA1, ANN, score)
    assert memory.get_provisional_grade(number)["score"] == float(score)
    assert figures(publish(memory)) == expected
    row = memory.get_submission(ANN)
    assert (row["entered_score"], row["points_deducted"], row["score"], row["grade"]) == tuple(
        float(value) if isinstance(value, Decimal) else value for value in expected
    )


def test_canvas_views_show_entered_score_and_points_deducted() -> None:
    memory = late_course(status="late")
    memory.grade(TA1, ANN, 700)
    publish(memory)
    assert shown(memory) == {
        "entered_score": 700, "entered_grade": "700", "points_deducted": 300, "score": 400, "grade": "400",
        "late": True, "missing": False, "seconds_late": 3 * HOUR, "late_policy_status": "late",
    }  # fmt: skip


def test_students_see_the_deduction_with_the_grade() -> None:
    memory = late_course()
    memory.grade(TA1, ANN, 700)
    publish(memory)
    body = shown(memory, ANN)
    assert (body["points_deducted"], body["entered_score"], body["late"]) == (None, None, True)
    memory.expect_accepted(commands.PostGrades(student_ids=None, posted_at=None))
    body = shown(memory, ANN)
    assert (body["points_deducted"], body["entered_score"], body["score"]) == (300, 700, 400)


@pytest.mark.parametrize(
    ("facts", "late", "missing"),
    [
        ({}, True, False),
        ({"seconds_late": 0}, False, False),
        ({"submitted_at": None, "attempt": None}, False, True),
        ({"submitted_at": None, "attempt": None, "seconds_late": 0}, False, False),
        ({"submitted_at": None, "attempt": None, "grader_id": TA1}, False, False),
        ({"status": "missing", "grader_id": TA1}, False, True),
        ({"status": "missing", "excused": True}, False, False),
        ({"status": "late", "excused": True}, False, False),
        ({"status": "extended"}, False, False),
        ({"status": "none"}, False, False),
        ({"submitted_at": None, "status": "none", "attempt": None}, False, False),
        ({"submitted_at": None}, True, False),
    ],
)
def test_late_and_missing_are_derived_as_in_canvas(facts: dict[str, Any], late: bool, missing: bool) -> None:
    body = shown(late_course(**facts))
    assert (body["late"], body["missing"]) == (late, missing)


def test_submission_without_stated_lateness_is_in_time() -> None:
    body = shown(moderated_course())
    assert (body["late"], body["missing"], body["seconds_late"], body["late_policy_status"]) == (False, False, 0, None)


def test_nothing_is_deducted_without_a_policy() -> None:
    memory = moderated_course()
    memory.expect_accepted(submission_fact(ANN, submitted_at=DAY1, seconds_late=DAY))
    memory.grade(TA1, ANN, 7)
    assert figures(publish(memory)) == (7, 0, 7, "7")


def test_deduction_stops_at_the_minimum_percent() -> None:
    memory = late_course(seconds_late=9 * HOUR)
    state_policy(memory, "10", "hour", down_to="40")
    memory.grade(TA1, ANN, 1000)
    assert figures(publish(memory)) == (1000, 600, 400, "400")


def test_policy_and_lateness_at_publication_count() -> None:
    memory = late_course(seconds_late=HOUR)
    memory.grade(TA1, ANN, 700)
    state_policy(memory, "5", "hour")
    memory.expect_accepted(submission_fact(ANN, seconds_late=2 * HOUR))
    assert figures(publish(memory)) == (700, 100, 600, "600")


def test_grade_change_carries_the_score_after_the_deduction() -> None:
    memory = late_course()
    memory.grade(TA1, ANN, 700)
    (change,) = memory.told(memory.publish())
    assert (change["score"], change["grade"], change["old_score"]) == (400, "400", None)


def test_grade_that_equals_the_old_one_after_the_deduction_emits_no_grade_change() -> None:
    memory = late_course()
    memory.expect_accepted(submission_fact(ANN, score=Decimal(400), grade="400", graded_at=DAY2))
    memory.grade(TA1, ANN, 700)
    published = memory.publish()
    assert figures(published.events[0]) == (700, 300, 400, "400")
    assert memory.told(published) == []


def test_points_are_deducted_even_if_the_gradebook_already_has_the_entered_score() -> None:
    memory = late_course()
    memory.expect_accepted(submission_fact(ANN, score=Decimal(400), grade="400", graded_at=DAY2))
    memory.grade(TA1, ANN, 400)
    assert figures(publish(memory)) == (400, 300, 100, "100")


def test_blank_grade_has_nothing_to_deduct_from() -> None:
    memory = late_course()
    memory.comment(TA1, ANN)
    assert figures(publish(memory)) == (None, None, None, None)
    memory = late_course(score=Decimal(700), grade="700", graded_at=DAY2)
    memory.comment(TA1, ANN)
    assert figures(publish(memory)) == (None, 0, None, None)


def test_facts_after_the_publication_change_no_published_grade() -> None:
    memory = late_course()
    memory.grade(TA1, ANN, 700)
    publish(memory)
    before = memory.get_submission(ANN)
    state_policy(memory, "100", "hour")
    memory.expect_accepted(commands.UpsertCourse(fields={"late_policy": None}))
    memory.expect_accepted(submission_fact(ANN, seconds_late=DAY, late_policy_status="none"))
    row = memory.get_submission(ANN)
    changed = {"seconds_late": DAY, "late_policy_status": "none", "updated_at": row["updated_at"]}
    assert row == {**before, **changed}


def test_lms_repeating_the_published_grade_changes_nothing_and_another_score_ends_the_deduction() -> None:
    memory = late_course()
    memory.grade(TA1, ANN, 700)
    publish(memory)
    assert memory.expect_accepted(submission_fact(ANN, score=Decimal(400), grade="400")).events == ()
    memory.expect_accepted(submission_fact(ANN, score=Decimal(700), grade="700"))
    row = memory.get_submission(ANN)
    assert (row["score"], row["entered_score"], row["points_deducted"]) == (700, 700, None)
    assert memory.replay().snapshot() == memory.snapshot()


def test_excusal_after_the_publication_ends_the_deduction() -> None:
    memory = late_course()
    memory.grade(TA1, ANN, 700)
    publish(memory)
    memory.expect_accepted(commands.RecordProvisionalGrade(student_id=ANN, excuse=True), FINAL_GRADER)
    row = memory.get_submission(ANN)
    assert (row["excused"], row["score"], row["entered_score"], row["points_deducted"]) == (True, None, None, None)
    assert memory.replay().snapshot() == memory.snapshot()


def test_entered_text_follows_the_current_settings() -> None:
    memory = late_course(points="100", grading_type="letter_grade")
    memory.grade(TA1, ANN, 95)
    publish(memory)
    assert (memory.get_submission(ANN)["entered_grade"], memory.get_submission(ANN)["grade"]) == ("A", "D")
    memory.configure(points_possible=Decimal(200))
    assert (memory.get_submission(ANN)["entered_grade"], memory.get_submission(ANN)["grade"]) == ("F", "F")
    memory.configure(points_possible=Decimal(95))
    row = memory.get_submission(ANN)
    assert (row["entered_score"], row["entered_grade"], row["score"], row["grade"]) == (95, "A", 65, "D+")
    memory.configure(grading_type="pass_fail")
    row = memory.get_submission(ANN)
    assert (row["entered_score"], row["entered_grade"], row["grade"]) == (95, "complete", "complete")
