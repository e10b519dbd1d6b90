"""Publishing, posting and hiding: permissions, affected grades, changes and published events."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from services.moderation import commands
from services.moderation.decisions import Accepted, Rejected
from services.moderation.events import GradePublished, SubmissionHidden, SubmissionPosted
from tests.fixtures.in_memory_course import (
    ADMIN,
    ANN,
    BEN,
    CAT,
    ESSAY,
    FINAL_GRADER,
    TA1,
    TA2,
    TEACHER,
    InMemoryCourse,
    add_admin,
    event_names,
    moderated_course,
)

PUBLISH = commands.PublishProvisionalGrades()
NORTH, SOUTH = 51, 52


def record_submission(memory: InMemoryCourse, student: int, **stated: Any) -> Accepted:
    return memory.expect_accepted(commands.RecordSubmission(student_id=student, fields=stated))


def post_grades(memory: InMemoryCourse, *students: int) -> Accepted:
    return memory.expect_accepted(commands.PostGrades(student_ids=students or None, posted_at=None))


def hide_grades(memory: InMemoryCourse, *students: int) -> Accepted:
    return memory.expect_accepted(commands.HideGrades(student_ids=students or None))


def published_grades(decision: Accepted) -> dict[int, GradePublished]:
    return {event.student_id: event for event in decision.events if isinstance(event, GradePublished)}


def test_publication_checks_permission_then_moderation_then_published_state() -> None:
    memory = moderated_course(moderated_grading=False)
    add_admin(memory, "select_final_grade")
    assert memory.expect_rejection(PUBLISH, None) == "unauthenticated"
    assert memory.expect_rejection(PUBLISH, TEACHER) == "unauthorized"
    assert memory.expect_rejection(PUBLISH, ADMIN) == "not_moderated"
    memory.configure(moderated_grading=True, final_grader_id=FINAL_GRADER)
    memory.publish()
    assert memory.expect_rejection(PUBLISH, TEACHER) == "unauthorized"
    assert memory.expect_rejection(PUBLISH, FINAL_GRADER) == "already_published"


def test_final_grader_needs_manage_grades_to_publish() -> None:
    memory = moderated_course()
    memory.enroll(FINAL_GRADER, "Teacher", permissions={"manage_grades": False})
    assert memory.expect_rejection(PUBLISH, FINAL_GRADER) == "unauthorized"
    add_admin(memory, "select_final_grade")
    memory.publish(ADMIN)


def test_one_missing_selection_blocks_the_whole_publication() -> None:
    memory = moderated_course()
    memory.grade(TA1, ANN, 5)
    memory.grade(TA1, BEN, 5)
    memory.grade(TA2, BEN, 6)
    assert memory.expect_rejection(PUBLISH, FINAL_GRADER) == "selection_required"


def test_final_grade_does_not_replace_a_missing_selection() -> None:
    memory = moderated_course()
    memory.grade(TA1, ANN, 5)
    memory.grade(FINAL_GRADER, ANN, 6, final=True)
    assert memory.expect_rejection(PUBLISH, FINAL_GRADER) == "selection_required"


def test_removed_and_invisible_students_are_skipped() -> None:
    memory = moderated_course()
    memory.enroll(FINAL_GRADER, "Teacher", "deleted")
    memory.enroll(FINAL_GRADER, "Teacher", section=NORTH, limited_to_section=True)
    for student, section in ((ANN, NORTH), (BEN, SOUTH), (CAT, NORTH)):
        memory.enroll(student, "Student", "deleted")
        memory.enroll(student, "Student", section=section)
    for student in (ANN, BEN, CAT):
        memory.grade(TA1, student, 5)
    memory.grade(TA2, BEN, 6)
    memory.enroll(CAT, "Student", "completed", section=NORTH)
    assert list(published_grades(memory.publish())) == [ANN]
    assert memory.document()["grades_published_at"] is not None
    assert memory.expect_rejection(PUBLISH, FINAL_GRADER) == "already_published"


def test_unassigned_students_are_skipped() -> None:
    memory = moderated_course()
    memory.grade(TA1, ANN, 5)
    memory.grade(TA1, BEN, 5)
    memory.grade(TA2, BEN, 6)
    memory.configure(assigned_to=[ANN, CAT])
    assert list(published_grades(memory.publish())) == [ANN]
    assert memory.get_submission(BEN)["score"] is None


def test_inactive_student_outside_the_set_is_published() -> None:
    memory = moderated_course(moderation_set="selected")
    memory.grade(TA1, ANN, 5)
    memory.enroll(ANN, "Student", "inactive")
    assert list(published_grades(memory.publish())) == [ANN]


def test_removed_scorer_does_not_block_publication() -> None:
    memory = moderated_course()
    memory.grade(TA1, ANN, 5)
    memory.enroll(TA1, "Ta", "deleted")
    memory.publish()
    assert memory.get_submission(ANN)["grader_id"] == TA1


def test_selected_grade_is_copied_to_the_gradebook() -> None:
    memory = moderated_course()
    record_submission(memory, ANN, submitted_at=datetime(2025, 12, 1, tzinfo=UTC), attempt=1)
    memory.select(memory.grade(TA1, ANN, posted_grade="7.50", graded_anonymously=True, comment="chosen"))
    memory.grade(TA2, ANN, 6, comment="not chosen")
    memory.publish()
    row = memory.get_submission(ANN)
    assert (row["score"], row["grade"], row["grader_id"]) == (7.5, "7.5", TA1)
    assert (row["workflow_state"], row["graded_anonymously"], row["posted_at"]) == ("graded", True, None)
    assert row["graded_at"] == memory.document()["grades_published_at"]
    assert [comment["comment"] for comment in row["submission_comments"]] == ["chosen"]


def test_grade_published_after_resubmission_matches_the_new_attempt() -> None:
    memory = moderated_course()
    record_submission(memory, ANN, score=Decimal(3), graded_at=datetime(2025, 12, 1, tzinfo=UTC))
    memory.grade(TA1, ANN, 5)
    record_submission(memory, ANN, submitted_at=memory.log[-1][2], attempt=2)
    assert memory.get_submission(ANN)["grade_matches_current_submission"] is False
    memory.publish()
    assert memory.get_submission(ANN)["grade_matches_current_submission"] is True
    record_submission(memory, ANN, submitted_at=datetime(2027, 1, 1, tzinfo=UTC), attempt=3)
    row = memory.get_submission(ANN)
    assert (row["grade_matches_current_submission"], row["workflow_state"], row["score"]) == (False, "submitted", 5)


def test_published_event_carries_the_old_and_new_grade() -> None:
    memory = moderated_course()
    record_submission(memory, ANN, score=Decimal(3), grade="3", grader_id=TEACHER)
    memory.grade(TA1, ANN, 8)
    decision = memory.publish()
    event = published_grades(decision)[ANN]
    assert event.score == (Decimal(3), Decimal(8))
    assert event.grade == ("3", "8")
    assert event.was_graded
    assert memory.told(decision) == [{
        "student_id": ANN, "old_score": 3, "score": 8, "old_grade": "3", "grade": "8", "grader_id": TA1, "muted": True,
        "grading_complete": True, "job_tag": "Moderation#publish",
    }]  # fmt: skip


def test_only_changed_grades_emit_a_grade_change() -> None:
    memory = moderated_course()
    record_submission(memory, ANN, score=Decimal(5), grade="5")
    memory.grade(TA1, ANN, 5)
    memory.comment(TA1, BEN)
    memory.grade(TA1, CAT, 0)
    assert [change["student_id"] for change in memory.told(memory.publish())] == [CAT]


def test_clearing_a_gradebook_grade_emits_a_grade_change() -> None:
    memory = moderated_course()
    record_submission(memory, ANN, score=Decimal(3), grade="3")
    memory.grade(TA1, ANN, posted_grade="")
    assert [change["student_id"] for change in memory.told(memory.publish())] == [ANN]


def test_unchanged_grade_on_a_new_attempt_emits_a_grade_change() -> None:
    memory = moderated_course()
    record_submission(memory, ANN, score=Decimal(5), grade="5", graded_at=datetime(2025, 1, 1, tzinfo=UTC))
    record_submission(memory, ANN, submitted_at=datetime(2025, 2, 1, tzinfo=UTC), attempt=2)
    memory.grade(TA1, ANN, 5)
    assert [change["student_id"] for change in memory.told(memory.publish())] == [ANN]


def test_publication_ends_with_grades_posted_and_keeps_excusals() -> None:
    memory = moderated_course()
    memory.grade(FINAL_GRADER, ANN, excuse=True)
    memory.grade(TA1, BEN, 5)
    assert event_names(memory.publish()) == ["grade_published", "grade_published", "grades_posted"]
    assert memory.get_submission(ANN)["excused"] is True


def test_publication_without_grades_is_accepted() -> None:
    memory = moderated_course()
    done = memory.publish()
    assert event_names(done) == ["grades_posted"]
    assert done.result == {"message": "OK"}


def test_grading_and_selecting_after_publication_do_not_change_the_gradebook() -> None:
    memory = moderated_course()
    memory.grade(TA1, ANN, 5)
    memory.publish()
    memory.select(memory.grade(TA2, ANN, 9))
    assert memory.get_submission(ANN)["score"] == 5


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
def test_posting_and_hiding_are_rejected_before_publication(fact: commands.CommandData, message: str) -> None:
    refused = moderated_course().submit(fact)
    assert isinstance(refused, Rejected)
    assert (refused.reason, refused.message) == ("not_published", message)


def test_posting_and_hiding_emit_one_event_per_changed_student() -> None:
    memory = moderated_course(assigned_to=[ANN, BEN])
    memory.grade(TA1, ANN, 5)
    memory.publish()
    posted = post_grades(memory, ANN, CAT)
    assert [type(event) for event in posted.events] == [SubmissionPosted]
    told = {
        "student_id": ANN, "old_score": 5, "score": 5, "old_grade": "5", "grade": "5", "grader_id": TA1, "muted": False,
        "grading_complete": True, "job_tag": "Assignment#post_submissions",
    }  # fmt: skip
    assert memory.told(posted) == [told]
    assert [event.student_id for event in post_grades(memory).events if isinstance(event, SubmissionPosted)] == [BEN]
    assert post_grades(memory).events == ()
    hidden = hide_grades(memory)
    assert [event.student_id for event in hidden.events if isinstance(event, SubmissionHidden)] == [ANN, BEN]
    assert memory.told(hidden) == [{**told, "muted": True, "job_tag": "Assignment#hide_submissions"}]
    assert hide_grades(memory).events == ()
    assert memory.get_submission(ANN)["posted_at"] is None


def test_unmoderated_assignment_is_posted_at_the_given_time() -> None:
    memory = moderated_course(moderated_grading=False)
    at = datetime(2026, 5, 1, tzinfo=UTC)
    memory.expect_accepted(commands.PostGrades(student_ids=(ANN,), posted_at=at))
    assert memory.get_submission(ANN)["posted_at"] == "2026-05-01T00:00:00.000Z"


def test_all_events_round_trip_through_json() -> None:
    memory = moderated_course(anonymous_grading=True)
    record_submission(
        memory, ANN, submitted_at=datetime(2025, 12, 1, tzinfo=UTC), anonymous_id="Ann01", submission_id=77
    )
    memory.select(memory.grade(TA1, ANN, "7.25", comment="fine", rubric_assessment={"a": [1, 2.5, None]}))
    memory.grade(FINAL_GRADER, ANN, 8, final=True)
    memory.grade(FINAL_GRADER, BEN, excuse=True)
    memory.publish()
    post_grades(memory, ANN)
    hide_grades(memory, ANN)
    memory.configure(moderation_set="selected")
    again = memory.replay()
    assert again.snapshot() == memory.snapshot()
    assert again.assignments[ESSAY] == memory.assignments[ESSAY]
    assert [event for _, event, _ in again.log] == []
