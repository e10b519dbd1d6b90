"""Erasure of a person: the decision, and its effect on an assignment's state.

The log erases the texts themselves by deleting the key that encrypts them.
"""

from services.moderation import commands
from services.moderation.assignment import Assignment
from services.moderation.course import Course
from services.moderation.decisions import NOTHING_CHANGED, Accepted, Decision
from services.moderation.events import PersonErased
from services.moderation.submission import Submission


def erase_person(data: commands.ErasePerson, course: Course, has_personal_data: bool) -> Decision:
    """Erase a person; ``has_personal_data``: whether the log can read any text of theirs in this course."""
    if not course.version or not has_personal_data:
        return NOTHING_CHANGED
    return Accepted((PersonErased(user_id=data.user_id),))


def erase_texts(assignment: Assignment, student_id: int) -> None:
    """Set a student's comments and rubric assessments to None, as replaying the erased events would."""
    for grade in assignment.grades_by_student.get(student_id, ()):
        grade.rubric_assessment = None
        for comment in grade.comments:
            comment.comment = None
    submission = assignment.submissions.get(student_id)
    if isinstance(submission, Submission):
        submission.rubric_assessment = None
        for comment in submission.comments:
            comment.comment = None
