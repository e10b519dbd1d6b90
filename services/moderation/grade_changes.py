"""The grade_change that an event causes: every change of the real gradebook is published once.

Canvas: app/models/submission.rb (grade_change_audit), app/models/abstract_assignment.rb (post_submissions,
hide_submissions), lib/canvas/live_events.rb (grade_changed).
"""

from decimal import Decimal
from typing import Any

from services.moderation.assignment import Assignment
from services.moderation.course import Course
from services.moderation.current_grades import current_gradebook_grade
from services.moderation.events import (
    Event,
    GradePublished,
    GradeRevised,
    GradeWithdrawn,
    SubmissionHidden,
    SubmissionPosted,
    SubmissionUpdated,
)

Pair = tuple[Any, Any]


def describe_grade_change(event: Event, course: Course, assignment: Assignment) -> dict[str, Any] | None:
    """Return the facts of an event's grade_change: old and new grade, grader, muted, completeness and job.

    ``course``, ``assignment``: the state before the event. None: no grade_change is published.
    """
    student_id = getattr(event, "student_id", None)
    if not event.may_change_grade or student_id is None or course.is_test_student(student_id):
        return None
    match event:
        case GradePublished():
            return _publication(event, assignment)
        case SubmissionUpdated():
            return _excusal(event, course, assignment)
        case GradeRevised() | GradeWithdrawn():
            return _revision(event, assignment)
        case SubmissionPosted() | SubmissionHidden():
            if not event.graded:
                return None
            is_hidden = isinstance(event, SubmissionHidden)
            tag = "Assignment#hide_submissions" if is_hidden else "Assignment#post_submissions"
            excused = assignment.submission(event.student_id).excused
            unchanged = (event.score, event.score), (event.grade, event.grade)
            return _grade_change(*unchanged, event.grader_id, is_hidden, excused, tag)
    return None


def changes_gradebook(score: Pair, grade: Pair, was_graded: bool) -> bool:
    """Return whether a publication causes a grade_change: grade or score changed, or the submission became graded."""
    became_graded = not was_graded and score[1] is not None
    return score[0] != score[1] or grade[0] != grade[1] or became_graded


def _publication(event: GradePublished, assignment: Assignment) -> dict[str, Any] | None:
    if not changes_gradebook(event.score, event.grade, event.was_graded):
        return None
    submission = assignment.submission(event.student_id)
    # Publication neither posts grades nor hides grades that the LMS has posted.
    muted = submission.posted_at is None
    return _grade_change(event.score, event.grade, event.scorer_id, muted, submission.excused, "Moderation#publish")


def _revision(event: GradeRevised | GradeWithdrawn, assignment: Assignment) -> dict[str, Any] | None:
    was_graded = not isinstance(event, GradeRevised) or event.was_graded
    if event.excused[0] == event.excused[1] and not changes_gradebook(event.score, event.grade, was_graded):
        return None
    muted = assignment.submission(event.student_id).posted_at is None
    return _grade_change(event.score, event.grade, event.grader_id, muted, event.excused[1], "Assignment#grade_student")


def _excusal(event: SubmissionUpdated, course: Course, assignment: Assignment) -> dict[str, Any]:
    submission = assignment.submission(event.student_id)
    score, text = current_gradebook_grade(course, assignment, submission)
    _, grader_id = event.changes.get("grader_id", (None, submission.grader_id))
    return _grade_change(
        event.changes.get("score", (score, score)),
        event.changes.get("grade", (text, text)),
        grader_id,
        submission.posted_at is None,
        event.changes.get("excused", (None, submission.excused))[1],
        "Assignment#grade_student",
    )


def _grade_change(
    score: Pair, grade: Pair, grader_id: int | None, muted: bool, excused: bool, job_tag: str
) -> dict[str, Any]:
    return {
        "old_score": _to_float(score[0]),
        "score": _to_float(score[1]),
        "old_grade": grade[0],
        "grade": grade[1],
        "grader_id": grader_id,
        "muted": muted,
        # Canvas: Submission#graded?. An excused submission needs no score.
        "grading_complete": score[1] is not None or excused,
        "job_tag": job_tag,
    }


def _to_float(score: Decimal | None) -> float | None:
    return None if score is None else float(score)
