"""One command, the state before it, the time: events and the answer, or a refusal."""

from datetime import datetime
from typing import assert_never

from services.moderation import commands as asked
from services.moderation import facts, moderating, provisional
from services.moderation.assignment import Assignment
from services.moderation.commands import Command
from services.moderation.course import Course
from services.moderation.decision import NOT_FOUND, UNAUTHENTICATED, Decision


def decide(command: Command, course: Course, assignment: Assignment | None, *, at: datetime) -> Decision:
    """Decide a command; nothing is changed.

    ``course`` and ``assignment`` with version 0 do not exist yet; ``assignment`` None: a fact about the course.
    """
    data = command.data
    match data:
        case asked.UpsertCourse():
            return facts.upsert_course(data, course)
        case asked.UpsertUsers():
            return facts.upsert_users(data, course)
        case asked.UpsertEnrollments():
            return facts.upsert_enrollments(data, course)
        case asked.UpsertAdmins():
            return facts.upsert_admins(data, course)
    if not isinstance(data, asked.AssignmentFact) and command.actor_id is None:
        return UNAUTHENTICATED
    if not course.version or assignment is None or assignment.course_id != command.course_id:
        return NOT_FOUND
    if isinstance(data, asked.ConfigureAssignment):
        return facts.configure_assignment(data, course, assignment)
    if not assignment.version:
        return NOT_FOUND
    # The moderation set is found also of a deleted assignment (Canvas: ModerationSetController#load_assignment).
    if assignment.deleted and not isinstance(data, asked.SelectStudentsForModeration):
        return NOT_FOUND
    return _about_assignment(data, command.actor_id or 0, course, assignment, at)


def _about_assignment(
    data: asked.Moderation
    | asked.RecordSubmission
    | asked.RecordSubmissionComment
    | asked.PostGrades
    | asked.HideGrades,
    actor: int,
    course: Course,
    assignment: Assignment,
    at: datetime,
) -> Decision:
    match data:
        case asked.RecordProvisionalGrade():
            return provisional.record_grade(data, actor, course, assignment, at)
        case asked.RecordProvisionalComment():
            return provisional.record_comment(data, actor, course, assignment)
        case asked.SelectProvisionalGrade():
            return moderating.select(data, actor, course, assignment)
        case asked.BulkSelectProvisionalGrades():
            return moderating.bulk_select(data, actor, course, assignment)
        case asked.SelectStudentsForModeration():
            return moderating.select_students(data, actor, course, assignment)
        case asked.PublishProvisionalGrades():
            return moderating.publish(actor, course, assignment, at)
        case asked.RecordSubmission():
            return facts.record_submission(data, course, assignment)
        case asked.RecordSubmissionComment():
            return facts.record_submission_comment(data, course, assignment, at)
        case asked.PostGrades():
            return facts.post_grades(data, course, assignment, at)
        case asked.HideGrades():
            return facts.hide_grades(data, course, assignment)
        case _:
            assert_never(data)
