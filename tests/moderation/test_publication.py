"""Publishing, posting and hiding: who may, whose grades, what changes and what is told to the world."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from services.moderation import commands
from services.moderation.decisions import Accepted, Rejected
from services.moderation.events import GradePublished, SubmissionHidden, SubmissionPosted
from tests.moderation.memory import (
    ADMIN,
    ANN,
    BEN,
    CAT,
    ESSAY,
    FINAL_GRADER,
    TA1,
    TA2,
    TEACHER,
    Memory,
    admin,
    names,
    office,
)

PUBLISH = commands.PublishProvisionalGrades()
NORTH, SOUTH = 51, 52


def record(memory: Memory, student: int, **stated: Any) -> Accepted:
    return memory.accept(commands.RecordSubmission(student_id=student, fields=stated))


def post(memory: Memory, *students: int) -> Accepted:
    return memory.accept(commands.PostGrades(student_ids=students or None, posted_at=None))


def hide(memory: Memory, *students: int) -> Accepted:
    return memory.accept(commands.HideGrades(student_ids=students or None))


def published(decision: Accepted) -> dict[int, GradePublished]:
    return {event.student_id: event for event in decision.events if isinstance(event, GradePublished)}


def test_permission_comes_first_then_moderation_then_whether_it_is_published() -> None:
    memory = office(moderated_grading=False)
    admin(memory, "select_final_grade")
    assert memory.refuse(PUBLISH, None) == "unauthenticated"
    assert memory.refuse(PUBLISH, TEACHER) == "unauthorized"
    assert memory.refuse(PUBLISH, ADMIN) == "not_moderated"
    memory.configure(moderated_grading=True, final_grader_id=FINAL_GRADER)
    memory.publish()
    assert memory.refuse(PUBLISH, TEACHER) == "unauthorized"
    assert memory.refuse(PUBLISH, FINAL_GRADER) == "already_published"


def test_the_final_grader_needs_the_permission_to_grade_as_well() -> None:
    memory = office()
    memory.enroll(FINAL_GRADER, "Teacher", permissions={"manage_grades": False})
    assert memory.refuse(PUBLISH, FINAL_GRADER) == "unauthorized"
    admin(memory, "select_final_grade")
    memory.publish(ADMIN)


def test_one_student_without_a_choice_stops_everybodys_publication() -> None:
    memory = office()
    memory.grade(TA1, ANN, 5)
    memory.grade(TA1, BEN, 5)
    memory.grade(TA2, BEN, 6)
    assert memory.refuse(PUBLISH, FINAL_GRADER) == "selection_required"


def test_the_final_grade_has_no_precedence() -> None:
    memory = office()
    memory.grade(TA1, ANN, 5)
    memory.grade(FINAL_GRADER, ANN, 6, final=True)
    assert memory.refuse(PUBLISH, FINAL_GRADER) == "selection_required"


def test_whose_student_is_gone_or_out_of_sight_is_passed_over() -> None:
    memory = office()
    memory.enroll(FINAL_GRADER, "Teacher", "deleted")
    memory.enroll(FINAL_GRADER, "Teacher", section=NORTH, limited_to_section=True)
    for student, section in ((ANN, NORTH), (BEN, SOUTH), (CAT, NORTH)):
        memory.enroll(student, "Student", "deleted")
        memory.enroll(student, "Student", section=section)
    for student in (ANN, BEN, CAT):
        memory.grade(TA1, student, 5)
    memory.grade(TA2, BEN, 6)
    memory.enroll(CAT, "Student", "completed", section=NORTH)
    assert list(published(memory.publish())) == [ANN]
    assert memory.document()["grades_published_at"] is not None
    assert memory.refuse(PUBLISH, FINAL_GRADER) == "already_published"


def test_whom_the_assignment_is_not_for_any_more_is_passed_over() -> None:
    memory = office()
    memory.grade(TA1, ANN, 5)
    memory.grade(TA1, BEN, 5)
    memory.grade(TA2, BEN, 6)
    memory.configure(assigned_to=[ANN, CAT])
    assert list(published(memory.publish())) == [ANN]
    assert memory.gradebook(BEN)["score"] is None


def test_an_inactive_student_and_one_outside_the_set_are_published() -> None:
    memory = office(moderation_set="selected")
    memory.grade(TA1, ANN, 5)
    memory.enroll(ANN, "Student", "inactive")
    assert list(published(memory.publish())) == [ANN]


def test_a_scorer_who_has_left_stops_nothing() -> None:
    memory = office()
    memory.grade(TA1, ANN, 5)
    memory.enroll(TA1, "Ta", "deleted")
    memory.publish()
    assert memory.gradebook(ANN)["grader_id"] == TA1


def test_the_gradebook_takes_what_was_chosen() -> None:
    memory = office()
    record(memory, ANN, submitted_at=datetime(2025, 12, 1, tzinfo=UTC), attempt=1)
    memory.select(memory.grade(TA1, ANN, posted_grade="7.50", graded_anonymously=True, comment="chosen"))
    memory.grade(TA2, ANN, 6, comment="not chosen")
    memory.publish()
    row = memory.gradebook(ANN)
    assert (row["score"], row["grade"], row["grader_id"]) == (7.5, "7.5", TA1)
    assert (row["workflow_state"], row["graded_anonymously"], row["posted_at"]) == ("graded", True, None)
    assert row["graded_at"] == memory.document()["grades_published_at"]
    assert [comment["comment"] for comment in row["submission_comments"]] == ["chosen"]


def test_a_grade_published_after_the_work_came_in_again_is_the_grade_of_this_work() -> None:
    memory = office()
    record(memory, ANN, score=Decimal(3), graded_at=datetime(2025, 12, 1, tzinfo=UTC))
    memory.grade(TA1, ANN, 5)
    record(memory, ANN, submitted_at=memory.log[-1][2], attempt=2)
    assert memory.gradebook(ANN)["grade_matches_current_submission"] is False
    memory.publish()
    assert memory.gradebook(ANN)["grade_matches_current_submission"] is True
    record(memory, ANN, submitted_at=datetime(2027, 1, 1, tzinfo=UTC), attempt=3)
    row = memory.gradebook(ANN)
    assert (row["grade_matches_current_submission"], row["workflow_state"], row["score"]) == (False, "submitted", 5)


def test_what_is_published_carries_the_old_grade_and_the_new() -> None:
    memory = office()
    record(memory, ANN, score=Decimal(3), grade="3", grader_id=TEACHER)
    memory.grade(TA1, ANN, 8)
    event = published(memory.publish())[ANN]
    assert event.score == (Decimal(3), Decimal(8))
    assert event.grade == ("3", "8")
    assert event.was_graded
    assert event.grade_change() == {
        "old_score": 3,
        "score": 8,
        "old_grade": "3",
        "grade": "8",
        "grader_id": TA1,
        "muted": True,
        "job_tag": "Moderation#publish",
    }


def test_the_world_hears_of_changed_grades_only() -> None:
    memory = office()
    record(memory, ANN, score=Decimal(5), grade="5")
    memory.grade(TA1, ANN, 5)
    memory.comment(TA1, BEN)
    memory.grade(TA1, CAT, 0)
    told = {student: event.emits_grade_change for student, event in published(memory.publish()).items()}
    assert told == {ANN: False, BEN: False, CAT: True}


def test_clearing_a_grade_that_stood_is_told() -> None:
    memory = office()
    record(memory, ANN, score=Decimal(3), grade="3")
    memory.grade(TA1, ANN, posted_grade="")
    assert published(memory.publish())[ANN].emits_grade_change


def test_the_same_grade_on_new_work_is_told_because_it_becomes_graded() -> None:
    memory = office()
    record(memory, ANN, score=Decimal(5), grade="5", graded_at=datetime(2025, 1, 1, tzinfo=UTC))
    record(memory, ANN, submitted_at=datetime(2025, 2, 1, tzinfo=UTC), attempt=2)
    memory.grade(TA1, ANN, 5)
    assert published(memory.publish())[ANN].emits_grade_change


def test_a_publication_ends_with_grades_posted_and_moves_no_excusal() -> None:
    memory = office()
    memory.grade(FINAL_GRADER, ANN, excuse=True)
    memory.grade(TA1, BEN, 5)
    assert names(memory.publish()) == ["grade_published", "grade_published", "grades_posted"]
    assert memory.gradebook(ANN)["excused"] is True


def test_an_empty_publication_is_one() -> None:
    memory = office()
    done = memory.publish()
    assert names(done) == ["grades_posted"]
    assert done.result == {"message": "OK"}


def test_grading_and_selecting_go_on_after_publication_without_effect() -> None:
    memory = office()
    memory.grade(TA1, ANN, 5)
    memory.publish()
    memory.select(memory.grade(TA2, ANN, 9))
    assert memory.gradebook(ANN)["score"] == 5


@pytest.mark.parametrize(
    ("fact", "message"),
    [
        (
            commands.PostGrades(student_ids=None, posted_at=None),
            "Assignments under moderation cannot be posted before grades are published",
        ),
        (
            commands.HideGrades(student_ids=None),
            "Assignments under moderation cannot be hidden before grades are published",
        ),
    ],
)
def test_nothing_is_posted_or_hidden_before_publication(fact: commands.CommandData, message: str) -> None:
    refused = office().ask(fact)
    assert isinstance(refused, Rejected)
    assert (refused.reason, refused.message) == ("not_published", message)


def test_posting_and_hiding_tell_of_each_student_whose_state_changes() -> None:
    memory = office(assigned_to=[ANN, BEN])
    memory.grade(TA1, ANN, 5)
    memory.publish()
    posted = post(memory, ANN, CAT).events
    assert [type(event) for event in posted] == [SubmissionPosted]
    assert posted[0].grade_change() == {
        "old_score": 5,
        "score": 5,
        "old_grade": "5",
        "grade": "5",
        "grader_id": TA1,
        "muted": False,
        "job_tag": "Assignment#post_submissions",
    }
    assert [event.student_id for event in post(memory).events if isinstance(event, SubmissionPosted)] == [BEN]
    assert post(memory).events == ()
    hidden = hide(memory).events
    assert [event.student_id for event in hidden if isinstance(event, SubmissionHidden)] == [ANN, BEN]
    assert all(event.emits_grade_change and event.grade_change()["muted"] for event in hidden)
    assert hide(memory).events == ()
    assert memory.gradebook(ANN)["posted_at"] is None


def test_an_assignment_without_moderation_is_posted_at_the_time_that_is_stated() -> None:
    memory = office(moderated_grading=False)
    at = datetime(2026, 5, 1, tzinfo=UTC)
    memory.accept(commands.PostGrades(student_ids=(ANN,), posted_at=at))
    assert memory.gradebook(ANN)["posted_at"] == "2026-05-01T00:00:00.000Z"


def test_everything_that_happened_reads_back_from_its_json() -> None:
    memory = office(anonymous_grading=True)
    record(memory, ANN, submitted_at=datetime(2025, 12, 1, tzinfo=UTC), anonymous_id="Ann01", submission_id=77)
    memory.select(memory.grade(TA1, ANN, "7.25", comment="fine", rubric_assessment={"a": [1, 2.5, None]}))
    memory.grade(FINAL_GRADER, ANN, 8, final=True)
    memory.grade(FINAL_GRADER, BEN, excuse=True)
    memory.publish()
    post(memory, ANN)
    hide(memory, ANN)
    memory.configure(moderation_set="selected")
    again = memory.read_again()
    assert again.everything() == memory.everything()
    assert again.assignments[ESSAY] == memory.assignments[ESSAY]
    assert [event for _, event, _ in again.log] == []
