"""An assignment's state, folded from its stream: settings, slots, moderation set, provisional and real grades."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from services.moderation.adjudication_policy import AdjudicationPolicy
from services.moderation.adjudication_rules import Basis
from services.moderation.course import Course
from services.moderation.grading_scheme import GradingScheme
from services.moderation.ordinal_permutation import OrdinalPermutation
from services.moderation.submission import UNSUBMITTED, Comment, Submission, TouchedSubmission


@dataclass(slots=True)
class ProvisionalGrade:
    """``graded_at`` None: created by a comment alone; no grade was entered."""

    provisional_grade_id: int
    student_id: int
    scorer_id: int
    final: bool
    score: Decimal | None = None
    grade: str | None = None
    graded_at: datetime | None = None
    graded_anonymously: bool | None = None
    rubric_assessment: Mapping[str, Any] | None = None
    comments: tuple[Comment, ...] = ()
    # Shard position of the event that last graded it.
    graded_position: int = 0
    # Shard position of the event that first entered it, 0 before that: the order of marks.
    first_entered_position: int = 0
    # Whether an adjudication recorded this final grade, and no moderator has entered one by hand since.
    by_adjudication: bool = False


@dataclass(slots=True)
class GradingSettings:
    """Points, grading type and the assignment's own scheme from a shard position on."""

    position: int
    points_possible: Decimal | None
    grading_type: str
    grading_scheme: GradingScheme | None


@dataclass(slots=True)
class Selection:
    """A selected provisional grade, the shard position at which it was chosen, and whether an adjudication chose it."""

    provisional_grade_id: int
    position: int
    by_adjudication: bool = False


@dataclass(slots=True)
class ScheduledPublication:
    """``schedule_id``: the id of the command that scheduled it; ``plan_digest`` None: with any plan."""

    schedule_id: str
    publish_at: datetime
    user_id: int
    plan_digest: str | None


@dataclass(slots=True)
class Adjudication:
    """The last adjudication of a student.

    ``basis``: what it depends on, see :func:`services.moderation.adjudication_rules.build_basis`.
    ``records_final``, ``selects``: an event of the same command that does so is still to be applied.
    """

    outcome: str
    score: Decimal | None
    failed: tuple[str, ...]
    missing: int
    basis: Basis
    version: int
    records_final: bool
    selects: bool


@dataclass(slots=True)
class Assignment:
    """State of an assignment's stream. ``version`` 0: it does not exist yet; its number and secret are new."""

    stream_number: int
    secret: bytes
    root_account_id: int
    course_id: int
    assignment_id: int
    version: int = 0
    name: str | None = None
    points_possible: Decimal | None = None
    grading_type: str = "points"
    grading_scheme: GradingScheme | None = None
    moderated_grading: bool = False
    grader_count: int | None = 0
    final_grader_id: int | None = None
    anonymous_grading: bool = False
    graders_anonymous_to_graders: bool = False
    grader_names_visible_to_final_grader: bool = True
    grader_comments_visible_to_graders: bool = True
    moderation_set: str = "assigned"
    assigned_to: frozenset[int] | None = None
    deleted: bool = False
    adjudication: AdjudicationPolicy | None = None
    # Version at which the policy was set.
    adjudication_version: int = 0
    grades_published_at: datetime | None = None
    # In force until the next schedule, a cancellation or any publication; a refused publication does not end it.
    scheduled_publication: ScheduledPublication | None = None
    # Each change of points, grading type or scheme; a grade text older than a change is derived again.
    grading_settings_changes: list[GradingSettings] = field(default_factory=list)
    # Anonymous ids of all graders who ever took a slot; a grader keeps the id after the slot was released.
    grader_slots: dict[int, str] = field(default_factory=dict)
    released_graders: set[int] = field(default_factory=set)
    # Graders who have entered a grade by hand: their slots cannot be released.
    entering_graders: set[int] = field(default_factory=set)
    added_students: set[int] = field(default_factory=set)
    # The graders of a student's work, ascending; any grader may mark if it is not enforced or lacks the student.
    allocations: dict[int, tuple[int, ...]] = field(default_factory=dict)
    allocation_enforced: bool = False
    # The reasons for which a drawn sample has a student, who is then in added_students too.
    sample_reasons: dict[int, tuple[str, ...]] = field(default_factory=dict)
    selections: dict[int, Selection] = field(default_factory=dict)
    adjudications: dict[int, Adjudication] = field(default_factory=dict)
    unassigned_at_position: dict[int, int] = field(default_factory=dict)
    provisional_grades: dict[int, ProvisionalGrade] = field(default_factory=dict)
    grades_by_student: dict[int, tuple[ProvisionalGrade, ...]] = field(default_factory=dict)
    submissions: dict[int, Submission | TouchedSubmission] = field(default_factory=dict)
    # The number of ``submissions`` that are not a TouchedSubmission.
    full_submission_count: int = 0
    # Number of comments ever created, public copies included: part of the ids that the service generates.
    comment_count: int = 0
    # The student whose submission has an id now, by the id that the LMS stated.
    students_by_lms_submission_id: dict[int, int] = field(default_factory=dict)
    # The student for whom the LMS first stated an anonymous id; it stays reserved for that student.
    students_by_lms_anonymous_id: dict[str, int] = field(default_factory=dict)
    # Generated on first use; the ids do not depend on when that is: see anonymous_id.
    generated_anonymous_ids: dict[int, str] = field(default_factory=dict)
    students_by_generated_anonymous_id: dict[str, int] = field(default_factory=dict)
    # Derived from the secret on first use: see submission_id.
    ordinal_permutation: OrdinalPermutation | None = field(default=None, compare=False, repr=False)
    # Lists of students as last shown, with the course's version then; emptied when their members may have changed.
    student_list_cache: dict[Any, tuple[int, list[int]]] = field(default_factory=dict)

    @property
    def grading_settings_position(self) -> int:
        """Shard position at which points, grading type or scheme last changed."""
        return self.grading_settings_changes[-1].position if self.grading_settings_changes else 0

    def is_assigned(self, course: Course, student_id: int) -> bool:
        """Return whether the assignment is assigned to the student now."""
        return course.is_enrolled_student(student_id) and (self.assigned_to is None or student_id in self.assigned_to)

    def is_in_moderation_set(self, course: Course, student_id: int) -> bool:
        """Return whether the student is in the moderation set.

        One who was added leaves it with the last enrolment, and is in it again with the next one.
        """
        if student_id in self.added_students:
            return course.is_enrolled_student(student_id)
        return self.moderation_set == "assigned" and self.moderated_grading and self.is_assigned(course, student_id)

    def selected_grade_id(self, course: Course, student_id: int) -> int | None:
        """Return the id of the provisional grade selected for a student; unassigning the student ends a selection."""
        selection = self.selections.get(student_id)
        if selection is None or selection.position <= self.unassigned_position(course, student_id):
            return None
        return selection.provisional_grade_id

    def unassigned_position(self, course: Course, student_id: int) -> int:
        """Return the shard position at which a selected student was last unassigned, 0 if that never happened."""
        return max(course.unenrolled_at_position.get(student_id, 0), self.unassigned_at_position.get(student_id, 0))

    def is_selected_by_adjudication(self, student_id: int) -> bool:
        """Return whether an adjudication made the student's selection; without a policy it counts as made by hand."""
        selection = self.selections.get(student_id)
        return selection is not None and selection.by_adjudication and self.adjudication is not None

    def is_final_grader(self, course: Course, user_id: int) -> bool:
        """Return whether the user is the named final grader and still teaches here; lost permissions do not matter."""
        return (
            user_id == self.final_grader_id
            and not course.is_removed_instructor(user_id)
            and not course.is_only_learner(user_id)
        )

    def permits_moderation(self, course: Course, user_id: int | None) -> bool:
        """Return whether the user may moderate (Canvas: app/models/abstract_assignment.rb, permits_moderation?)."""
        if user_id is None:
            return False
        return self.is_final_grader(course, user_id) or "select_final_grade" in course.admins.get(user_id, ())

    def holds_slot(self, user_id: int) -> bool:
        """Return whether the user holds a slot that has not been released."""
        return user_id in self.grader_slots and user_id not in self.released_graders

    def can_be_moderated_grader(self, course: Course, user_id: int) -> bool:
        """Return whether the user has a slot, needs none, or could take one.

        Canvas: app/models/abstract_assignment.rb, can_be_moderated_grader?
        """
        if not (course.has_permission(user_id, "manage_grades") or course.has_permission(user_id, "view_all_grades")):
            return False
        if not self.moderated_grading or self.is_final_grader(course, user_id) or self.holds_slot(user_id):
            return True
        holders = sum(
            not self.is_final_grader(course, holder) for holder in self.grader_slots if self.holds_slot(holder)
        )
        return holders < (self.grader_count or 0)

    def find_provisional_grade(self, student_id: int, scorer_id: int, final: bool) -> ProvisionalGrade | None:
        """Return the scorer's ordinary provisional grade, or the final one of any scorer."""
        for grade in self.grades_by_student.get(student_id, ()):
            if grade.final == final and (final or grade.scorer_id == scorer_id):
                return grade
        return None

    def has_grades(self) -> bool:
        """Return whether graded submissions or scored provisional grades exist (Canvas: graded_submissions_exist?)."""
        return any(grade.score is not None for grade in self.provisional_grades.values()) or any(
            isinstance(submission, Submission) and submission.workflow_state == "graded"
            for submission in self.submissions.values()
        )

    def submission(self, student_id: int) -> Submission:
        """Return the student's submission, or an untouched one, for reading."""
        # Without cast(), which every command would call several times.
        return self.submissions.get(student_id, UNSUBMITTED)  # type: ignore[return-value]

    def touch_submission(self, student_id: int, at: datetime) -> None:
        """Note an event that touched the student's submission or a provisional grade of it."""
        submission = self.submissions.get(student_id)
        if submission is None:
            submission = self.submissions[student_id] = TouchedSubmission()
        submission.updated_at = at
        submission.revision += 1

    def changeable_submission(self, student_id: int, at: datetime) -> Submission:
        """Touch the student's submission, created if necessary, and return it for changes."""
        submission = self.submissions.get(student_id)
        if not isinstance(submission, Submission):
            revision = 0 if submission is None else submission.revision
            submission = self.submissions[student_id] = Submission(revision=revision)
            self.full_submission_count += 1
        submission.updated_at = at
        submission.revision += 1
        return submission

    def anonymizes_students(self, course: Course) -> bool:
        """Return whether students are anonymous (Canvas: app/models/abstract_assignment.rb, anonymize_students?).

        They are until grades are published, or without moderation until the grades of all active students are posted.
        """
        if not self.anonymous_grading:
            return False
        if self.moderated_grading:
            return self.grades_published_at is None
        return any(
            course.is_active_student(student) and self.submission(student).posted_at is None
            for student in course.student_ordinals
            if self.is_assigned(course, student)
        )

    def can_view_student_names(self, course: Course, user_id: int) -> bool:
        """Return whether the user sees student names.

        Canvas: app/models/abstract_assignment.rb, can_view_student_names?
        """
        if not (course.has_permission(user_id, "manage_grades") or course.has_permission(user_id, "view_all_grades")):
            return False
        return not self.anonymizes_students(course)
