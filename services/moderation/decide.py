"""Decides a command on the state before it: events and an answer, or a refusal."""

from datetime import datetime
from typing import assert_never

from services.moderation import (
    adjudication,
    allocation,
    assignment_facts,
    commands,
    course_facts,
    erasure,
    provisional_grades,
    publication,
    publication_plan,
    revision,
    sampling,
    schedule,
    selection,
    submission_facts,
)
from services.moderation.assignment import Assignment
from services.moderation.commands import Command
from services.moderation.course import Course
from services.moderation.decisions import (
    ASSIGNMENT_DELETED,
    ASSIGNMENT_OF_ANOTHER_COURSE,
    ASSIGNMENT_UNKNOWN,
    COURSE_UNKNOWN,
    UNAUTHENTICATED,
    Decision,
)


def decide(
    command: Command,
    course: Course,
    assignment: Assignment | None,
    *,
    at: datetime,
    has_personal_data: bool = False,
) -> Decision:
    """Decide a command; nothing is changed.

    A ``course`` or ``assignment`` of version 0 does not exist yet; ``assignment`` None: a fact about the course.
    ``has_personal_data``: whether the log can read any text of the person that ``erase_person`` names in the course.
    """
    data = command.data
    match data:
        case commands.UpsertCourse():
            return course_facts.upsert_course(data, course)
        case commands.UpsertUsers():
            return course_facts.upsert_users(data, course, at)
        case commands.UpsertEnrollments():
            return course_facts.upsert_enrollments(data, course)
        case commands.UpsertAdmins():
            return course_facts.upsert_admins(data, course)
        case commands.ErasePerson():
            return erasure.erase_person(data, course, has_personal_data)
    if not isinstance(data, commands.AssignmentFact) and command.actor_id is None:
        return UNAUTHENTICATED
    if not course.version:
        return COURSE_UNKNOWN
    if assignment is None or assignment.course_id != command.course_id:
        # Only the LMS, which states facts, may know what other courses have.
        is_fact = assignment is not None and isinstance(data, commands.AssignmentFact)
        return ASSIGNMENT_OF_ANOTHER_COURSE if is_fact else ASSIGNMENT_UNKNOWN
    if isinstance(data, commands.ConfigureAssignment):
        return assignment_facts.configure_assignment(data, course, assignment)
    if not assignment.version:
        return ASSIGNMENT_UNKNOWN
    # Canvas finds the moderation set of a deleted assignment too (ModerationSetController#load_assignment).
    if assignment.deleted and not isinstance(data, commands.SelectStudentsForModeration):
        return ASSIGNMENT_DELETED
    return _decide_assignment_command(data, command.actor_id or 0, command.command_id, course, assignment, at)


def _decide_assignment_command(
    data: commands.ModerationCommand
    | commands.RecordSubmission
    | commands.RecordSubmissionComment
    | commands.PostGrades
    | commands.HideGrades,
    actor_id: int,
    command_id: str,
    course: Course,
    assignment: Assignment,
    at: datetime,
) -> Decision:
    match data:
        case commands.RecordProvisionalGrade():
            return provisional_grades.record_grade(data, actor_id, course, assignment, at)
        case commands.RecordProvisionalComment():
            return provisional_grades.record_comment(data, actor_id, course, assignment)
        case commands.SelectProvisionalGrade():
            return selection.select_grade(data, actor_id, course, assignment)
        case commands.BulkSelectProvisionalGrades():
            return selection.bulk_select_grades(data, actor_id, course, assignment)
        case commands.SelectStudentsForModeration():
            return selection.select_students(data, actor_id, course, assignment)
        case commands.PublishProvisionalGrades():
            return publication.publish_grades(data, actor_id, course, assignment, at)
        case commands.PlanPublication():
            return publication_plan.plan_publication(actor_id, course, assignment)
        case commands.SchedulePublication():
            return schedule.schedule_publication(data, actor_id, command_id, course, assignment, at)
        case commands.CancelScheduledPublication():
            return schedule.cancel_publication(actor_id, course, assignment)
        case commands.SetAdjudicationPolicy():
            return adjudication.set_adjudication_policy(data, actor_id, course, assignment)
        case commands.AdjudicateProvisionalGrades():
            return adjudication.adjudicate_grades(data, actor_id, course, assignment, at)
        case commands.RevisePublishedGrade():
            return revision.revise_grade(data, actor_id, course, assignment, at)
        case commands.WithdrawPublishedGrade():
            return revision.withdraw_grade(data, actor_id, course, assignment, at)
        case commands.ReleaseGraderSlot():
            return allocation.release_slot(data, actor_id, course, assignment)
        case commands.DrawModerationSample():
            return sampling.draw_sample(data, actor_id, course, assignment)
        case commands.AllocateSubmissions():
            return allocation.allocate_submissions(data, actor_id, course, assignment)
        case commands.RecordSubmission():
            return submission_facts.record_submission(data, course, assignment, at)
        case commands.RecordSubmissionComment():
            return submission_facts.record_submission_comment(data, course, assignment, at)
        case commands.PostGrades():
            return submission_facts.post_grades(data, course, assignment, at)
        case commands.HideGrades():
            return submission_facts.hide_grades(data, course, assignment)
        case _:
            assert_never(data)
