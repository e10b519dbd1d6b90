"""Which comments a user sees, and how one is shown.

Canvas: app/models/submission_comment.rb (can_view_comment?), lib/api/v1/submission_comment.rb.
"""

from collections.abc import Sequence
from typing import Any

from services.moderation import ids
from services.moderation.assignment import Comment
from services.moderation.event_payloads import format_canvas_time
from services.moderation.visibility import Viewer

Json = dict[str, Any]


def list_submission_comments(viewer: Viewer, student_id: int) -> list[Json]:
    """Those of a submission that the user sees, ordinary and provisional, oldest first.

    After the publication the chosen grader's provisional ones are left out: their public copies stand for them.
    """
    assignment = viewer.assignment
    submission = assignment.submission(student_id)
    provisional_comments = [
        comment for grade in assignment.grades_by_student.get(student_id, ()) for comment in grade.comments
    ]
    if assignment.moderated_grading and assignment.grades_published_at is not None:
        provisional_comments = [
            comment for comment in provisional_comments if comment.author_id != submission.grader_id
        ]
    visible = _visible_comments(viewer, student_id, submission.comments, provisional=False)
    visible += _visible_comments(viewer, student_id, provisional_comments, provisional=True)
    visible.sort(key=lambda comment: (comment.created_at, comment.comment_id))
    return [_comment_json(viewer, comment) for comment in visible]


def list_provisional_grade_comments(viewer: Viewer, student_id: int, comments: Sequence[Comment]) -> list[Json]:
    """Those of a provisional grade that the user sees, and the submission's ordinary ones."""
    ordinary_comments = viewer.assignment.submission(student_id).comments
    visible = _visible_comments(viewer, student_id, comments, provisional=True)
    visible += _visible_comments(viewer, student_id, ordinary_comments, provisional=False)
    return [_comment_json(viewer, comment) for comment in visible]


def _visible_comments(
    viewer: Viewer, student_id: int, comments: Sequence[Comment], *, provisional: bool
) -> list[Comment]:
    if not comments:
        return []
    visible_authors = _visible_author_ids(viewer, student_id, provisional=provisional)
    return [comment for comment in comments if visible_authors is None or comment.author_id in visible_authors]


def _visible_author_ids(viewer: Viewer, student_id: int, *, provisional: bool) -> frozenset[int] | None:
    """Whose comments on a student's submission the user reads; None: everybody's."""
    assignment, user_id = viewer.assignment, viewer.user_id
    submission = assignment.submission(student_id)
    published = assignment.grades_published_at is not None
    if viewer.can_moderate:
        return None
    if not assignment.moderated_grading and viewer.course.has_permission(user_id, "manage_grades"):
        return None
    self_only = {user_id}
    if user_id == student_id:
        if submission.posted_at is None:
            return frozenset(self_only)
        if not provisional:
            return None
        return frozenset(self_only | {assignment.final_grader_id or user_id} if published else self_only)
    if not viewer.can_view_gradebook:
        return frozenset(self_only)
    if viewer.can_view_grader_comments:
        return None
    visible_after_publication = (assignment.final_grader_id, submission.grader_id) if published else ()
    return frozenset(self_only | {student_id} | {author for author in visible_after_publication if author is not None})


def _comment_json(viewer: Viewer, comment: Comment) -> Json:
    body: Json = {
        "id": comment.comment_id,
        "comment": comment.comment,
        "created_at": format_canvas_time(comment.created_at),
        "edited_at": None,
    }
    anonymous_id = _anonymous_author_id(viewer, comment.author_id)
    if anonymous_id is not None:
        return {**body, "anonymous_id": anonymous_id}
    return {**body, "author_id": comment.author_id, "author_name": viewer.get_user_name(comment.author_id)}


def _anonymous_author_id(viewer: Viewer, author_id: int) -> str | None:
    """What stands for an author who is anonymous to the user, None for one who is not."""
    if author_id == viewer.user_id:
        return None
    assignment = viewer.assignment
    if author_id in assignment.grader_slots:
        is_anonymous = assignment.moderated_grading and assignment.grades_published_at is None
        return assignment.grader_slots[author_id] if is_anonymous and not viewer.can_view_grader_names else None
    if author_id in viewer.course.student_ordinals and viewer.anonymizes_students:
        return ids.anonymous_id(viewer.course, assignment, author_id)
    return None
