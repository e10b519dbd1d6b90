"""Which comments a user sees, and the two shapes in which Canvas shows one.

Canvas: app/models/submission_comment.rb (can_view_comment?, can_read_author?), lib/api/v1/submission_comment.rb.
"""

from collections.abc import Sequence
from typing import Any

from services.moderation import ids
from services.moderation.canvas_people import user_display_json
from services.moderation.course import INSTRUCTOR_TYPES
from services.moderation.json_values import format_canvas_time
from services.moderation.submission import Comment
from services.moderation.visibility import Viewer

Json = dict[str, Any]
ANONYMOUS_AUTHOR_NAME = "Anonymous User"


def list_submission_comments(viewer: Viewer, student_id: int) -> list[Json]:
    """Return the ordinary comments on a submission that the user sees, oldest first.

    Provisional comments belong to their provisional grade; publication copies those of the chosen grade.
    """
    visible = _list_visible_comments(viewer, student_id, viewer.assignment.submission(student_id).comments)
    return [_submission_comment_json(viewer, comment) for comment in visible]


def list_provisional_grade_comments(viewer: Viewer, student_id: int, comments: Sequence[Comment]) -> list[Json]:
    """Return a provisional grade's comments that the user sees, and the submission's ordinary ones, oldest first.

    After publication those are also the copies of the chosen grade's comments: Canvas leaves the originals out only in
    SpeedGrader's list of a submission (visible_submission_comments_for). Canvas: ProvisionalGrade#submission_comments,
    of Submission#all_submission_comments, which is sorted by time.
    """
    ordinary_comments = viewer.assignment.submission(student_id).comments
    visible = _list_visible_comments(viewer, student_id, [*comments, *ordinary_comments])
    return [_moderated_comment_json(viewer, comment) for comment in visible]


def _list_visible_comments(viewer: Viewer, student_id: int, comments: Sequence[Comment]) -> list[Comment]:
    if not comments:
        return []
    authors = _visible_author_ids(viewer, student_id)
    visible = [comment for comment in comments if authors is None or comment.author_id in authors]
    return sorted(visible, key=lambda comment: (comment.created_at, comment.comment_id))


def _visible_author_ids(viewer: Viewer, student_id: int) -> frozenset[int] | None:
    """Return the authors whose comments on a student's submission the user may read; None: all authors."""
    assignment, user_id = viewer.assignment, viewer.user_id
    submission = assignment.submission(student_id)
    if viewer.can_moderate:
        return None
    if not assignment.moderated_grading and viewer.course.has_permission(user_id, "manage_grades"):
        return None
    if user_id == student_id:
        return frozenset({user_id}) if submission.posted_at is None else None
    if not viewer.can_view_gradebook:
        return frozenset({user_id})
    if viewer.can_view_grader_comments:
        return None
    published = assignment.grades_published_at is not None
    authors_of_published = (assignment.final_grader_id, submission.grader_id) if published else ()
    return frozenset({user_id, student_id, *(author for author in authors_of_published if author is not None)})


def _submission_comment_json(viewer: Viewer, comment: Comment) -> Json:
    """Describe an ordinary comment (Canvas: submission_comment_json); its author is hidden if students are hidden."""
    body: Json = {
        "id": comment.comment_id,
        "comment": comment.comment,
        "created_at": format_canvas_time(comment.created_at),
        "edited_at": None,
        "attempt": None,
    }
    author_id = comment.author_id
    is_hidden = viewer.anonymizes_students or author_id in viewer.anonymous_graders
    if is_hidden and author_id != viewer.user_id:
        return {**body, "author_id": None, "author_name": ANONYMOUS_AUTHOR_NAME, "author": {}}
    return {
        **body,
        "author_id": author_id,
        "author_name": viewer.get_short_name(author_id),
        "author": user_display_json(viewer.course, author_id, viewer.lms_url),
    }


def _moderated_comment_json(viewer: Viewer, comment: Comment) -> Json:
    """Return a comment of a provisional grade (Canvas: anonymous_moderated_submission_comments_json)."""
    return {
        "id": comment.comment_id,
        "comment": comment.comment,
        "created_at": format_canvas_time(comment.created_at),
        "attempt": None,
        "draft": False,
        "publishable": False,
        "group_comment_id": None,
        "media_comment_id": None,
        "media_comment_type": None,
        "cached_attachments": None,
        **_moderated_author_fields(viewer, comment.author_id),
    }


def _moderated_author_fields(viewer: Viewer, author_id: int) -> Json:
    course, assignment = viewer.course, viewer.assignment
    is_own, author_name = author_id == viewer.user_id, viewer.get_short_name(author_id)
    if viewer.anonymizes_students and not is_own:
        if author_id in course.student_ordinals:
            return {"anonymous_id": ids.anonymous_id(course, assignment, author_id)}
        if not _is_grader(viewer, author_id):
            # An observer's name would reveal the student.
            return {"author_id": None, "author_name": ANONYMOUS_AUTHOR_NAME}
    if author_id in viewer.anonymous_graders:
        name = {"author_name": author_name} if is_own else {}
        return {"anonymous_id": viewer.anonymous_graders[author_id], **name}
    return {"author_id": author_id, "author_name": author_name}


def _is_grader(viewer: Viewer, user_id: int) -> bool:
    """Return whether the user grades here, or has graded here."""
    enrollments = viewer.course.enrollments.get(user_id, {}).values()
    is_instructor = any(enrollment.type in INSTRUCTOR_TYPES for enrollment in enrollments)
    return is_instructor or user_id in viewer.course.admins or user_id in viewer.assignment.grader_slots
