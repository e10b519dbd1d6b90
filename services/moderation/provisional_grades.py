"""Making and changing provisional grades.

Canvas: app/models/abstract_assignment.rb (grade_student), app/models/submission.rb (find_or_create_provisional_grade!).
The checks stand in Canvas's order; a refusal leaves no slot, no grade and no excusal behind.
"""

from datetime import datetime
from decimal import Decimal
from typing import Any

from services.moderation import event_payloads, grade_conversion
from services.moderation.assignment import Assignment, ProvisionalGrade
from services.moderation.commands import RecordProvisionalComment, RecordProvisionalGrade
from services.moderation.course import Course
from services.moderation.decisions import (
    BLANK_COMMENT,
    CANNOT_MODIFY_SELECTED,
    FINAL_WITHOUT_PROVISIONAL,
    GRADE_AND_EXCUSE,
    INVALID_SCORE,
    MAX_GRADERS_REACHED,
    NOT_FOUND,
    STUDENT_NOT_ENROLLED,
    UNAUTHORIZED,
    Accepted,
    Decision,
)
from services.moderation.events import (
    Event,
    GraderSlotTaken,
    ProvisionalCommentCreated,
    ProvisionalGradeCreated,
    ProvisionalGradeUpdated,
    SubmissionUpdated,
)

# What Ruby's strip takes away.
_RUBY_WHITESPACE = "\0\t\n\v\f\r "


def record_grade(
    data: RecordProvisionalGrade, actor_id: int, course: Course, assignment: Assignment, at: datetime
) -> Decision:
    """A grade, an excusal or a clearing, with or without a comment."""
    comment = _normalize_comment(data.comment)
    has_grade = data.posted_grade is not None or data.score is not None
    if not has_grade and data.excuse is None and (comment is not None or data.rubric_assessment is not None):
        return _record_without_grade(data, comment, actor_id, course, assignment)
    if not course.has_permission(actor_id, "manage_grades"):
        return UNAUTHORIZED
    student = data.student_id
    if not course.is_gradable(student):
        return STUDENT_NOT_ENROLLED
    if not course.is_visible_student(student, course.visible_sections(actor_id)):
        return NOT_FOUND
    if data.excuse and has_grade:
        return GRADE_AND_EXCUSE
    if not assignment.can_be_moderated_grader(course, actor_id):
        return MAX_GRADERS_REACHED
    is_moderator = assignment.permits_moderation(course, actor_id)
    grade = _convert_grade(data, course, assignment)
    submission = assignment.submission(student)
    excused = bool(data.excuse) and grade is None if is_moderator else submission.excused
    # Who asks for nothing clears nothing, also where the student is excused.
    if grade is None and data.posted_grade != "" and not (excused and (has_grade or data.excuse is not None)):
        return INVALID_SCORE
    final = data.final and is_moderator
    existing = assignment.find_provisional_grade(student, actor_id, final)
    if existing is not None and _is_locked_by_selection(existing, course, assignment):
        return CANNOT_MODIFY_SELECTED
    if existing is None and final and not assignment.grades_by_student.get(student):
        return FINAL_WITHOUT_PROVISIONAL
    submission_id = assignment.submission_id(course, student)
    events: list[Event] = _claim_grader_slot(assignment, actor_id)
    if excused != submission.excused:
        excused_change = {"excused": (submission.excused, excused)}
        events.append(SubmissionUpdated(student_id=student, submission_id=submission_id, changes=excused_change))
    score, grade_text = (None, None) if grade is None else (grade.score, grade.grade)
    if existing is None:
        created = ProvisionalGradeCreated(
            student_id=student,
            submission_id=submission_id,
            provisional_grade_id=assignment.next_provisional_grade_id(),
            scorer_id=actor_id,
            score=score,
            grade=grade_text,
            graded_at=at,
            final=final,
            graded_anonymously=data.graded_anonymously,
            rubric_assessment=data.rubric_assessment,
        )
        events.append(created)
        grade_id, graded_anonymously = created.provisional_grade_id, data.graded_anonymously
    else:
        changes = _compute_changes(existing, data, actor_id, score, grade_text, at)
        grade_id = existing.provisional_grade_id
        graded_anonymously = changes.get("graded_anonymously", (None, existing.graded_anonymously))[1]
        events.append(
            ProvisionalGradeUpdated(
                student_id=student, submission_id=submission_id, provisional_grade_id=grade_id, changes=changes
            )
        )
    if comment is not None:
        events.append(_build_comment_event(assignment, grade_id, student, submission_id, actor_id, comment))
    result = _provisional_grade_json(
        grade_id, score, grade_text, at, actor_id, final, graded_anonymously, submission.submitted_at
    )
    return Accepted(tuple(events), result)


def record_comment(data: RecordProvisionalComment, actor_id: int, course: Course, assignment: Assignment) -> Decision:
    """A comment alone: it takes a slot, and touches neither grade nor score nor ``graded_at``."""
    comment = _normalize_comment(data.comment)
    if comment is None:
        return BLANK_COMMENT
    comment_only = RecordProvisionalGrade(student_id=data.student_id, final=data.final)
    return _record_without_grade(comment_only, comment, actor_id, course, assignment)


def _normalize_comment(comment: str | None) -> str | None:
    """A comment as Canvas keeps it, None for a blank one (app/models/submission.rb, add_comment)."""
    return None if comment is None else comment.strip(_RUBY_WHITESPACE) or None


def _record_without_grade(
    data: RecordProvisionalGrade, comment: str | None, actor_id: int, course: Course, assignment: Assignment
) -> Decision:
    # The right to comment comes with manage_grades alone (Canvas: app/models/submission.rb, set_policy).
    if not course.has_permission(actor_id, "manage_grades"):
        return UNAUTHORIZED
    student = data.student_id
    if not course.is_gradable(student):
        return STUDENT_NOT_ENROLLED
    if not course.is_visible_student(student, course.visible_sections(actor_id)):
        return NOT_FOUND
    if not assignment.can_be_moderated_grader(course, actor_id):
        return MAX_GRADERS_REACHED
    final = data.final and assignment.permits_moderation(course, actor_id)
    existing = assignment.find_provisional_grade(student, actor_id, final)
    if existing is None and final and not assignment.grades_by_student.get(student):
        return FINAL_WITHOUT_PROVISIONAL
    is_rubric_changed = existing is not None and data.rubric_assessment not in (None, existing.rubric_assessment)
    if existing is not None and is_rubric_changed and _is_locked_by_selection(existing, course, assignment):
        return CANNOT_MODIFY_SELECTED
    submission_id = assignment.submission_id(course, student)
    events: list[Event] = _claim_grader_slot(assignment, actor_id)
    if existing is None:
        created = ProvisionalGradeCreated(
            student_id=student,
            submission_id=submission_id,
            provisional_grade_id=assignment.next_provisional_grade_id(),
            scorer_id=actor_id,
            score=None,
            grade=None,
            graded_at=None,
            final=final,
            graded_anonymously=None,
            rubric_assessment=data.rubric_assessment,
        )
        events.append(created)
        result = _provisional_grade_json(created.provisional_grade_id, None, None, None, actor_id, final, None, None)
    else:
        changes: dict[str, tuple[Any, Any]] = {}
        if existing.scorer_id != actor_id:
            changes["scorer_id"] = (existing.scorer_id, actor_id)
        if is_rubric_changed:
            changes["rubric_assessment"] = (existing.rubric_assessment, data.rubric_assessment)
        if changes:
            events.append(
                ProvisionalGradeUpdated(
                    student_id=student,
                    submission_id=submission_id,
                    provisional_grade_id=existing.provisional_grade_id,
                    changes=changes,
                )
            )
        result = _provisional_grade_json(
            existing.provisional_grade_id,
            existing.score,
            existing.grade,
            existing.graded_at,
            actor_id,
            final,
            existing.graded_anonymously,
            assignment.submission(student).submitted_at,
        )
    if comment is not None:
        events.append(
            _build_comment_event(assignment, result["provisional_grade_id"], student, submission_id, actor_id, comment)
        )
    return Accepted(tuple(events), result)


def _convert_grade(
    data: RecordProvisionalGrade, course: Course, assignment: Assignment
) -> grade_conversion.Grade | None:
    scheme = assignment.grading_scheme or course.grading_scheme
    if data.posted_grade:
        return grade_conversion.parse_grade(
            data.posted_grade,
            assignment.grading_type,
            assignment.points_possible,
            scheme,
            prefer_points=data.prefer_points_over_scheme,
        )
    if data.score is not None:
        return grade_conversion.grade_from_score(
            data.score, assignment.grading_type, assignment.points_possible, scheme
        )
    return None


def _is_locked_by_selection(grade: ProvisionalGrade, course: Course, assignment: Assignment) -> bool:
    """A selected grade is its grader's no longer, unless the grader is the final grader; an excusal would blank it."""
    is_selected = assignment.selected_grade_id(course, grade.student_id) == grade.provisional_grade_id
    return is_selected and not assignment.is_final_grader(course, grade.scorer_id)


def _claim_grader_slot(assignment: Assignment, actor_id: int) -> list[Event]:
    """A slot is per moderated assignment; the final grader's does not count while they are final grader.

    Canvas: app/models/abstract_assignment.rb, ensure_grader_can_adjudicate.
    """
    if actor_id in assignment.grader_slots or not assignment.moderated_grading:
        return []
    return [GraderSlotTaken(grader_id=actor_id, anonymous_id=assignment.generate_grader_anonymous_id(actor_id))]


def _compute_changes(
    existing: ProvisionalGrade,
    data: RecordProvisionalGrade,
    actor_id: int,
    score: Decimal | None,
    grade_text: str | None,
    at: datetime,
) -> dict[str, tuple[Any, Any]]:
    new_values: dict[str, Any] = {"score": score, "grade": grade_text, "scorer_id": actor_id}
    if data.graded_anonymously is not None:
        new_values["graded_anonymously"] = data.graded_anonymously
    if data.rubric_assessment is not None:
        new_values["rubric_assessment"] = data.rubric_assessment
    changes = {n: (old, new) for n, new in new_values.items() if (old := getattr(existing, n)) != new}
    changes["graded_at"] = (existing.graded_at, at)
    return changes


def _build_comment_event(
    assignment: Assignment, grade_id: int, student_id: int, submission_id: int, author_id: int, comment: str
) -> ProvisionalCommentCreated:
    return ProvisionalCommentCreated(
        student_id=student_id,
        submission_id=submission_id,
        provisional_grade_id=grade_id,
        comment_id=assignment.next_comment_id(),
        author_id=author_id,
        comment=comment,
    )


def _provisional_grade_json(
    grade_id: int,
    score: Decimal | None,
    grade_text: str | None,
    graded_at: datetime | None,
    scorer_id: int,
    final: bool,
    graded_anonymously: bool | None,
    submitted_at: datetime | None,
) -> dict[str, Any]:
    """Canvas's ProvisionalGrade, without what depends on who looks at it."""
    json_score = event_payloads.decimal_to_json(score)
    return {
        "provisional_grade_id": grade_id,
        "score": json_score,
        "entered_score": json_score,
        "grade": grade_text,
        "entered_grade": grade_text,
        "graded_at": event_payloads.format_canvas_time(graded_at),
        "graded_anonymously": graded_anonymously,
        "final": final,
        "grade_matches_current_submission": submitted_at is None or graded_at is None or submitted_at <= graded_at,
        "scorer_id": scorer_id,
    }
