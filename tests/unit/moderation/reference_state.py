"""The reference model's state, and how facts change it: one course and one essay.

The essay is moderated and of ten points until a fact changes that.
"""

from dataclasses import dataclass, field
from datetime import datetime
from fractions import Fraction
from typing import Any

from tests.unit.moderation.reference_gradebook import Entry, ReferenceGradebook
from tests.unit.moderation.reference_grades import DEFAULT_BANDS, NO_POLICY, SCHEME_TYPES, Bands, GradingRules, exact
from tests.unit.moderation.reference_roster import ReferenceRoster

Told = list[dict[str, Any]]


class Refusal(Exception):
    """Carries the reason; raised before anything changes."""


@dataclass
class Mark:
    """A provisional grade; ``number`` counts them from 1, ``step`` is when it was last entered."""

    number: int
    student: int
    final: bool
    scorer: int
    score: Fraction | None = None
    grade: str | None = None
    entered: bool = False
    step: int = 0
    first_step: int = 0
    by_policy: bool = False


@dataclass
class ReferenceState:
    """``choices``: by student, the number of the selected mark; ``added``: students added to the set by hand."""

    roster: ReferenceRoster
    final_grader: int | None
    grader_count: int = 2
    moderated: bool = True
    hand_picked: bool = False
    deleted: bool = False
    assigned_to: frozenset[int] | None = None
    points: Fraction | None = Fraction(10)
    grading_type: str = "points"
    scheme: Any = None
    course_scheme: Any = None
    policy: dict[str, Any] | None = None
    agreement: Any = None
    slot_holders: set[int] = field(default_factory=set)
    entering: set[int] = field(default_factory=set)
    by_policy: set[int] = field(default_factory=set)
    marks: list[Mark] = field(default_factory=list)
    choices: dict[int, int] = field(default_factory=dict)
    added: set[int] = field(default_factory=set)
    gradebook: ReferenceGradebook = field(default_factory=ReferenceGradebook)
    published: bool = False
    step: int = 0
    settings_step: int = 0
    course_scheme_step: int = 0

    def state_course(self, fields: dict[str, Any]) -> None:
        if "grading_scheme" in fields and fields["grading_scheme"] != self.course_scheme:
            self.course_scheme, self.course_scheme_step = fields["grading_scheme"], self.step
        if "late_policy" in fields:
            stated = fields["late_policy"]
            self.policy = None if stated is None else {**(self.policy or NO_POLICY), **stated}

    def configure(self, fields: dict[str, Any]) -> None:
        moderated = fields.get("moderated_grading", self.moderated)
        final_grader = fields.get("final_grader_id")
        if moderated and final_grader is not None and self.roster.is_only_learner(final_grader):
            raise Refusal("invalid_command")
        if moderated and fields.get("grader_count") == 0:
            raise Refusal("invalid_command")
        has_grades = any(mark.score is not None for mark in self.marks)
        if moderated != self.moderated and (has_grades or any(e.state == "graded" for e in self.entries())):
            raise Refusal("moderation_locked")
        becomes_hand_picked = fields.get("moderation_set") == "selected" and not self.hand_picked
        self.added |= set(self.choices) if becomes_hand_picked else set()
        self.hand_picked = fields.get("moderation_set", "selected" if self.hand_picked else "assigned") == "selected"
        self.moderated, self.deleted = moderated, fields.get("deleted", self.deleted)
        self.grader_count = fields.get("grader_count", self.grader_count) if moderated else 0
        self.final_grader = fields.get("final_grader_id", self.final_grader) if moderated else None
        self.agreement = self.agreement if moderated else None
        if "assigned_to" in fields:
            stated = fields["assigned_to"]
            before, self.assigned_to = self.assigned_to, None if stated is None else frozenset(stated)
            if self.assigned_to is not None:
                self.drop_choices((set(self.choices) if before is None else set(before)) - self.assigned_to)
        grading = self.points, self.grading_type, self.scheme
        self.points = exact(fields["points_possible"]) if "points_possible" in fields else self.points
        self.grading_type = fields.get("grading_type", self.grading_type)
        self.scheme = fields.get("grading_scheme", self.scheme)
        if grading != (self.points, self.grading_type, self.scheme):
            self.settings_step = self.step
            self.gradebook.settings_changed(self.rules())

    def drop_choices(self, students: set[int]) -> None:
        self.by_policy -= students
        for student in students:
            self.choices.pop(student, None)

    def post(self, ids: tuple[int, ...] | None, posted_at: datetime | None) -> Told:
        if self.moderated and not self.published:
            raise Refusal("not_published")
        told = []
        for student in sorted(self.assigned() if ids is None else self.assigned() & set(ids)):
            entry = self.gradebook.of(student)
            if (entry.posted_at is None) != (posted_at is None):
                entry.posted_at = posted_at
                if entry.state == "graded":
                    told.append(entry.told(student, muted=posted_at is None))
        return told

    def rules(self) -> GradingRules:
        bands: Bands = [(name, Fraction(bound)) for name, bound in self.scheme or self.course_scheme or ()]
        bands.sort(key=lambda band: band[1], reverse=True)
        return GradingRules(self.points, self.grading_type, bands or DEFAULT_BANDS)

    def entries(self) -> list[Entry]:
        return list(self.gradebook.entries.values())

    def assigned(self) -> set[int]:
        students = self.roster.enrolled_students()
        return students if self.assigned_to is None else students & self.assigned_to

    def is_in_set(self, student: int) -> bool:
        if student in self.added:
            return student in self.roster.enrolled_students()
        return self.moderated and not self.hand_picked and student in self.assigned()

    def is_final_grader(self, user: int) -> bool:
        return user == self.final_grader and self.roster.still_teaches(user)

    def can_moderate(self, user: int) -> bool:
        return self.is_final_grader(user) or "select_final_grade" in self.roster.admins.get(user, ())

    def demand_moderator(self, user: int) -> None:
        if not self.can_moderate(user):
            raise Refusal("unauthorized")

    def current(self, mark: Mark) -> tuple[Fraction | None, str | None]:
        """Return a mark as it would be published: derived again if points, type or scheme changed after its entry."""
        uses_course_scheme = not self.scheme and self.grading_type in SCHEME_TYPES
        changed = max(self.settings_step, self.course_scheme_step if uses_course_scheme else 0)
        if mark.score is None or changed <= mark.step:
            return mark.score, mark.grade
        return self.rules().made_again(mark.score, mark.grade)
