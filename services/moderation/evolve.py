"""Applies events to the state in place: the cost of an event does not depend on the size of the class."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any, assert_never

from services.moderation import ids
from services.moderation.adjudication_rules import Grading, Mark, build_basis
from services.moderation.assignment import (
    Adjudication,
    Assignment,
    GradingSettings,
    ProvisionalGrade,
    ScheduledPublication,
    Selection,
)
from services.moderation.course import STUDENT_TYPES, Course, Enrollment
from services.moderation.events import (
    AdminsUpdated,
    AssignmentCreated,
    AssignmentEvent,
    AssignmentUpdated,
    CourseEvent,
    CourseUpdated,
    EnrollmentsUpdated,
    GradePublished,
    GradeRevised,
    GraderSlotReleased,
    GraderSlotTaken,
    GradesPosted,
    GradeWithdrawn,
    PersonErased,
    ProvisionalCommentCreated,
    ProvisionalGradeAdjudicated,
    ProvisionalGradeCreated,
    ProvisionalGradeSelected,
    ProvisionalGradeUpdated,
    PublicationScheduleCancelled,
    PublicationScheduled,
    StudentsSelectedForModeration,
    SubmissionCommentRecorded,
    SubmissionHidden,
    SubmissionPosted,
    SubmissionRecorded,
    SubmissionsAllocated,
    SubmissionUpdated,
    UsersUpdated,
)
from services.moderation.grade_entries import add_grade, change_grade
from services.moderation.submission import Comment, Submission


def evolve_course(course: Course, event: CourseEvent, *, position: int, at: datetime) -> None:
    """Apply an event of a course's stream; ``position``: its position in the shard."""
    course.version += 1
    match event:
        case CourseUpdated(changes=changes):
            for name, (_, new) in changes.items():
                setattr(course, name, new)
            if "grading_scheme" in changes:
                course.grading_scheme_changes.append((position, course.grading_scheme))
        case UsersUpdated(users=users):
            for row in users:
                course.users.setdefault(row["user_id"], {}).update(row)
        case EnrollmentsUpdated(enrollments=rows):
            _apply_enrollments(course, [Enrollment(**row) for row in rows], position)
        case AdminsUpdated(admins=admins):
            for row in admins:
                if row["permissions"]:
                    course.admins[row["user_id"]] = frozenset(row["permissions"])
                else:
                    course.admins.pop(row["user_id"], None)
        case PersonErased(user_id=user_id):
            course.users.pop(user_id, None)
            course.erased_at_position = position
        case _:
            assert_never(event)


def _apply_enrollments(course: Course, enrollments: list[Enrollment], position: int) -> None:
    # A student whom one command moves between sections is not unenrolled in between.
    students = {e.user_id for e in enrollments if course.is_enrolled_student(e.user_id)}
    for enrollment in enrollments:
        user = enrollment.user_id
        course.enrollments.setdefault(user, {})[_enrollment_key(enrollment.type, enrollment.section_id)] = enrollment
        if enrollment.type in STUDENT_TYPES:
            course.student_ordinals.setdefault(user, len(course.student_ordinals) + 1)
    for student in students:
        if not course.is_enrolled_student(student):
            course.unenrolled_at_position[student] = position


@lru_cache(maxsize=4_096)
def _enrollment_key(enrollment_type: str, section_id: int | None) -> tuple[str, int | None]:
    """Return one shared key per kind of enrolment: a class would hold thousands of equal ones."""
    return enrollment_type, section_id


def evolve_assignment(assignment: Assignment, event: AssignmentEvent, *, position: int, at: datetime) -> None:
    """Apply an event of an assignment's stream."""
    assignment.version += 1
    match event:
        case AssignmentCreated(settings=settings):
            _apply_settings(assignment, settings.items(), position)
        case AssignmentUpdated(changes=changes, kept_student_ids=kept_student_ids):
            _apply_settings(assignment, [(name, new) for name, (_, new) in changes.items()], position)
            assignment.added_students.update(kept_student_ids)
        case SubmissionRecorded(student_id=student, changed_fields=changed_fields):
            submission = assignment.changeable_submission(student, at)
            was_graded = submission.workflow_state == "graded"
            _apply_submission_fields(assignment, submission, student, changed_fields)
            if "score" in changed_fields or "grade" in changed_fields:
                submission.graded_position, submission.graded_state_changes = position, ()
            elif was_graded != (submission.workflow_state == "graded"):
                submission.graded_state_changes += (position,)
            if "score" in changed_fields:
                # Only the LMS knows how much of the new score was deducted.
                submission.points_deducted = None
        case SubmissionCommentRecorded(student_id=student, author_id=author, comment=comment, created_at=created_at):
            submission = assignment.changeable_submission(student, at)
            submission.comments += (_new_comment(assignment, None, author, comment, created_at),)
        case GraderSlotTaken(grader_id=grader, anonymous_id=anonymous_id):
            assignment.grader_slots[grader] = anonymous_id
            assignment.released_graders.discard(grader)
        case GraderSlotReleased(grader_id=grader):
            assignment.released_graders.add(grader)
        case SubmissionsAllocated(allocations=rows, enforced=enforced):
            assignment.allocations.update((row["student_id"], row["grader_ids"]) for row in rows)
            assignment.allocation_enforced = enforced
        case StudentsSelectedForModeration(student_ids=students, sampled=sampled):
            assignment.added_students.update(students)
            assignment.sample_reasons.update((row["student_id"], row["reasons"]) for row in sampled)
            assignment.student_list_cache.clear()
        case ProvisionalGradeCreated():
            grade = ProvisionalGrade(
                event.provisional_grade_id,
                event.student_id,
                event.scorer_id,
                event.final,
                event.score,
                event.grade,
                event.graded_at,
                event.graded_anonymously,
                event.rubric_assessment,
            )
            add_grade(assignment, grade, position=position, at=at)
        case ProvisionalGradeUpdated(provisional_grade_id=grade_id, changes=changes):
            new_values = [(name, new) for name, (_, new) in changes.items()]
            change_grade(assignment, grade_id, new_values, position=position, at=at)
        case ProvisionalCommentCreated(provisional_grade_id=grade_id, comment_id=comment_id, author_id=author):
            grade = assignment.provisional_grades[grade_id]
            grade.comments += (_new_comment(assignment, comment_id, author, event.comment, at),)
            assignment.touch_submission(event.student_id, at)
        case ProvisionalGradeSelected(student_id=student, provisional_grade_id=grade_id):
            assignment.selections[student] = Selection(grade_id, position, _claims_selection(assignment, student))
            assignment.touch_submission(student, at)
        case ProvisionalGradeAdjudicated():
            _apply_adjudication(assignment, event)
            assignment.touch_submission(event.student_id, at)
        case SubmissionUpdated(student_id=student, changes=changes):
            submission = assignment.changeable_submission(student, at)
            for name, (_, new) in changes.items():
                setattr(submission, name, new)
            if "score" in changes or "grade" in changes:
                submission.graded_position, submission.graded_state_changes = position, ()
            if submission.excused and submission.workflow_state != "graded":
                submission.workflow_state, submission.graded_at = "graded", at
                submission.graded_state_changes += (position,)
            if "score" in changes:
                submission.points_deducted = None
        case GradePublished():
            _apply_publication(assignment, event, position, at)
        case GradesPosted(grades_published_at=published_at):
            assignment.grades_published_at = published_at
            assignment.scheduled_publication = None
        case PublicationScheduled():
            assignment.scheduled_publication = ScheduledPublication(
                event.schedule_id, event.publish_at, event.user_id, event.plan_digest
            )
        case PublicationScheduleCancelled():
            assignment.scheduled_publication = None
        case GradeRevised() | GradeWithdrawn():
            _apply_revision(assignment, event, position, at)
        case SubmissionPosted(student_id=student, posted_at=posted_at):
            assignment.changeable_submission(student, at).posted_at = posted_at
        case SubmissionHidden(student_id=student):
            assignment.changeable_submission(student, at).posted_at = None
        case _:
            assert_never(event)


def _apply_adjudication(assignment: Assignment, event: ProvisionalGradeAdjudicated) -> None:
    grading = Grading(event.points_possible, event.grading_type, event.grading_scheme)
    marks = [Mark(row["provisional_grade_id"], row["scorer_id"], row["score"]) for row in event.marks]
    assignment.adjudications[event.student_id] = Adjudication(
        event.outcome,
        event.score,
        event.failed,
        event.missing,
        build_basis(event.policy, marks, grading),
        assignment.version,
        event.records_final,
        event.selects,
    )
    lapses = event.outcome not in ("agreed", "kept")
    if lapses and assignment.is_selected_by_adjudication(event.student_id):
        del assignment.selections[event.student_id]


def _claims_selection(assignment: Assignment, student_id: int) -> bool:
    """Return whether an adjudication announced this selection, and clear the announcement."""
    adjudication = assignment.adjudications.get(student_id)
    if adjudication is None or not adjudication.selects:
        return False
    adjudication.selects = False
    return True


_WORKFLOW_STATE_FIELDS = frozenset({"submitted_at", "attempt", "score", "grade", "graded_at"})


def _new_comment(
    assignment: Assignment, comment_id: int | None, author_id: int, text: str | None, created_at: datetime
) -> Comment:
    """Build a comment and count it; ``comment_id``: the id it already has, if any."""
    new_comment = Comment(comment_id or ids.next_comment_id(assignment), author_id, text, created_at)
    assignment.comment_count += 1
    return new_comment


_GRADING_SETTINGS = frozenset({"points_possible", "grading_type", "grading_scheme"})


def _apply_settings(assignment: Assignment, settings: Iterable[tuple[str, Any]], position: int) -> None:
    assignment.student_list_cache.clear()
    is_grading_changed = False
    for name, value in settings:
        is_grading_changed |= name in _GRADING_SETTINGS and value != getattr(assignment, name)
        if name == "adjudication":
            assignment.adjudication_version = assignment.version
        if name == "assigned_to":
            _apply_assigned_students(assignment, None if value is None else frozenset(value), position)
        else:
            setattr(assignment, name, value)
    if is_grading_changed:
        assignment.grading_settings_changes.append(
            GradingSettings(position, assignment.points_possible, assignment.grading_type, assignment.grading_scheme)
        )


def _apply_assigned_students(assignment: Assignment, students: frozenset[int] | None, position: int) -> None:
    """Unassign the students that are left out; those with a selection lose it."""
    previously_assigned, assignment.assigned_to = assignment.assigned_to, students
    if students is not None:
        for student in assignment.selections.keys() - students:
            if previously_assigned is None or student in previously_assigned:
                assignment.unassigned_at_position[student] = position


def _apply_submission_fields(
    assignment: Assignment, submission: Submission, student_id: int, changed_fields: Mapping[str, Any]
) -> None:
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
    if changed_fields.keys() & _WORKFLOW_STATE_FIELDS:
        is_graded = submission.score is not None or submission.grade is not None
        matches_submission = _grade_matches_submission(submission, changed_fields, is_graded)
        submission.grade_matches_current_submission = matches_submission
        submission.workflow_state = "graded" if is_graded and matches_submission else _ungraded_state(submission)


def _grade_matches_submission(submission: Submission, changed_fields: Mapping[str, Any], is_graded: bool) -> bool:
    """Return whether the grade is of this attempt; one from before a resubmission is kept but does not count for it."""
    if "graded_at" not in changed_fields and ("score" in changed_fields or "grade" in changed_fields):
        return True
    if submission.submitted_at is not None and submission.graded_at is not None:
        return submission.submitted_at <= submission.graded_at
    return "graded_at" in changed_fields or not is_graded


def _ungraded_state(submission: Submission) -> str:
    return "unsubmitted" if submission.submitted_at is None and not submission.attempt else "submitted"


def _apply_publication(assignment: Assignment, event: GradePublished, position: int, at: datetime) -> None:
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
        _new_comment(assignment, None, comment.author_id, comment.comment, comment.created_at)
        for comment in published_grade.comments
    )


def _apply_revision(assignment: Assignment, event: GradeRevised | GradeWithdrawn, position: int, at: datetime) -> None:
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
