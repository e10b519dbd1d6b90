"""The reference model's gradebook of one assignment: submissions, late deductions and grade changes."""

from dataclasses import dataclass, field
from datetime import datetime
from fractions import Fraction
from typing import Any

from tests.unit.moderation.reference_grades import WITH_DEDUCTION, GradingRules, exact

WORK_FIELDS = ("submitted_at", "attempt", "score", "grade", "graded_at")


@dataclass
class Entry:
    """One student's real submission.

    ``saved_score``: the score before changes of settings; ``of_this_work``: whether the grade is not of earlier work.
    """

    score: Fraction | None = None
    grade: str | None = None
    grader_id: int | None = None
    graded_at: datetime | None = None
    excused: bool = False
    posted_at: datetime | None = None
    seconds_late: int | None = None
    late_policy_status: str | None = None
    submitted_at: datetime | None = None
    attempt: int | None = None
    deducted: Fraction | None = None
    saved_score: Fraction | None = None
    published: bool = False
    of_this_work: bool = True
    state: str = "unsubmitted"

    @property
    def is_late(self) -> bool:
        if self.excused or self.late_policy_status is not None:
            return not self.excused and self.late_policy_status == "late"
        return (self.submitted_at is not None or bool(self.attempt)) and bool(self.seconds_late)

    def state_fact(self, stated: dict[str, Any]) -> None:
        """Apply a fact of the LMS; a grade of earlier work does not make the new work graded, an excusal does."""
        stated = {name: exact(value) if name == "score" else value for name, value in stated.items()}
        if "excused" in stated:
            stated["excused"] = bool(stated["excused"])
        changed = {name for name, value in stated.items() if getattr(self, name) != value}
        for name in changed:
            setattr(self, name, stated[name])
        if changed & {"score", "grade"}:
            # A score that followed its word to other points is stated together with the text, and ends the deduction.
            self.deducted = None if "score" in changed or self.saved_score != self.score else self.deducted
            self.saved_score = self.score
        has_grade = self.score is not None or self.grade is not None
        if "graded_at" not in changed and changed & {"score", "grade"}:
            self.of_this_work = True
        elif not changed.isdisjoint(WORK_FIELDS):
            self.of_this_work = "graded_at" in changed
            if self.submitted_at is not None and self.graded_at is not None:
                self.of_this_work = self.submitted_at <= self.graded_at
        elif "excused" not in changed:
            return
        if self.excused or (has_grade and self.of_this_work):
            self.state = "graded"
        else:
            self.state = "submitted" if self.submitted_at is not None or self.attempt else "unsubmitted"

    def told(self, student: int, before: tuple[Any, Any] | None = None, muted: bool | None = None) -> dict[str, Any]:
        """Return a grade_change of the current entry; ``before``: old score and text if they differ."""
        old_score, old_grade = before or (self.score, self.grade)
        return {
            "student_id": student,
            "old_score": old_score,
            "score": self.score,
            "old_grade": old_grade,
            "grade": self.grade,
            "grader_id": self.grader_id,
            "muted": self.posted_at is None if muted is None else muted,
            "grading_complete": self.score is not None or self.excused,
        }

    def published_as(
        self, grade: tuple[Fraction | None, str | None], rules: GradingRules, policy: dict[str, Any] | None
    ) -> tuple[Fraction | None, str | None, Fraction | None]:
        """Return score and text of a grade as they are published, and what a late policy deducts."""
        score, text = grade
        deducted = None
        if self.is_late and score is None:
            deducted = None if self.score is None else Fraction(0)
        elif self.is_late and score is not None:
            deducted = rules.deduction(policy, score, self.seconds_late or 0)
            if deducted:
                score = min(Fraction(0), score) if deducted > score else score - deducted
                text = rules.text_of(score, None)
        return score, text, deducted

    def row(self, rules: GradingRules) -> tuple[Any, ...]:
        """Return the fields of the entry that are shown."""
        entered_score, entered_grade = self.score, self.grade
        if self.score is not None and self.deducted:
            entered_score = self.score + self.deducted
            entered_grade = rules.text_of(entered_score, None) if rules.type in WITH_DEDUCTION else self.grade
        return (self.score, self.grade, entered_score, entered_grade, self.deducted, self.grader_id, self.excused,
                self.posted_at is not None, self.state)  # fmt: skip


@dataclass
class ReferenceGradebook:
    entries: dict[int, Entry] = field(default_factory=dict)

    def of(self, student: int) -> Entry:
        return self.entries.setdefault(student, Entry())

    def settings_changed(self, rules: GradingRules) -> None:
        """Derive the grades of graded submissions again at once, as Canvas does, and change nothing else."""
        for entry in self.entries.values():
            if entry.state == "graded" and entry.score is not None and entry.grade is not None:
                entry.score, entry.grade = rules.made_again(entry.score, entry.grade)

    def excuse(self, student: int, excused: bool, actor: int, at: datetime) -> list[dict[str, Any]]:
        entry = self.of(student)
        if entry.excused == excused and (not excused or (entry.score, entry.grade) == (None, None)):
            return []
        before = entry.score, entry.grade
        entry.excused, entry.grader_id = excused, actor
        if excused:
            if entry.score is not None:
                entry.score = entry.saved_score = entry.deducted = None
            entry.grade = None
            # Canvas: set_status_attributes; the lateness that a status overrode is kept only while the status is set.
            if entry.late_policy_status == "late":
                entry.seconds_late = None
            entry.late_policy_status = None
            if entry.state != "graded":
                entry.state, entry.graded_at = "graded", at
        return [entry.told(student, before)]

    def publish(
        self,
        student: int,
        grade: tuple[Fraction | None, str | None],
        scorer: int,
        rules: GradingRules,
        policy: dict[str, Any] | None,
        at: datetime,
    ) -> list[dict[str, Any]]:
        entry = self.of(student)
        before, was_graded = (entry.score, entry.grade), entry.state == "graded"
        score, text, deducted = entry.published_as(grade, rules, policy)
        entry.published = entry.of_this_work = True
        entry.score, entry.grade, entry.deducted, entry.saved_score = score, text, deducted, score
        entry.grader_id, entry.graded_at = scorer, at
        if score is not None:
            entry.state = "graded"
        became_graded = not was_graded and score is not None
        return [entry.told(student, before)] if became_graded or before != (score, text) else []

    def revise(
        self,
        student: int,
        grade: tuple[Fraction, str] | None,
        actor: int,
        rules: GradingRules,
        policy: dict[str, Any] | None,
        at: datetime,
    ) -> list[dict[str, Any]]:
        """Replace a published grade; None excuses the student."""
        entry = self.of(student)
        before, was_graded, was_excused = (entry.score, entry.grade), entry.state == "graded", entry.excused
        entry.excused = False
        score, text, deducted = (None, None, None) if grade is None else entry.published_as(grade, rules, policy)
        entry.excused, entry.of_this_work = grade is None, True
        entry.score, entry.grade, entry.deducted, entry.saved_score = score, text, deducted, score
        entry.grader_id, entry.graded_at = actor, at
        if entry.excused:
            entry.seconds_late = None if entry.late_policy_status == "late" else entry.seconds_late
            entry.late_policy_status = None
        entry.state = "graded"
        changed = before != (score, text) or was_excused != entry.excused or (not was_graded and score is not None)
        return [entry.told(student, before)] if changed else []

    def withdraw(self, student: int, actor: int, at: datetime) -> list[dict[str, Any]]:
        entry = self.of(student)
        before = entry.score, entry.grade
        if before == (None, None) and not entry.excused:
            return []
        entry.score = entry.grade = entry.deducted = entry.saved_score = None
        entry.excused, entry.grader_id, entry.graded_at, entry.of_this_work = False, actor, at, True
        entry.state = "submitted" if entry.submitted_at is not None or entry.attempt else "unsubmitted"
        return [entry.told(student, before)]
