"""Records provisional grades.

Canvas: app/models/abstract_assignment.rb (grade_student), app/models/submission.rb (find_or_create_provisional_grade!).
The checks are in Canvas's order; a refused command takes no slot and changes no grade and no excusal.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from services.moderation import grade_conversion, ids
from services.moderation.allocation import check_allocation
from services.moderation.assignment import Assignment, ProvisionalGrade
from services.moderation.commands import RecordProvisionalComment, RecordProvisionalGrade
from services.moderation.course import Course
from services.moderation.current_grades import current_gradebook_grade, current_provisional_grade
from services.moderation.decisions import (
    BLANK_COMMENT,
    CANNOT_MODIFY_SELECTED,
    FINAL_NOT_PERMITTED,
    FINAL_WITHOUT_PROVISIONAL,
    GRADE_AND_EXCUSE,
    INVALID_SCORE,
    MAX_GRADERS_REACHED,
    NOT_ASSIGNED,
    STUDENT_NOT_ENROLLED,
    STUDENT_NOT_VISIBLE,
    UNAUTHORIZED,
    Accepted,
    Decision,
    Rejected,
)
from services.moderation.events import (
    Changes,
    Event,
    GraderSlotTaken,
    ProvisionalCommentCreated,
    ProvisionalGradeCreated,
    ProvisionalGradeUpdated,
    SubmissionUpdated,
)
from services.moderation.json_values import decimal_to_json, format_canvas_time
from services.moderation.submission import Submission

# The characters that Ruby's strip removes.
_RUBY_WHITESPACE = "\0\t\n\v\f\r "


def record_grade(
    data: RecordProvisionalGrade, actor_id: int, course: Course, assignment: Assignment, at: datetime
) -> Decision:
    """Record a grade, an excusal or a clearing, with or without a comment."""
    comment = _normalize_comment(data.comment)
    has_grade = data.posted_grade is not None or data.score is not None
    if not has_grade and data.excuse is None and (comment is not None or data.rubric_assessment is not None):
        return _record_without_grade(data, comment, actor_id, course, assignment)
    rejection = _check_student(data.student_id, actor_id, course, assignment)
    if rejection is not None:
        return rejection
    if data.excuse and has_grade:
        return GRADE_AND_EXCUSE
    if not assignment.can_be_moderated_grader(course, actor_id):
        return MAX_GRADERS_REACHED
    is_moderator = assignment.permits_moderation(course, actor_id)
    grade = _convert_grade(data, course, assignment)
    submission = assignment.submission(data.student_id)
    excused = bool(data.excuse) and grade is None if is_moderator else submission.excused
    # A command without grade and excusal clears nothing, even if the student is excused.
    if grade is None and data.posted_grade != "" and not (excused and (has_grade or data.excuse is not None)):
        return INVALID_SCORE
    final = data.final and is_moderator
    existing = assignment.find_provisional_grade(data.student_id, actor_id, final)
    if existing is not None and _is_locked_by_selection(existing, course, assignment):
        return CANNOT_MODIFY_SELECTED
    if existing is None and final and not assignment.grades_by_student.get(data.student_id):
        return FINAL_WITHOUT_PROVISIONAL
    score, grade_text = (None, None) if grade is None else (grade.score, grade.grade)
    entered: dict[str, Any] = {"score": score, "grade": grade_text, "graded_at": at}
    if data.graded_anonymously is not None:
        entered["graded_anonymously"] = data.graded_anonymously
    gradebook_changes = _excusal_changes(excused, actor_id, course, assignment, submission) if is_moderator else {}
    return _create_or_update(data, comment, entered, gradebook_changes, actor_id, final, existing, course, assignment)


def record_comment(data: RecordProvisionalComment, actor_id: int, course: Course, assignment: Assignment) -> Decision:
    """Record a comment alone: it takes a slot but changes neither grade nor score nor ``graded_at``."""
    comment = _normalize_comment(data.comment)
    if comment is None:
        return BLANK_COMMENT
    comment_only = RecordProvisionalGrade(student_id=data.student_id, final=data.final)
    return _record_without_grade(comment_only, comment, actor_id, course, assignment)


def _normalize_comment(comment: str | None) -> str | None:
    """Strip a comment as Canvas does; None for a blank one (app/models/submission.rb, add_comment)."""
    return None if comment is None else comment.strip(_RUBY_WHITESPACE) or None


def _record_without_grade(
    data: RecordProvisionalGrade, comment: str | None, actor_id: int, course: Course, assignment: Assignment
) -> Decision:
    """Record a comment, a rubric assessment or both."""
    rejection = _check_student(data.student_id, actor_id, course, assignment)
    if rejection is not None:
        return rejection
    if not assignment.can_be_moderated_grader(course, actor_id):
        return MAX_GRADERS_REACHED
    # For a grade the flag would be dropped, but a final comment must not silently become an ordinary one.
    if data.final and not assignment.permits_moderation(course, actor_id):
        return FINAL_NOT_PERMITTED
    final = data.final
    existing = assignment.find_provisional_grade(data.student_id, actor_id, final)
    if existing is None and final and not assignment.grades_by_student.get(data.student_id):
        return FINAL_WITHOUT_PROVISIONAL
    is_rubric_changed = existing is not None and data.rubric_assessment not in (None, existing.rubric_assessment)
    if existing is not None and is_rubric_changed and _is_locked_by_selection(existing, course, assignment):
        return CANNOT_MODIFY_SELECTED
    return _create_or_update(data, comment, {}, {}, actor_id, final, existing, course, assignment)


def _excusal_changes(
    excused: bool, actor_id: int, course: Course, assignment: Assignment, submission: Submission
) -> dict[str, tuple[Any, Any]]:
    """Return what a moderator's excusal changes in the gradebook at once.

    An excused submission has no grade and no late policy status, and the moderator as grader; the lateness that a
    status ``late`` overrode ends too. One that the LMS excused may still have a grade, which then goes. Canvas:
    app/models/submission.rb (excused=, set_status_attributes), app/models/abstract_assignment.rb
    (save_grade_to_submission).
    """
    has_grade = submission.score is not None or submission.grade is not None
    if excused == submission.excused and not (excused and has_grade):
        return {}
    # Events of excusals name it even where the student was excused already: their schema requires it.
    changes: dict[str, tuple[Any, Any]] = {"excused": (submission.excused, excused)}
    if excused:
        score, text = current_gradebook_grade(course, assignment, submission)
        status = submission.late_policy_status
        cleared: dict[str, Any] = {"score": score, "grade": text, "late_policy_status": status}
        if status == "late":
            cleared["seconds_late"] = submission.seconds_late
        changes |= {name: (old, None) for name, old in cleared.items() if old is not None}
    if submission.grader_id != actor_id:
        changes["grader_id"] = (submission.grader_id, actor_id)
    return changes


def _check_student(student_id: int, actor_id: int, course: Course, assignment: Assignment) -> Rejected | None:
    """Return the refusal if the actor may not grade or comment on the student at all."""
    # Only manage_grades gives the right to comment (Canvas: app/models/submission.rb, set_policy).
    if not course.has_permission(actor_id, "manage_grades"):
        return UNAUTHORIZED
    if not course.is_gradable(student_id):
        return STUDENT_NOT_ENROLLED
    if not course.is_visible_student(student_id, course.visible_sections(actor_id)):
        return STUDENT_NOT_VISIBLE
    if not assignment.is_assigned(course, student_id):
        return NOT_ASSIGNED
    return check_allocation(student_id, actor_id, course, assignment)


def _create_or_update(
    data: RecordProvisionalGrade,
    comment: str | None,
    entered: Mapping[str, Any],
    gradebook_changes: Changes,
    actor_id: int,
    final: bool,
    existing: ProvisionalGrade | None,
    course: Course,
    assignment: Assignment,
) -> Accepted:
    """Accept the command after all checks.

    ``entered``: score, grade, time of grading and, if stated, anonymity; empty for a comment or rubric assessment
    alone. ``gradebook_changes``: changes of the real submission.
    """
    student_id = data.student_id
    submission_id = ids.submission_id(course, assignment, student_id)
    events: list[Event] = _claim_grader_slot(assignment, actor_id)
    if gradebook_changes:
        events.append(SubmissionUpdated(student_id=student_id, submission_id=submission_id, changes=gradebook_changes))
    new_values: dict[str, Any] = {**entered, "scorer_id": actor_id}
    if data.rubric_assessment is not None:
        new_values["rubric_assessment"] = data.rubric_assessment
    if existing is None:
        grade_id = ids.next_provisional_grade_id(assignment)
        saved: dict[str, Any] = {"score": None, "grade": None, "graded_at": None, "graded_anonymously": None}
        events.append(
            ProvisionalGradeCreated(
                student_id=student_id,
                submission_id=submission_id,
                provisional_grade_id=grade_id,
                final=final,
                **{**saved, **new_values},
            )
        )
    else:
        grade_id = existing.provisional_grade_id
        # The time changes with every grading, even if nothing else does.
        changes = {
            name: (old, new)
            for name, new in new_values.items()
            if (old := getattr(existing, name)) != new or name == "graded_at"
        }
        score, text = current_provisional_grade(course, assignment, existing)
        saved = {
            "score": score,
            "grade": text,
            "graded_at": existing.graded_at,
            "graded_anonymously": existing.graded_anonymously,
        }
        if changes:
            events.append(
                ProvisionalGradeUpdated(
                    student_id=student_id, submission_id=submission_id, provisional_grade_id=grade_id, changes=changes
                )
            )
    if comment is not None:
        events.append(
            ProvisionalCommentCreated(
                student_id=student_id,
                submission_id=submission_id,
                provisional_grade_id=grade_id,
                comment_id=ids.next_comment_id(assignment),
                author_id=actor_id,
                comment=comment,
            )
        )
    submitted_at = assignment.submission(student_id).submitted_at
    return Accepted(tuple(events), _provisional_grade_json(grade_id, final, {**saved, **new_values}, submitted_at))


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
    """Return whether a selection locks the grade: only the final grader may change their selected grade."""
    is_selected = assignment.selected_grade_id(course, grade.student_id) == grade.provisional_grade_id
    return is_selected and not assignment.is_final_grader(course, grade.scorer_id)


def _claim_grader_slot(assignment: Assignment, actor_id: int) -> list[Event]:
    """Claim a grader slot of the assignment; the final grader needs none.

    Canvas: app/models/abstract_assignment.rb, ensure_grader_can_adjudicate.
    """
    if assignment.holds_slot(actor_id) or not assignment.moderated_grading:
        return []
    kept_id = assignment.grader_slots.get(actor_id)
    anonymous_id = ids.generate_grader_anonymous_id(assignment, actor_id) if kept_id is None else kept_id
    return [GraderSlotTaken(grader_id=actor_id, anonymous_id=anonymous_id)]


def _provisional_grade_json(
    grade_id: int, final: bool, values: Mapping[str, Any], submitted_at: datetime | None
) -> dict[str, Any]:
    """Describe a provisional grade as Canvas does, without the fields that depend on the reader."""
    score, graded_at = decimal_to_json(values["score"]), values["graded_at"]
    return {
        "provisional_grade_id": grade_id,
        "score": score,
        "entered_score": score,
        "grade": values["grade"],
        "entered_grade": values["grade"],
        "graded_at": format_canvas_time(graded_at),
        "graded_anonymously": values["graded_anonymously"],
        "final": final,
        "grade_matches_current_submission": submitted_at is None or graded_at is None or submitted_at <= graded_at,
        "scorer_id": values["scorer_id"],
    }
