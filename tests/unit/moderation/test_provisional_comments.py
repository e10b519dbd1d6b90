"""Comments on provisional grades: the grade they belong to, and their effects."""

from decimal import Decimal

import pytest

from services.moderation import commands
from services.moderation.event_payloads import to_payload
from tests.fixtures.in_memory_course import (
    ANN,
    BEN,
    ESSAY,
    FINAL_GRADER,
    TA1,
    TA2,
    course_with_taken_slots,
    event_names,
    moderated_course,
)

Grade = commands.RecordProvisionalGrade
Comment = commands.RecordProvisionalComment


def test_comment_sent_with_a_final_grade_belongs_to_it() -> None:
    memory = moderated_course()
    memory.grade(TA1, ANN, 5)
    final = memory.grade(FINAL_GRADER, ANN, 7, final=True, comment="decided")
    assert [c["comment"] for c in memory.get_provisional_grade(final)["submission_comments"]] == ["decided"]
    assert len(memory.document()["provisional_grades"]) == 2
    # A moderator's comment that is not marked as final is an ordinary one.
    assert memory.comment(FINAL_GRADER, ANN) not in (final, memory.comment(FINAL_GRADER, BEN))


def test_comment_without_a_grade_takes_a_slot_and_records_no_score() -> None:
    memory = moderated_course(grader_count=1)
    said = memory.expect_accepted(Comment(student_id=ANN, comment="hm"), TA1)
    assert event_names(said) == ["grader_slot_taken", "provisional_grade_created", "provisional_comment_created"]
    assert said.result["graded_at"] is None
    assert memory.expect_rejection(Comment(student_id=BEN, comment="hm"), TA2) == "max_graders_reached"
    graded = memory.grade(TA1, ANN, 5)
    assert graded == said.result["provisional_grade_id"]
    again = memory.expect_accepted(Grade(student_id=ANN, comment="more"), TA1)
    assert event_names(again) == ["provisional_comment_created"]
    assert again.result["score"] == 5


@pytest.mark.parametrize("blank", ["", " ", "\t\n"])
def test_blank_comment_is_ignored(blank: str) -> None:
    memory = moderated_course()
    assert memory.expect_rejection(Comment(student_id=ANN, comment=blank), TA1) == "invalid_command"
    assert memory.expect_rejection(Grade(student_id=ANN, comment=blank), TA1) == "invalid_score"
    number = memory.grade(TA1, ANN, 5, comment=blank)
    assert memory.get_provisional_grade(number)["submission_comments"] == []
    memory.comment(TA1, ANN, f"{blank}well done \n")
    assert [c["comment"] for c in memory.get_provisional_grade(number)["submission_comments"]] == ["well done"]


def test_comment_event_matches_canvas_and_has_a_unique_id() -> None:
    memory = moderated_course()
    number = memory.grade(TA1, ANN, 5, comment="one")
    (_, event) = memory.expect_accepted(Grade(student_id=ANN, score=Decimal(6), comment="two"), TA1).events
    written = to_payload(event)
    assert written == {
        "id": written["id"],
        "comment": "two",
        "author_id": str(TA1),
        "provisional_grade_id": str(number),
    }
    ids = [comment.comment_id for comment in memory.assignments[ESSAY].provisional_grades[number].comments]
    assert int(written["id"]) == ids[1] > ids[0]
    memory.publish()
    public = [comment.comment_id for comment in memory.assignments[ESSAY].submission(ANN).comments]
    assert len({*ids, *public}) == 4
    again = memory.replay().assignments[ESSAY].submission(ANN)
    assert [comment.comment_id for comment in again.comments] == public


def test_selected_grade_accepts_comments() -> None:
    memory = course_with_taken_slots()
    assert event_names(memory.expect_accepted(Comment(student_id=ANN, comment="x"), TA1)) == [
        "provisional_comment_created"
    ]
