"""What somebody is shown of an assignment."""

from typing import Any

from services.moderation import commands
from services.moderation.canvas_views import AssignmentView
from services.moderation.decisions import Rejected
from tests.moderation.memory import (
    ANN,
    ESSAY,
    FINAL_GRADER,
    TA1,
    TA2,
    TEACHER,
    Memory,
    office,
)

Json = dict[str, Any]
COMMENTS = frozenset({"submission_comments"})
EVERYTHING = frozenset({"submission_comments", "provisional_grades", "rubric_assessment"})


def as_seen_by(memory: Memory, user: int) -> AssignmentView:
    return AssignmentView(memory.courses[1001], memory.assignments[ESSAY], user, "https://lms.example")


def submission(memory: Memory, user: int, student: int = ANN, included: frozenset[str] = EVERYTHING) -> Json:
    shown = as_seen_by(memory, user).submission_json(student, included)
    assert not isinstance(shown, Rejected), shown
    return shown


def told(shown: Json) -> list[str]:
    return [comment["comment"] for comment in shown["submission_comments"]]


def ordinary(memory: Memory, author: int, text: str, student: int = ANN) -> None:
    memory.accept(commands.RecordSubmissionComment(student_id=student, author_id=author, comment=text, created_at=None))


def post(memory: Memory) -> None:
    memory.accept(commands.PostGrades(student_ids=None, posted_at=None))


def commented(**settings: Any) -> Memory:
    """TA1, TA2 and the final grader graded Ann's work with a comment each; Ann and the teacher wrote ordinary ones."""
    memory = office(**settings)
    ordinary(memory, ANN, "sorry")
    chosen = memory.grade(TA1, ANN, 5, comment="by TA1")
    memory.grade(TA2, ANN, 6, comment="by TA2")
    memory.grade(FINAL_GRADER, ANN, 7, final=True, comment="by the final grader")
    ordinary(memory, TEACHER, "hello")
    memory.select(chosen)
    return memory
