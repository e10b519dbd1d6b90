"""Helpers for a user's views of an assignment."""

from typing import Any

from services.moderation import commands
from services.moderation.canvas_views import AssignmentView
from services.moderation.decisions import Rejected
from services.moderation.events import AssignmentEvent, GradesPosted
from services.moderation.explanation import Explanation, TrailEntry
from tests.fixtures.in_memory_course import (
    ANN,
    COURSE,
    ESSAY,
    FINAL_GRADER,
    TA1,
    TA2,
    TEACHER,
    InMemoryCourse,
    moderated_course,
)

Json = dict[str, Any]
COMMENTS = frozenset({"submission_comments"})
ALL_INCLUDES = frozenset({"submission_comments", "provisional_grades", "rubric_assessment"})


def view_as(memory: InMemoryCourse, user: int) -> AssignmentView:
    return AssignmentView(memory.courses[1001], memory.assignments[ESSAY], user, "https://lms.example")


def view_submission(
    memory: InMemoryCourse, user: int, student: int = ANN, included: frozenset[str] = ALL_INCLUDES
) -> Json:
    shown = view_as(memory, user).submission_json(student, included)
    assert not isinstance(shown, Rejected), shown
    return shown


def view_anonymous_submission(memory: InMemoryCourse, user: int, anonymous_id: str) -> Json:
    shown = view_as(memory, user).anonymous_submission_json(anonymous_id, ALL_INCLUDES)
    assert not isinstance(shown, Rejected), shown
    return shown


def events_about(memory: InMemoryCourse, student: int) -> list[AssignmentEvent]:
    """Return the events about a student, in order."""
    return [
        event
        for _, event, _ in memory.log
        if isinstance(event, AssignmentEvent) and getattr(event, "student_id", None) == student
    ]


def explain(memory: InMemoryCourse, student: int = ANN) -> Json:
    """Explain a student's grade to the final grader."""
    trail = [
        TrailEntry(event, version, at, command.actor_id, None)
        for version, (command, event, at) in enumerate(memory.log, 1)
        if isinstance(event, AssignmentEvent)
        and (isinstance(event, GradesPosted) or getattr(event, "student_id", None) == student)
    ]
    return Explanation(memory.courses[COURSE], memory.assignments[ESSAY], FINAL_GRADER).document(student, trail)


def comment_texts(shown: Json) -> list[str]:
    return [comment["comment"] for comment in shown["submission_comments"]]


def add_ordinary_comment(memory: InMemoryCourse, author: int, text: str, student: int = ANN) -> None:
    memory.expect_accepted(
        commands.RecordSubmissionComment(student_id=student, author_id=author, comment=text, created_at=None)
    )


def post_grades(memory: InMemoryCourse) -> None:
    memory.expect_accepted(commands.PostGrades(student_ids=None, posted_at=None))


def course_with_comments(**settings: Any) -> InMemoryCourse:
    """Build a course: TA1, TA2 and the final grader graded Ann with a comment each, Ann and the teacher commented."""
    memory = moderated_course(**settings)
    add_ordinary_comment(memory, ANN, "sorry")
    chosen = memory.grade(TA1, ANN, 5, comment="by TA1")
    memory.grade(TA2, ANN, 6, comment="by TA2")
    memory.grade(FINAL_GRADER, ANN, 7, final=True, comment="by the final grader")
    add_ordinary_comment(memory, TEACHER, "hello")
    memory.select(chosen)
    return memory
