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
    FINAL_WITHOUT_PROVISIONAL,
    GRADE_AND_EXCUSE,
    INVALID_SCORE,
    MAX_GRADERS_REACHED,
    MODIFY_SELECTED,
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
_BLANKS = "\0\t\n\v\f\r "


def record_grade(
    data: RecordProvisionalGrade, actor: int, course: Course, assignment: Assignment, at: datetime
) -> Decision:
    """A grade, an excusal or a clearing, with or without a comment."""
    comment = _text_of(data.comment)
    sent = data.posted_grade is not None or data.score is not None
    if not sent and data.excuse is None and (comment is not None or data.rubric_assessment is not None):
        return _record_remark(data, comment, actor, course, assignment)
    if not course.may(actor, "manage_grades"):
        return UNAUTHORIZED
    student = data.student_id
    if not course.is_gradable(student):
        return STUDENT_NOT_ENROLLED
    if not course.is_visible_student(student, course.sections_seen_by(actor)):
        return NOT_FOUND
    if data.excuse and sent:
        return GRADE_AND_EXCUSE
    if not assignment.can_be_moderated_grader(course, actor):
        return MAX_GRADERS_REACHED
    moderator = assignment.permits_moderation(course, actor)
    grade = _converted(data, course, assignment)
    submission = assignment.submission(student)
    excused = bool(data.excuse) and grade is None if moderator else submission.excused
    # Who asks for nothing clears nothing, also where the student is excused.
    if grade is None and data.posted_grade != "" and not (excused and (sent or data.excuse is not None)):
        return INVALID_SCORE
    final = data.final and moderator
    existing = assignment.own_grade(student, actor, final)
    if existing is not None and _is_locked(existing, course, assignment):
        return MODIFY_SELECTED
    if existing is None and final and not assignment.of_student.get(student):
        return FINAL_WITHOUT_PROVISIONAL
    number = assignment.submission_id(course, student)
    events: list[Event] = _slot(assignment, actor)
    if excused != submission.excused:
        change = {"excused": (submission.excused, excused)}
        events.append(SubmissionUpdated(student_id=student, submission_id=number, changes=change))
    score, text = (None, None) if grade is None else (grade.score, grade.grade)
    if existing is None:
        created = ProvisionalGradeCreated(
            student_id=student,
            submission_id=number,
            provisional_grade_id=assignment.next_provisional_grade_id(),
            scorer_id=actor,
            score=score,
            grade=text,
            graded_at=at,
            final=final,
            graded_anonymously=data.graded_anonymously,
            rubric_assessment=data.rubric_assessment,
        )
        events.append(created)
        grade_id, anonymously = created.provisional_grade_id, data.graded_anonymously
    else:
        changes = _changes(existing, data, actor, score, text, at)
        grade_id = existing.provisional_grade_id
        anonymously = changes.get("graded_anonymously", (None, existing.graded_anonymously))[1]
        events.append(
            ProvisionalGradeUpdated(
                student_id=student, submission_id=number, provisional_grade_id=grade_id, changes=changes
            )
        )
    if comment is not None:
        events.append(_comment(assignment, grade_id, student, number, actor, comment))
    result = _result(grade_id, score, text, at, actor, final, anonymously, submission.submitted_at)
    return Accepted(tuple(events), result)


def record_comment(data: RecordProvisionalComment, actor: int, course: Course, assignment: Assignment) -> Decision:
    """A comment alone: it takes a slot, and touches neither grade nor score nor ``graded_at``."""
    comment = _text_of(data.comment)
    if comment is None:
        return BLANK_COMMENT
    remark = RecordProvisionalGrade(student_id=data.student_id, final=data.final)
    return _record_remark(remark, comment, actor, course, assignment)


def _text_of(comment: str | None) -> str | None:
    """A comment as Canvas keeps it, None for a blank one (app/models/submission.rb, add_comment)."""
    return None if comment is None else comment.strip(_BLANKS) or None


def _record_remark(
    data: RecordProvisionalGrade, comment: str | None, actor: int, course: Course, assignment: Assignment
) -> Decision:
    # The right to comment comes with manage_grades alone (Canvas: app/models/submission.rb, set_policy).
    if not course.may(actor, "manage_grades"):
        return UNAUTHORIZED
    student = data.student_id
    if not course.is_gradable(student):
        return STUDENT_NOT_ENROLLED
    if not course.is_visible_student(student, course.sections_seen_by(actor)):
        return NOT_FOUND
    if not assignment.can_be_moderated_grader(course, actor):
        return MAX_GRADERS_REACHED
    final = data.final and assignment.permits_moderation(course, actor)
    existing = assignment.own_grade(student, actor, final)
    if existing is None and final and not assignment.of_student.get(student):
        return FINAL_WITHOUT_PROVISIONAL
    rated = existing is not None and data.rubric_assessment not in (None, existing.rubric_assessment)
    if existing is not None and rated and _is_locked(existing, course, assignment):
        return MODIFY_SELECTED
    number = assignment.submission_id(course, student)
    events: list[Event] = _slot(assignment, actor)
    if existing is None:
        created = ProvisionalGradeCreated(
            student_id=student,
            submission_id=number,
            provisional_grade_id=assignment.next_provisional_grade_id(),
            scorer_id=actor,
            score=None,
            grade=None,
            graded_at=None,
            final=final,
            graded_anonymously=None,
            rubric_assessment=data.rubric_assessment,
        )
        events.append(created)
        result = _result(created.provisional_grade_id, None, None, None, actor, final, None, None)
    else:
        changes: dict[str, tuple[Any, Any]] = {}
        if existing.scorer_id != actor:
            changes["scorer_id"] = (existing.scorer_id, actor)
        if rated:
            changes["rubric_assessment"] = (existing.rubric_assessment, data.rubric_assessment)
        if changes:
            events.append(
                ProvisionalGradeUpdated(
                    student_id=student,
                    submission_id=number,
                    provisional_grade_id=existing.provisional_grade_id,
                    changes=changes,
                )
            )
        result = _result(
            existing.provisional_grade_id,
            existing.score,
            existing.grade,
            existing.graded_at,
            actor,
            final,
            existing.graded_anonymously,
            assignment.submission(student).submitted_at,
        )
    if comment is not None:
        events.append(_comment(assignment, result["provisional_grade_id"], student, number, actor, comment))
    return Accepted(tuple(events), result)


def _converted(data: RecordProvisionalGrade, course: Course, assignment: Assignment) -> grade_conversion.Grade | None:
    scheme = assignment.grading_scheme or course.grading_scheme
    if data.posted_grade:
        return grade_conversion.from_text(
            data.posted_grade,
            assignment.grading_type,
            assignment.points_possible,
            scheme,
            prefer_points=data.prefer_points_over_scheme,
        )
    if data.score is not None:
        return grade_conversion.from_score(data.score, assignment.grading_type, assignment.points_possible, scheme)
    return None


def _is_locked(grade: ProvisionalGrade, course: Course, assignment: Assignment) -> bool:
    """A selected grade is its grader's no longer, unless the grader is the final grader; an excusal would blank it."""
    selected = assignment.selected(course, grade.student_id) == grade.provisional_grade_id
    return selected and not assignment.is_final_grader(course, grade.scorer_id)


def _slot(assignment: Assignment, actor: int) -> list[Event]:
    """A slot is per moderated assignment; the final grader's does not count while they are final grader.

    Canvas: app/models/abstract_assignment.rb, ensure_grader_can_adjudicate.
    """
    if actor in assignment.slots or not assignment.moderated_grading:
        return []
    return [GraderSlotTaken(grader_id=actor, anonymous_id=assignment.grader_anonymous_id(actor))]


def _changes(
    existing: ProvisionalGrade,
    data: RecordProvisionalGrade,
    actor: int,
    score: Decimal | None,
    text: str | None,
    at: datetime,
) -> dict[str, tuple[Any, Any]]:
    wanted: dict[str, Any] = {"score": score, "grade": text, "scorer_id": actor}
    if data.graded_anonymously is not None:
        wanted["graded_anonymously"] = data.graded_anonymously
    if data.rubric_assessment is not None:
        wanted["rubric_assessment"] = data.rubric_assessment
    changes = {n: (old, new) for n, new in wanted.items() if (old := getattr(existing, n)) != new}
    changes["graded_at"] = (existing.graded_at, at)
    return changes


def _comment(
    assignment: Assignment, grade_id: int, student: int, submission: int, actor: int, comment: str
) -> ProvisionalCommentCreated:
    return ProvisionalCommentCreated(
        student_id=student,
        submission_id=submission,
        provisional_grade_id=grade_id,
        comment_id=assignment.next_comment_id(),
        author_id=actor,
        comment=comment,
    )


def _result(
    grade_id: int,
    score: Decimal | None,
    text: str | None,
    graded_at: datetime | None,
    scorer: int,
    final: bool,
    graded_anonymously: bool | None,
    submitted_at: datetime | None,
) -> dict[str, Any]:
    """Canvas's ProvisionalGrade, without what depends on who looks at it."""
    points = event_payloads.number(score)
    return {
        "provisional_grade_id": grade_id,
        "score": points,
        "entered_score": points,
        "grade": text,
        "entered_grade": text,
        "graded_at": event_payloads.seconds(graded_at),
        "graded_anonymously": graded_anonymously,
        "final": final,
        "grade_matches_current_submission": submitted_at is None or graded_at is None or submitted_at <= graded_at,
        "scorer_id": scorer,
    }
