"""Applies LMS facts, publications and revisions to the submissions of an assignment, which are its gradebook."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from services.moderation import ids
from services.moderation.assignment import Assignment
from services.moderation.events import GradePublished, GradeRevised, GradeWithdrawn
from services.moderation.submission import Comment, Submission

_GRADED_ATTEMPT_FIELDS = frozenset({"submitted_at", "attempt", "score", "grade", "graded_at"})
_WORKFLOW_STATE_FIELDS = _GRADED_ATTEMPT_FIELDS | {"excused"}


def new_comment(
    assignment: Assignment, comment_id: int | None, author_id: int, text: str | None, created_at: datetime
) -> Comment:
    """Build a comment and count it; ``comment_id``: the id it already has, if any."""
    comment = Comment(comment_id or ids.next_comment_id(assignment), author_id, text, created_at)
    assignment.comment_count += 1
    return comment


def apply_submission_fields(
    assignment: Assignment, submission: Submission, student_id: int, changed_fields: Mapping[str, Any]
) -> None:
    """Apply fields that the LMS stated about a submission, and derive its workflow state."""
    if changed_fields.get("anonymous_id") is not None:
        assignment.students_by_lms_anonymous_id.setdefault(changed_fields["anonymous_id"], student_id)
        assignment.student_list_cache.clear()
    if "submission_id" in changed_fields:
        if submission.submission_id is not None:
            del assignment.students_by_lms_submission_id[submission.submission_id]
        if changed_fields["submission_id"] is not None:
            assignment.students_by_lms_submission_id[changed_fields["submission_id"]] = student_id
    for name, value in changed_fields.items():
        setattr(submission, name, value)
    # An excusal alone does not say of which attempt the grade is.
    if changed_fields.keys() & _GRADED_ATTEMPT_FIELDS:
        submission.grade_matches_current_submission = _grade_matches_submission(submission, changed_fields)
    if changed_fields.keys() & _WORKFLOW_STATE_FIELDS:
        submission.workflow_state = _derive_workflow_state(submission)


def _has_grade(submission: Submission) -> bool:
    return submission.score is not None or submission.grade is not None


def _grade_matches_submission(submission: Submission, changed_fields: Mapping[str, Any]) -> bool:
    """Return whether the grade is of this attempt; one from before a resubmission is kept but does not count for it."""
    if "graded_at" not in changed_fields and ("score" in changed_fields or "grade" in changed_fields):
        return True
    if submission.submitted_at is not None and submission.graded_at is not None:
        return submission.submitted_at <= submission.graded_at
    return "graded_at" in changed_fields or not _has_grade(submission)


def _derive_workflow_state(submission: Submission) -> str:
    """Return the state after a fact; an excused submission is graded (Canvas: app/models/submission.rb, graded?)."""
    counts = _has_grade(submission) and submission.grade_matches_current_submission
    return "graded" if submission.excused or counts else _ungraded_state(submission)


def _ungraded_state(submission: Submission) -> str:
    return "unsubmitted" if submission.submitted_at is None and not submission.attempt else "submitted"


def apply_publication(assignment: Assignment, event: GradePublished, position: int, at: datetime) -> None:
    """Copy a published provisional grade, with its rubric and comments, to the submission."""
    submission = assignment.changeable_submission(event.student_id, at)
    submission.score, submission.grade = event.score[1], event.grade[1]
    submission.points_deducted = event.points_deducted
    submission.grader_id, submission.graded_at = event.scorer_id, event.graded_at
    submission.graded_anonymously = event.graded_anonymously
    submission.graded_position, submission.graded_state_changes = position, ()
    submission.grade_matches_current_submission = True
    submission.is_published = True
    if submission.score is not None:
        submission.workflow_state = "graded"
    published_grade = assignment.provisional_grades[event.provisional_grade_id]
    submission.rubric_assessment = published_grade.rubric_assessment or submission.rubric_assessment
    submission.comments += tuple(
        new_comment(assignment, None, comment.author_id, comment.comment, comment.created_at)
        for comment in published_grade.comments
    )


def apply_revision(assignment: Assignment, event: GradeRevised | GradeWithdrawn, position: int, at: datetime) -> None:
    """Apply a revised or withdrawn grade to the submission."""
    submission = assignment.changeable_submission(event.student_id, at)
    submission.score, submission.grade, submission.excused = event.score[1], event.grade[1], event.excused[1]
    submission.points_deducted = event.points_deducted if isinstance(event, GradeRevised) else None
    submission.grader_id, submission.graded_at = event.grader_id, event.graded_at
    submission.graded_position, submission.graded_state_changes = position, ()
    submission.grade_matches_current_submission = True
    if submission.excused:
        if submission.late_policy_status == "late":
            submission.seconds_late = None
        submission.late_policy_status = None
    is_graded = submission.excused or submission.score is not None
    submission.workflow_state = "graded" if is_graded else _ungraded_state(submission)
