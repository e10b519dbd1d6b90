"""A moderator's excusal changes the gradebook at once, and every change emits one grade_change."""

from decimal import Decimal
from typing import Any

import pytest

from services.moderation import commands
from services.moderation.event_payloads import to_payload
from services.moderation.events import SubmissionUpdated
from tests.fixtures.in_memory_course import (
    ADMIN,
    ANN,
    BEN,
    ESSAY,
    FINAL_GRADER,
    TA1,
    InMemoryCourse,
    add_admin,
    event_names,
    moderated_course,
)
from tests.unit.moderation.lms_fact_builders import DAY1, DAY2, submission_fact
from tests.unit.moderation.view_helpers import explain

Grade = commands.RecordProvisionalGrade
EXCUSE = Grade(student_id=ANN, excuse=True)


def graded_course(**settings: Any) -> InMemoryCourse:
    """Build a course in which TA1 gave Ann a 7 in the LMS's gradebook."""
    memory = moderated_course(**settings)
    memory.expect_accepted(
        submission_fact(ANN, attempt=1, submitted_at=DAY1, score=Decimal(7), grade="7", grader_id=TA1, graded_at=DAY1)
    )
    return memory


def told(memory: InMemoryCourse, decision: Any) -> list[dict[str, Any]]:
    return [{name: value for name, value in change.items() if name != "job_tag"} for change in memory.told(decision)]


def test_excusal_removes_the_grade_and_emits_one_grade_change() -> None:
    memory = graded_course()
    excused = memory.expect_accepted(EXCUSE, FINAL_GRADER)
    assert event_names(excused) == ["grader_slot_taken", "submission_updated", "provisional_grade_created"]
    row = memory.get_submission(ANN)
    assert (row["excused"], row["score"], row["grade"], row["grader_id"]) == (True, None, None, FINAL_GRADER)
    assert (row["workflow_state"], row["graded_at"]) == ("graded", "2025-12-01T00:00:00.000Z")
    assert told(memory, excused) == [
        {
            "student_id": ANN,
            "old_score": 7,
            "score": None,
            "old_grade": "7",
            "grade": None,
            "grader_id": FINAL_GRADER,
            "muted": True,
            "grading_complete": True,
        }
    ]
    assert memory.replay().snapshot() == memory.snapshot()


def test_event_of_an_excusal_lists_all_changes() -> None:
    memory = graded_course()
    updated = memory.expect_accepted(EXCUSE, FINAL_GRADER).events[1]
    assert isinstance(updated, SubmissionUpdated)
    assert to_payload(updated) == {
        "excused": [False, True],
        "score": [7, None],
        "grade": ["7", None],
        "grader_id": [str(TA1), str(FINAL_GRADER)],
    }
    lifted = memory.expect_accepted(Grade(student_id=ANN, score=Decimal(5)), FINAL_GRADER).events[0]
    assert to_payload(lifted) == {"excused": [True, False]}


def test_excusal_of_ungraded_work_makes_it_graded_by_the_moderator() -> None:
    memory = moderated_course()
    memory.expect_accepted(submission_fact(ANN, attempt=1, submitted_at=DAY1))
    excused = memory.expect_accepted(EXCUSE, FINAL_GRADER)
    row = memory.get_submission(ANN)
    assert (row["workflow_state"], row["grader_id"]) == ("graded", FINAL_GRADER)
    assert row["graded_at"] == row["updated_at"]
    assert [(change["old_score"], change["score"]) for change in told(memory, excused)] == [(None, None)]


def test_repeated_excusal_emits_nothing() -> None:
    memory = moderated_course()
    memory.expect_accepted(EXCUSE, FINAL_GRADER)
    again = memory.expect_accepted(EXCUSE, FINAL_GRADER)
    assert event_names(again) == ["provisional_grade_updated"]
    assert told(memory, again) == []


def test_excusal_of_a_student_whom_the_lms_excused_removes_the_grade_that_it_left() -> None:
    memory = graded_course()
    memory.expect_accepted(submission_fact(ANN, excused=True))
    excused = memory.expect_accepted(EXCUSE, FINAL_GRADER)
    (change,) = told(memory, excused)
    assert (change["old_score"], change["score"], change["old_grade"], change["grade"]) == (7, None, "7", None)
    assert (change["grader_id"], change["grading_complete"]) == (FINAL_GRADER, True)
    row = memory.get_submission(ANN)
    assert (row["excused"], row["score"], row["grade"], row["grader_id"]) == (True, None, None, FINAL_GRADER)
    updated = excused.events[1]
    assert to_payload(updated) == {
        "excused": [True, True],
        "score": [7, None],
        "grade": ["7", None],
        "grader_id": [str(TA1), str(FINAL_GRADER)],
    }
    assert explain(memory)["sentence"].endswith(", which removed the grade.")
    assert told(memory, memory.expect_accepted(EXCUSE, FINAL_GRADER)) == []
    assert memory.replay().snapshot() == memory.snapshot()


def test_graders_mark_leaves_the_grade_of_a_student_whom_the_lms_excused() -> None:
    memory = graded_course()
    memory.expect_accepted(submission_fact(ANN, excused=True))
    for fields in ({"excuse": True}, {"score": Decimal(5)}):
        assert told(memory, memory.expect_accepted(Grade(student_id=ANN, **fields), TA1)) == []
    assert memory.get_submission(ANN)["score"] == 7


@pytest.mark.parametrize("lift", [{"score": Decimal(4)}, {"posted_grade": "4"}, {"posted_grade": ""}])
def test_moderators_grade_lifts_an_excusal_and_emits_one_grade_change(lift: dict[str, Any]) -> None:
    memory = graded_course()
    add_admin(memory, "select_final_grade")
    memory.expect_accepted(EXCUSE, FINAL_GRADER)
    lifted = memory.expect_accepted(Grade(student_id=ANN, **lift), ADMIN)
    row = memory.get_submission(ANN)
    assert (row["excused"], row["score"], row["grade"], row["grader_id"]) == (False, None, None, ADMIN)
    (change,) = told(memory, lifted)
    assert (change["old_grade"], change["grade"], change["score"], change["grader_id"]) == (None, None, None, ADMIN)
    assert change["grading_complete"] is False
    assert memory.expect_rejection(Grade(student_id=ANN, excuse=False), ADMIN) == "invalid_score"


def test_lifting_an_lms_excusal_leaves_the_grade_unchanged() -> None:
    memory = graded_course()
    memory.expect_accepted(submission_fact(ANN, excused=True))
    lifted = memory.expect_accepted(Grade(student_id=ANN, score=Decimal(4)), FINAL_GRADER)
    (change,) = told(memory, lifted)
    assert (change["old_score"], change["score"], change["grade"]) == (7, 7, "7")
    assert memory.get_submission(ANN)["score"] == 7


@pytest.mark.parametrize("excused_by_lms", [False, True])
def test_lifted_excusal_leaves_the_submission_graded_whoever_stated_it(excused_by_lms: bool) -> None:
    memory = moderated_course()
    if excused_by_lms:
        memory.expect_accepted(submission_fact(ANN, excused=True))
    else:
        memory.expect_accepted(EXCUSE, FINAL_GRADER)
    memory.expect_accepted(Grade(student_id=ANN, score=Decimal(4)), FINAL_GRADER)
    row = memory.get_submission(ANN)
    assert (row["excused"], row["score"], row["workflow_state"]) == (False, None, "graded")


def post_and_hide(memory: InMemoryCourse) -> list[tuple[Any, ...]]:
    """Publish, post and hide Ann's grade; return what each grade_change of posting and hiding says."""
    memory.publish()
    posted = memory.expect_accepted(commands.PostGrades(student_ids=(ANN,), posted_at=None))
    hidden = memory.expect_accepted(commands.HideGrades(student_ids=(ANN,)))
    changes = [*told(memory, posted), *told(memory, hidden)]
    return [(change["score"], change["grade"], change["grading_complete"], change["muted"]) for change in changes]


def test_excusal_stated_by_the_lms_is_graded_and_is_told_when_it_is_posted() -> None:
    memory = moderated_course()
    memory.expect_accepted(submission_fact(ANN, excused=True))
    assert memory.get_submission(ANN)["workflow_state"] == "graded"
    assert post_and_hide(memory) == [(None, None, True, False), (None, None, True, True)]


def test_lms_that_repeats_a_moderators_excusal_leaves_it_graded() -> None:
    memory = moderated_course()
    memory.expect_accepted(submission_fact(ANN, attempt=1, submitted_at=DAY1))
    memory.expect_accepted(EXCUSE, FINAL_GRADER)
    memory.expect_accepted(submission_fact(ANN, excused=True, score=None, grade=None, graded_at=DAY2))
    assert memory.get_submission(ANN)["workflow_state"] == "graded"
    assert post_and_hide(memory) == [(None, None, True, False), (None, None, True, True)]
    assert memory.replay().snapshot() == memory.snapshot()


def test_grade_change_is_muted_only_while_the_grade_is_not_posted() -> None:
    memory = graded_course()
    memory.expect_accepted(submission_fact(ANN, posted_at=DAY1))
    (change,) = told(memory, memory.expect_accepted(EXCUSE, FINAL_GRADER))
    assert change["muted"] is False


def test_excusal_reports_the_current_text_of_the_old_grade() -> None:
    memory = moderated_course(grading_type="letter_grade", points_possible=Decimal(100))
    memory.expect_accepted(submission_fact(ANN, score=Decimal(85), grade="B"))
    memory.configure(points_possible=Decimal(200))
    excused = memory.expect_accepted(EXCUSE, FINAL_GRADER)
    assert [change["old_grade"] for change in told(memory, excused)] == ["F"]


def test_selected_grade_of_an_excused_student_is_published_and_the_student_stays_excused() -> None:
    memory = moderated_course()
    chosen = memory.grade(TA1, ANN, 8)
    memory.expect_accepted(EXCUSE, FINAL_GRADER)
    memory.select(chosen)
    done = memory.publish()
    row = memory.get_submission(ANN)
    assert (row["excused"], row["score"], row["grade"], row["grader_id"]) == (True, 8, "8", TA1)
    assert [(change["old_grade"], change["grade"]) for change in told(memory, done)] == [(None, "8")]


def test_publication_emits_no_second_grade_change_for_an_excusal() -> None:
    memory = graded_course()
    memory.expect_accepted(EXCUSE, FINAL_GRADER)
    memory.select(memory.assignments[ESSAY].grades_by_student[ANN][0].provisional_grade_id)
    assert told(memory, memory.publish()) == []
    assert memory.get_submission(ANN)["excused"] is True


def test_excusal_after_publication_removes_the_published_grade() -> None:
    memory = moderated_course()
    memory.grade(TA1, ANN, 8)
    memory.publish()
    (change,) = told(memory, memory.expect_accepted(EXCUSE, FINAL_GRADER))
    assert (change["old_score"], change["score"]) == (8, None)


@pytest.mark.parametrize(("status", "left"), [("late", None), ("extended", 3_600), ("missing", 3_600), (None, 3_600)])
def test_excusal_clears_the_late_policy_status_and_the_lateness_it_overrode(
    status: str | None, left: int | None
) -> None:
    memory = moderated_course()
    memory.expect_accepted(
        submission_fact(ANN, attempt=1, submitted_at=DAY1, seconds_late=3_600, late_policy_status=status)
    )
    excused = memory.expect_accepted(EXCUSE, FINAL_GRADER)
    row = memory.get_submission(ANN)
    assert (row["late_policy_status"], row["seconds_late"]) == (None, left)
    payload = to_payload(excused.events[1])
    assert payload.get("late_policy_status") == (None if status is None else [status, None])
    assert memory.replay().snapshot() == memory.snapshot()


def test_refused_excusal_emits_nothing() -> None:
    memory = graded_course()
    memory.grade(TA1, BEN, 5)
    assert memory.expect_rejection(Grade(student_id=ANN, excuse=True, final=True), FINAL_GRADER) == (
        "final_without_provisional"
    )
    assert memory.get_submission(ANN)["excused"] is False
