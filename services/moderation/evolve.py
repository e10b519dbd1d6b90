"""Applies events of an assignment's stream in place: their cost does not depend on the size of the class."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, assert_never

from services.moderation.adjudication_rules import Grading, Mark, build_basis
from services.moderation.assignment import (
    Adjudication,
    Assignment,
    GradingSettings,
    ProvisionalGrade,
    ScheduledPublication,
    Selection,
)
from services.moderation.events import (
    AssignmentCreated,
    AssignmentEvent,
    AssignmentUpdated,
    GradePublished,
    GradeRevised,
    GraderSlotReleased,
    GraderSlotTaken,
    GradesPosted,
    GradeWithdrawn,
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
)
from services.moderation.grade_entries import add_grade, change_grade
from services.moderation.gradebook_entries import (
    apply_publication,
    apply_revision,
    apply_submission_fields,
    new_comment,
)


def evolve_assignment(assignment: Assignment, event: AssignmentEvent, *, position: int, at: datetime) -> None:
    """Apply an event of an assignment's stream."""
    assignment.version += 1
    # The most frequent events first.
    match event:
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
        case ProvisionalGradeSelected(student_id=student, provisional_grade_id=grade_id):
            assignment.selections[student] = Selection(grade_id, position, _claims_selection(assignment, student))
            assignment.touch_submission(student, at)
        case AssignmentCreated(settings=settings):
            _apply_settings(assignment, settings.items(), position)
        case AssignmentUpdated(changes=changes, kept_student_ids=kept_student_ids):
            _apply_settings(assignment, [(name, new) for name, (_, new) in changes.items()], position)
            assignment.added_students.update(kept_student_ids)
        case SubmissionRecorded(student_id=student, changed_fields=changed_fields):
            submission = assignment.changeable_submission(student, at)
            was_graded = submission.workflow_state == "graded"
            apply_submission_fields(assignment, submission, student, changed_fields)
            if "score" in changed_fields or "grade" in changed_fields:
                submission.graded_position, submission.graded_state_changes = position, ()
            elif was_graded != (submission.workflow_state == "graded"):
                submission.graded_state_changes += (position,)
            if "score" in changed_fields:
                # Only the LMS knows how much of the new score was deducted.
                submission.points_deducted = None
        case SubmissionCommentRecorded(student_id=student, author_id=author, comment=comment, created_at=created_at):
            submission = assignment.changeable_submission(student, at)
            submission.comments += (new_comment(assignment, None, author, comment, created_at),)
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
        case ProvisionalCommentCreated(provisional_grade_id=grade_id, comment_id=comment_id, author_id=author):
            grade = assignment.provisional_grades[grade_id]
            grade.comments += (new_comment(assignment, comment_id, author, event.comment, at),)
            assignment.touch_submission(event.student_id, at)
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
            apply_publication(assignment, event, position, at)
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
            apply_revision(assignment, event, position, at)
        case SubmissionPosted(student_id=student, posted_at=posted_at):
            assignment.changeable_submission(student, at).posted_at = posted_at
        case SubmissionHidden(student_id=student):
            assignment.changeable_submission(student, at).posted_at = None
        case _:
            assert_never(event)


def _apply_adjudication(assignment: Assignment, event: ProvisionalGradeAdjudicated) -> None:
    grading = Grading(event.points_possible, event.grading_type, event.grading_scheme)
    grades = assignment.provisional_grades
    marks = [
        Mark(row["provisional_grade_id"], row["scorer_id"], row["score"], grades[row["provisional_grade_id"]].grade)
        for row in event.marks
    ]
    basis = build_basis(event.policy, marks, grading)
    last = assignment.adjudications.get(event.student_id)
    if event.outcome == "kept" and last is not None:
        # A kept selection keeps the basis of the adjudication that made it.
        basis = last.basis
    assignment.adjudications[event.student_id] = Adjudication(
        event.outcome,
        event.score,
        event.failed,
        event.missing,
        basis,
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
