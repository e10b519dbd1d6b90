"""Comments on provisional grades: whose grade they belong to, and what they leave behind."""

from decimal import Decimal

import pytest

from services.moderation import commands
from services.moderation.event_payloads import to_payload
from tests.moderation.memory import (
    ANN,
    BEN,
    ESSAY,
    FINAL_GRADER,
    TA1,
    TA2,
    full,
    names,
    office,
)

Grade = commands.RecordProvisionalGrade
Comment = commands.RecordProvisionalComment


def test_the_comment_sent_with_a_final_grade_belongs_to_the_final_grade() -> None:
    memory = office()
    memory.grade(TA1, ANN, 5)
    final = memory.grade(FINAL_GRADER, ANN, 7, final=True, comment="decided")
    assert [c["comment"] for c in memory.provisional(final)["submission_comments"]] == ["decided"]
    assert len(memory.document()["provisional_grades"]) == 2
    # What a moderator says without calling it final is an ordinary comment.
    assert memory.comment(FINAL_GRADER, ANN) not in (final, memory.comment(FINAL_GRADER, BEN))


def test_a_comment_alone_takes_a_slot_and_enters_no_grade() -> None:
    memory = office(grader_count=1)
    said = memory.accept(Comment(student_id=ANN, comment="hm"), TA1)
    assert names(said) == ["grader_slot_taken", "provisional_grade_created", "provisional_comment_created"]
    assert said.result["graded_at"] is None
    assert memory.refuse(Comment(student_id=BEN, comment="hm"), TA2) == "max_graders_reached"
    graded = memory.grade(TA1, ANN, 5)
    assert graded == said.result["provisional_grade_id"]
    again = memory.accept(Grade(student_id=ANN, comment="more"), TA1)
    assert names(again) == ["provisional_comment_created"]
    assert again.result["score"] == 5


@pytest.mark.parametrize("blank", ["", " ", "\t\n"])
def test_a_blank_comment_is_none(blank: str) -> None:
    memory = office()
    assert memory.refuse(Comment(student_id=ANN, comment=blank), TA1) == "invalid_command"
    assert memory.refuse(Grade(student_id=ANN, comment=blank), TA1) == "invalid_score"
    number = memory.grade(TA1, ANN, 5, comment=blank)
    assert memory.provisional(number)["submission_comments"] == []
    memory.comment(TA1, ANN, f"{blank}well done \n")
    assert [c["comment"] for c in memory.provisional(number)["submission_comments"]] == ["well done"]


def test_a_comment_is_audited_as_in_canvas_and_its_id_is_its_own() -> None:
    memory = office()
    number = memory.grade(TA1, ANN, 5, comment="one")
    (_, event) = memory.accept(Grade(student_id=ANN, score=Decimal(6), comment="two"), TA1).events
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
    public = [comment.comment_id for comment in memory.assignments[ESSAY].submissions[ANN].comments]
    assert len({*ids, *public}) == 4
    again = memory.read_again().assignments[ESSAY].submissions[ANN]
    assert [comment.comment_id for comment in again.comments] == public


def test_a_selected_grade_may_still_be_commented() -> None:
    memory = full()
    assert names(memory.accept(Comment(student_id=ANN, comment="x"), TA1)) == ["provisional_comment_created"]
