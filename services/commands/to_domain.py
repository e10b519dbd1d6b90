"""Translates a parsed command into a domain command."""

from decimal import Decimal
from typing import Any, assert_never

from schemas import adjudication as wire_adjudication
from schemas import commands as wire
from schemas.fact_data import CourseData, Enrollment
from schemas.strict import Strict
from services.moderation import commands
from services.moderation.adjudication_policy import AdjudicationPolicy, policy_from_json
from services.moderation.late_policy import round_hundredths


def to_domain_command(command: wire.Command) -> commands.Command:
    """Build the domain command; its ``fields`` contain null fields but no absent ones."""
    return commands.Command(
        command_id=command.command_id,
        type=command.type,
        root_account_id=command.root_account_id,
        course_id=command.course_id,
        assignment_id=command.assignment_id,
        actor_id=None if command.actor is None else command.actor.user_id,
        data=_build_data(command),
    )


def get_set_fields(model: Strict) -> dict[str, Any]:
    """Return the fields that the sender sent, by name."""
    # This is faster than model_fields_set and getattr, and it runs for every command.
    values = model.__dict__
    return {name: values[name] for name in model.__pydantic_fields_set__}


def _get_fields_except(model: Strict, *excluded: str) -> dict[str, Any]:
    return {name: value for name, value in get_set_fields(model).items() if name not in excluded}


def _to_id_tuple(ids: list[int] | None) -> tuple[int, ...] | None:
    return None if ids is None else tuple(ids)


def _freeze_grading_scheme(fields: dict[str, Any]) -> dict[str, Any]:
    if fields.get("grading_scheme") is not None:
        fields["grading_scheme"] = tuple(fields["grading_scheme"])
    return fields


def to_domain_policy(policy: wire_adjudication.AdjudicationPolicy | None) -> AdjudicationPolicy | None:
    """Build the domain's policy, with defaults filled in."""
    return None if policy is None else policy_from_json(policy.model_dump())


def _build_course_fields(data: CourseData) -> dict[str, Any]:
    fields = _freeze_grading_scheme(get_set_fields(data))
    if data.late_policy is not None:
        fields["late_policy"] = {
            name: round_hundredths(value) if isinstance(value, Decimal) else value
            for name, value in get_set_fields(data.late_policy).items()
        }
    return fields


def _build_enrollment(row: Enrollment) -> commands.EnrollmentUpsert:
    fields = _get_fields_except(row, "user_id", "type", "section_id")
    if row.permissions is not None:
        fields["permissions"] = row.permissions.model_dump(exclude_none=True)
    return commands.EnrollmentUpsert(user_id=row.user_id, type=row.type, section_id=row.section_id, fields=fields)


def _build_data(command: wire.Command) -> commands.CommandData:
    match command:
        case wire.RecordProvisionalGrade(data=data):
            return commands.RecordProvisionalGrade(
                student_id=data.student_id,
                posted_grade=data.posted_grade,
                prefer_points_over_scheme=bool(data.prefer_points_over_scheme),
                score=data.score,
                excuse=data.excuse,
                final=bool(data.final),
                graded_anonymously=data.graded_anonymously,
                comment=data.comment,
                rubric_assessment=data.rubric_assessment,
            )
        case wire.RecordProvisionalComment(data=data):
            return commands.RecordProvisionalComment(
                student_id=data.student_id, comment=data.comment, final=bool(data.final)
            )
        case wire.SelectProvisionalGrade(data=data):
            return commands.SelectProvisionalGrade(provisional_grade_id=data.provisional_grade_id)
        case wire.BulkSelectProvisionalGrades(data=data):
            return commands.BulkSelectProvisionalGrades(provisional_grade_ids=tuple(data.provisional_grade_ids))
        case wire.SelectStudentsForModeration(data=data):
            return commands.SelectStudentsForModeration(student_ids=_to_id_tuple(data.student_ids) or ())
        case wire.PublishProvisionalGrades(data=data):
            return commands.PublishProvisionalGrades(plan_digest=data.plan_digest, schedule_id=data.schedule_id)
        case wire.PlanPublication():
            return commands.PlanPublication()
        case wire.SchedulePublication(data=data):
            return commands.SchedulePublication(publish_at=data.publish_at, plan_digest=data.plan_digest)
        case wire.CancelScheduledPublication():
            return commands.CancelScheduledPublication()
        case wire.SetAdjudicationPolicy(data=data):
            return commands.SetAdjudicationPolicy(adjudication=to_domain_policy(data.adjudication))
        case wire.AdjudicateProvisionalGrades(data=data):
            return commands.AdjudicateProvisionalGrades(student_ids=_to_id_tuple(data.student_ids))
        case wire.RevisePublishedGrade(data=data):
            return commands.RevisePublishedGrade(
                student_id=data.student_id,
                reason=data.reason,
                posted_grade=data.posted_grade,
                score=data.score,
                excuse=data.excuse,
            )
        case wire.WithdrawPublishedGrade(data=data):
            return commands.WithdrawPublishedGrade(student_id=data.student_id, reason=data.reason)
        case wire.ReleaseGraderSlot(data=data):
            return commands.ReleaseGraderSlot(grader_id=data.grader_id)
        case wire.DrawModerationSample(data=data):
            return commands.DrawModerationSample(
                percent=data.percent,
                at_least=data.at_least,
                square_root=bool(data.square_root),
                include=frozenset(data.include or ()),
                borderline_within=data.borderline_within,
                strata=data.strata or commands.DEFAULT_STRATA,
            )
        case wire.AllocateSubmissions(data=data):
            return commands.AllocateSubmissions(
                allocations=None
                if data.allocations is None
                else tuple((row.grader_id, tuple(row.student_ids)) for row in data.allocations),
                evenly=None
                if data.evenly is None
                else commands.EvenAllocation(grader_ids=tuple(data.evenly.grader_ids), marks=data.evenly.marks),
                enforced=data.enforced,
            )
        case wire.RecordSubmission(data=data):
            return commands.RecordSubmission(student_id=data.student_id, fields=_get_fields_except(data, "student_id"))
        case wire.RecordSubmissionComment(data=data):
            return commands.RecordSubmissionComment(
                student_id=data.student_id, author_id=data.author_id, comment=data.comment, created_at=data.created_at
            )
        case wire.PostGrades(data=data):
            return commands.PostGrades(student_ids=_to_id_tuple(data.student_ids), posted_at=data.posted_at)
        case wire.HideGrades(data=data):
            return commands.HideGrades(student_ids=_to_id_tuple(data.student_ids))
        case wire.ConfigureAssignment(data=data):
            fields = _freeze_grading_scheme(get_set_fields(data))
            if data.adjudication is not None:
                fields["adjudication"] = to_domain_policy(data.adjudication)
            return commands.ConfigureAssignment(fields=fields)
        case wire.UpsertCourse(data=data):
            return commands.UpsertCourse(fields=_build_course_fields(data))
        case wire.UpsertUsers(data=data):
            users = (
                commands.UserUpsert(user_id=u.user_id, fields=_get_fields_except(u, "user_id")) for u in data.users
            )
            return commands.UpsertUsers(users=tuple(users))
        case wire.UpsertEnrollments(data=data):
            return commands.UpsertEnrollments(enrollments=tuple(_build_enrollment(row) for row in data.enrollments))
        case wire.UpsertAdmins(data=data):
            admins = (commands.AdminUpsert(user_id=a.user_id, permissions=tuple(a.permissions)) for a in data.admins)
            return commands.UpsertAdmins(admins=tuple(admins))
        case wire.ErasePerson(data=data):
            return commands.ErasePerson(user_id=data.user_id)
        case _:
            assert_never(command)
