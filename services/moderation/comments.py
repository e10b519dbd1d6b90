"""Which comments a user sees, and how one is shown.

Canvas: app/models/submission_comment.rb (can_view_comment?), lib/api/v1/submission_comment.rb.
"""

from collections.abc import Iterable
from typing import Any

from services.moderation.assignment import Assignment, Comment
from services.moderation.course import Course
from services.moderation.identity import may_grade_or_look, sees_graders, sees_graders_comments
from services.moderation.payload import seconds

Json = dict[str, Any]


def of_submission(course: Course, assignment: Assignment, user_id: int, student_id: int) -> list[Json]:
    """Those of a submission that the user sees, ordinary and provisional, oldest first.

    After the publication the chosen grader's provisional ones are left out: their public copies stand for them.
    """
    submission = assignment.submission(student_id)
    provisional = (comment for grade in assignment.of_student.get(student_id, ()) for comment in grade.comments)
    if assignment.moderated_grading and assignment.grades_published_at is not None:
        provisional = (comment for comment in provisional if comment.author_id != submission.grader_id)
    seen = _seen(course, assignment, user_id, student_id, submission.comments, provisional=False)
    seen += _seen(course, assignment, user_id, student_id, provisional, provisional=True)
    seen.sort(key=lambda comment: (comment.created_at, comment.comment_id))
    return _shown(course, assignment, user_id, seen)


def of_grade(
    course: Course, assignment: Assignment, user_id: int, student_id: int, comments: Iterable[Comment]
) -> list[Json]:
    """Those of a provisional grade that the user sees, and the submission's ordinary ones."""
    ordinary = assignment.submission(student_id).comments
    seen = _seen(course, assignment, user_id, student_id, comments, provisional=True)
    seen += _seen(course, assignment, user_id, student_id, ordinary, provisional=False)
    return _shown(course, assignment, user_id, seen)


def _seen(
    course: Course,
    assignment: Assignment,
    user_id: int,
    student_id: int,
    comments: Iterable[Comment],
    *,
    provisional: bool,
) -> list[Comment]:
    authors = _authors_read(course, assignment, user_id, student_id, provisional=provisional)
    return [c for c in comments if authors is None or c.author_id in authors]


def _authors_read(
    course: Course, assignment: Assignment, user_id: int, student_id: int, *, provisional: bool
) -> frozenset[int] | None:
    """Whose comments on a student's submission the user reads; None: everybody's."""
    submission = assignment.submission(student_id)
    published = assignment.grades_published_at is not None
    if assignment.permits_moderation(course, user_id):
        return None
    if not assignment.moderated_grading and course.may(user_id, "manage_grades"):
        return None
    own = {user_id}
    if user_id == student_id:
        if submission.posted_at is None:
            return frozenset(own)
        if not provisional:
            return None
        return frozenset(own | {assignment.final_grader_id or user_id} if published else own)
    if not may_grade_or_look(course, user_id):
        return frozenset(own)
    if sees_graders_comments(course, assignment, user_id):
        return None
    after = (assignment.final_grader_id, submission.grader_id) if published else ()
    return frozenset(own | {student_id} | {author for author in after if author is not None})


def _shown(course: Course, assignment: Assignment, user_id: int, comments: Iterable[Comment]) -> list[Json]:
    return [_line(course, assignment, user_id, comment) for comment in comments]


def _line(course: Course, assignment: Assignment, user_id: int, comment: Comment) -> Json:
    line: Json = {
        "id": comment.comment_id,
        "comment": comment.comment,
        "created_at": seconds(comment.created_at),
        "edited_at": None,
    }
    anonymous_id = _anonymous_author(course, assignment, user_id, comment.author_id)
    if anonymous_id is not None:
        return {**line, "anonymous_id": anonymous_id}
    name = course.users.get(comment.author_id, {}).get("name")
    return {**line, "author_id": comment.author_id, "author_name": name}


def _anonymous_author(course: Course, assignment: Assignment, user_id: int, author_id: int) -> str | None:
    """What stands for an author who is anonymous to the user, None for one who is not."""
    if author_id == user_id:
        return None
    slots = assignment.slots
    if author_id in slots:
        secret = assignment.moderated_grading and assignment.grades_published_at is None
        return slots[author_id] if secret and not sees_graders(course, assignment, user_id) else None
    if author_id in course.student_ordinals and not assignment.students_named(course, user_id):
        return assignment.anonymous_id(course, author_id) if assignment.hides_students(course) else None
    return None
