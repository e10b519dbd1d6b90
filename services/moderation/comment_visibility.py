"""Which comments a user sees, and how one is shown.

Canvas: app/models/submission_comment.rb (can_view_comment?), lib/api/v1/submission_comment.rb.
"""

from collections.abc import Sequence
from typing import Any

from services.moderation.assignment import Comment
from services.moderation.event_payloads import seconds
from services.moderation.visibility import Viewer

Json = dict[str, Any]


def of_submission(viewer: Viewer, student_id: int) -> list[Json]:
    """Those of a submission that the user sees, ordinary and provisional, oldest first.

    After the publication the chosen grader's provisional ones are left out: their public copies stand for them.
    """
    assignment = viewer.assignment
    submission = assignment.submission(student_id)
    provisional = [comment for grade in assignment.of_student.get(student_id, ()) for comment in grade.comments]
    if assignment.moderated_grading and assignment.grades_published_at is not None:
        provisional = [comment for comment in provisional if comment.author_id != submission.grader_id]
    seen = _seen(viewer, student_id, submission.comments, provisional=False)
    seen += _seen(viewer, student_id, provisional, provisional=True)
    seen.sort(key=lambda comment: (comment.created_at, comment.comment_id))
    return [_line(viewer, comment) for comment in seen]


def of_grade(viewer: Viewer, student_id: int, comments: Sequence[Comment]) -> list[Json]:
    """Those of a provisional grade that the user sees, and the submission's ordinary ones."""
    ordinary = viewer.assignment.submission(student_id).comments
    seen = _seen(viewer, student_id, comments, provisional=True)
    seen += _seen(viewer, student_id, ordinary, provisional=False)
    return [_line(viewer, comment) for comment in seen]


def _seen(viewer: Viewer, student_id: int, comments: Sequence[Comment], *, provisional: bool) -> list[Comment]:
    if not comments:
        return []
    authors = _authors_read(viewer, student_id, provisional=provisional)
    return [comment for comment in comments if authors is None or comment.author_id in authors]


def _authors_read(viewer: Viewer, student_id: int, *, provisional: bool) -> frozenset[int] | None:
    """Whose comments on a student's submission the user reads; None: everybody's."""
    assignment, user_id = viewer.assignment, viewer.user_id
    submission = assignment.submission(student_id)
    published = assignment.grades_published_at is not None
    if viewer.moderates:
        return None
    if not assignment.moderated_grading and viewer.course.may(user_id, "manage_grades"):
        return None
    own = {user_id}
    if user_id == student_id:
        if submission.posted_at is None:
            return frozenset(own)
        if not provisional:
            return None
        return frozenset(own | {assignment.final_grader_id or user_id} if published else own)
    if not viewer.looks:
        return frozenset(own)
    if viewer.reads_graders:
        return None
    after = (assignment.final_grader_id, submission.grader_id) if published else ()
    return frozenset(own | {student_id} | {author for author in after if author is not None})


def _line(viewer: Viewer, comment: Comment) -> Json:
    line: Json = {
        "id": comment.comment_id,
        "comment": comment.comment,
        "created_at": seconds(comment.created_at),
        "edited_at": None,
    }
    anonymous_id = _anonymous_author(viewer, comment.author_id)
    if anonymous_id is not None:
        return {**line, "anonymous_id": anonymous_id}
    return {**line, "author_id": comment.author_id, "author_name": viewer.name_of(comment.author_id)}


def _anonymous_author(viewer: Viewer, author_id: int) -> str | None:
    """What stands for an author who is anonymous to the user, None for one who is not."""
    if author_id == viewer.user_id:
        return None
    assignment = viewer.assignment
    if author_id in assignment.slots:
        secret = assignment.moderated_grading and assignment.grades_published_at is None
        return assignment.slots[author_id] if secret and not viewer.names_graders else None
    if author_id in viewer.course.student_ordinals and viewer.hides_students:
        return assignment.anonymous_id(viewer.course, author_id)
    return None
