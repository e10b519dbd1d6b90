"""The publication: turns the plan's rows into events.

Canvas: app/controllers/provisional_grades_controller.rb (publish), app/models/moderated_grading/provisional_grade.rb.
"""

from dataclasses import replace
from datetime import datetime

from services.moderation import ids
from services.moderation.assignment import Assignment
from services.moderation.commands import PublishProvisionalGrades
from services.moderation.course import Course
from services.moderation.decisions import (
    ADJUDICATION_STALE,
    NOT_SCHEDULED,
    PLAN_OUTDATED,
    Accepted,
    Decision,
    Rejected,
)
from services.moderation.events import Event, GradePublished, GradesPosted
from services.moderation.moderation_checks import check_unpublished_moderation
from services.moderation.publication_plan import PlannedGrade, PublicationPlan, build_plan, compute_digest

NAMED_STUDENTS_MAX = 20


def publish_grades(
    data: PublishProvisionalGrades, actor_id: int, course: Course, assignment: Assignment, at: datetime
) -> Decision:
    """Publish the grades of all students or of none: one grade_published for each, then grades_posted."""
    schedule = assignment.scheduled_publication
    if data.schedule_id is not None and (schedule is None or schedule.schedule_id != data.schedule_id):
        return NOT_SCHEDULED
    plan = check_publication(data.plan_digest, actor_id, course, assignment)
    if isinstance(plan, Rejected):
        return plan
    events: list[Event] = [_build_published_event(row, course, assignment, at) for row in plan.rows]
    events.append(GradesPosted(grades_published_at=at))
    return Accepted(tuple(events), {"message": "OK"})


def check_publication(
    plan_digest: str | None, actor_id: int, course: Course, assignment: Assignment
) -> PublicationPlan | Rejected:
    """Return the plan of the actor's publication now, or its refusal."""
    rejection = check_unpublished_moderation(actor_id, course, assignment)
    if rejection is not None:
        return rejection
    plan = build_plan(course, assignment, course.visible_sections(actor_id))
    if plan.refusal == ADJUDICATION_STALE:
        return _name_stale_students(plan, course, assignment)
    if plan.refusal is not None:
        return plan.refusal
    if plan_digest is not None:
        digest = compute_digest(course, assignment, plan.rows)
        if plan_digest != digest:
            return replace(PLAN_OUTDATED, message=f"{PLAN_OUTDATED.message}: its digest is {digest} now")
    return plan


def _name_stale_students(plan: PublicationPlan, course: Course, assignment: Assignment) -> Rejected:
    stale = [student.student_id for student in plan.blocked if student.refusal == ADJUDICATION_STALE]
    anonymous = assignment.anonymizes_students(course)
    names = sorted(str(*ids.student_key(course, assignment, student, anonymous).values()) for student in stale)
    more = f" and {len(names) - NAMED_STUDENTS_MAX} more" if len(names) > NAMED_STUDENTS_MAX else ""
    listed = ", ".join(names[:NAMED_STUDENTS_MAX]) + more
    return replace(ADJUDICATION_STALE, message=f"{ADJUDICATION_STALE.message}: {listed}")


def _build_published_event(row: PlannedGrade, course: Course, assignment: Assignment, at: datetime) -> GradePublished:
    chosen = row.chosen
    return GradePublished(
        student_id=chosen.student_id,
        submission_id=ids.submission_id(course, assignment, chosen.student_id),
        provisional_grade_id=chosen.provisional_grade_id,
        scorer_id=chosen.scorer_id,
        score=row.score,
        grade=row.grade,
        entered_score=row.entered_score,
        points_deducted=row.points_deducted,
        graded_at=at,
        graded_anonymously=chosen.graded_anonymously,
        was_graded=row.was_graded,
    )
