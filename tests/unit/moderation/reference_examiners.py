"""Contract section 8 implemented a second time: plan, revisions, adjudication, slots, samples, allocations."""

import hashlib
import hmac
import json
from dataclasses import dataclass, field
from datetime import datetime
from fractions import Fraction
from math import ceil
from typing import Any

from services.moderation import commands
from tests.unit.moderation.reference_adjudication import rule_marks, takes
from tests.unit.moderation.reference_grades import SCHEME_TYPES, exact, plain
from tests.unit.moderation.reference_state import Mark, ReferenceState, Refusal, Told


@dataclass
class Ruling:
    """The last adjudication of a student, with what it rests on."""

    outcome: str
    failed: list[str]
    missing: int
    score: Fraction | None
    basis: tuple[Any, ...]


@dataclass
class ReferenceExaminers(ReferenceState):
    """``answer``: the part of the last command's answer that is compared; ``by_policy``: whose choice a policy made."""

    secret: bytes = b""
    first_grade_id: int = 0
    answer: Any = None
    rulings: dict[int, Ruling] = field(default_factory=dict)
    sample_reasons: dict[int, list[str]] = field(default_factory=dict)
    allocated: dict[int, set[int]] = field(default_factory=dict)
    enforced: bool = False

    def demand_examiner(self, actor: int, *, unpublished: bool = True) -> None:
        if not (self.roster.can_grade(actor) and self.can_moderate(actor)):
            raise Refusal("unauthorized")
        if not self.moderated:
            raise Refusal("not_moderated")
        if unpublished and self.published:
            raise Refusal("already_published")

    def examine(self, data: commands.CommandData, actor: int, at: datetime) -> Told:
        """Apply a command of section 8."""
        match data:
            case commands.PlanPublication():
                self.answer = self.plan_answer(actor)
            case commands.SetAdjudicationPolicy(adjudication=policy):
                self._set_policy(policy, actor)
            case commands.AdjudicateProvisionalGrades(student_ids=ids):
                self._adjudicate(ids, actor)
            case commands.RevisePublishedGrade():
                return self._revise(data, actor, at)
            case commands.WithdrawPublishedGrade(student_id=student):
                return self.gradebook.withdraw(self._demand_published(student, actor), actor, at)
            case commands.ReleaseGraderSlot(grader_id=grader):
                self._release(grader, actor)
            case commands.DrawModerationSample():
                self._sample(data, actor)
            case commands.AllocateSubmissions():
                self._allocate(data, actor)
            case _:
                raise TypeError(f"{data} is not read here")
        return []

    # Plan and publication

    def to_publish(self, actor: int) -> tuple[list[Mark], list[tuple[int, str]]]:
        """Return the marks that a publication would take, and the students that block it with the reasons."""
        rows, blocked = [], []
        for student in sorted(self.assigned()):
            marks = [mark for mark in self.marks if mark.student == student]
            entered = [mark for mark in marks if mark.entered]
            selected = [mark for mark in marks if mark.number == self.choices.get(student)]
            if not marks or not self.roster.can_see(actor, student):
                continue
            if selected and self.is_stale(student):
                blocked.append((student, "adjudication_stale"))
            elif not selected and len(entered) > 1:
                blocked.append((student, "selection_required"))
            else:
                rows.append((selected or entered or marks)[0])
        return rows, blocked

    def digest(self, rows: list[Mark]) -> str:
        students = []
        for mark in rows:
            entry = self.gradebook.of(mark.student)
            score, text, _ = entry.published_as(self.current(mark), self.rules(), self.policy)
            numbers = [None if number is None else plain(number) for number in (entry.score, score)]
            grade_id = str(self.first_grade_id + mark.number)
            students.append([str(mark.student), grade_id, *numbers, entry.grade, text])
        document = {"assignment_id": "2001", "students": students}
        form = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
        return "sha256:" + hashlib.sha256(form.encode()).hexdigest()

    def plan_answer(self, actor: int) -> Any:
        try:
            self.demand_examiner(actor)
        except Refusal as refusal:
            return str(refusal), None
        rows, blocked = self.to_publish(actor)
        reasons = [reason for _, reason in blocked]
        reason = "adjudication_stale" if "adjudication_stale" in reasons else reasons[0] if reasons else None
        return reason, self.digest(rows)

    # Revisions

    def _demand_published(self, student: int, actor: int) -> int:
        self.demand_examiner(actor, unpublished=False)
        if not self.published:
            raise Refusal("not_published")
        if not (self.gradebook.of(student).published and self.roster.can_see(actor, student, ever=True)):
            raise Refusal("not_found")
        return student

    def _revise(self, data: commands.RevisePublishedGrade, actor: int, at: datetime) -> Told:
        student = self._demand_published(data.student_id, actor)
        if data.excuse and (data.posted_grade is not None or data.score is not None):
            raise Refusal("grade_and_excuse")
        if [data.posted_grade, data.score, data.excuse].count(None) != 2:
            raise Refusal("invalid_command")
        grade = None
        if data.posted_grade:
            grade = self.rules().from_text(data.posted_grade, prefer_points=False)
        elif data.score is not None:
            grade = self.rules().from_score(Fraction(data.score))
        if grade is None and not data.excuse:
            raise Refusal("invalid_score")
        return self.gradebook.revise(student, grade, actor, self.rules(), self.policy, at)

    # Adjudication

    def _set_policy(self, policy: Any, actor: int) -> None:
        self.demand_examiner(actor)
        if policy is not None:
            has_third = policy.otherwise == "third_mark"
            if has_third != (policy.third is not None) or (has_third and policy.marks != 2):
                raise Refusal("invalid_adjudication")
            if not takes(policy, self.grading_type):
                raise Refusal("invalid_adjudication")
        self.agreement = policy

    def counting_marks(self, student: int) -> list[tuple[Mark, Fraction]]:
        """Return the marks that count with their scores now, as they were first entered."""
        marks = [mark for mark in self.marks if mark.student == student and mark.entered and not mark.final]
        scored = [(mark, self.current(mark)[0]) for mark in sorted(marks, key=lambda mark: mark.first_step)]
        return [(mark, score) for mark, score in scored if score is not None]

    def basis(self, student: int) -> tuple[Any, ...]:
        uses_scheme = self.agreement is not None and self.agreement.boundaries == "grading_scheme"
        scheme = (self.scheme or self.course_scheme) if uses_scheme else None
        # Without points letters and words have no score of their own: then they count as they were entered.
        by_text = not self.points and self.grading_type in (*SCHEME_TYPES, "pass_fail")
        marks = [(mark.number, score, by_text and mark.grade) for mark, score in self.counting_marks(student)]
        return self.agreement, self.points or 0, self.grading_type, scheme, marks

    def is_stale(self, student: int) -> bool:
        if self.agreement is None or student not in self.by_policy or self.gradebook.of(student).excused:
            return False
        return self.rulings[student].basis != self.basis(student)

    def _adjudicate(self, ids: tuple[int, ...] | None, actor: int) -> None:
        self.demand_examiner(actor)
        if self.agreement is None:
            raise Refusal("invalid_adjudication")
        known = self.added | self.roster.enrolled_students()
        rows = [
            self._adjudicate_student(student, actor)
            for student in sorted(known if ids is None else set(ids))
            if self.is_in_set(student) and self.roster.can_see(actor, student)
        ]
        self.answer = rows

    def _adjudicate_student(self, student: int, actor: int) -> tuple[Any, ...]:
        finals = [mark for mark in self.marks if mark.student == student and mark.final]
        final = finals[0] if finals else None
        chosen = self.choices.get(student)
        by_hand = final is not None and final.score is not None and not final.by_policy if chosen is None else True
        if self.gradebook.of(student).excused or (by_hand and student not in self.by_policy):
            basis = self.rulings[student].basis if student in self.rulings else ()
            self.rulings[student] = Ruling("kept", [], 0, None, basis)
            return student, "kept", None, chosen, [], 0
        marks = self.counting_marks(student)
        given = [(score, mark.grade) for mark, score in marks]
        bands = self.rules().bands if self.scheme or self.course_scheme else None
        outcome, score, failed, missing, standing = rule_marks(
            self.agreement, given, self.points or Fraction(0), self.grading_type, bands
        )
        last, ruling = self.rulings.get(student), Ruling(outcome, failed, missing, score, self.basis(student))
        self.rulings[student] = ruling
        if outcome != "agreed":
            if student in self.by_policy:
                self.drop_choices({student})
            return student, outcome, None, None, failed, missing
        stands = None if standing is None else marks[standing][0]
        if stands is None and (last != ruling or chosen is None or final is None or chosen != final.number):
            stands = self._record_final(student, final, score, actor)
        number = chosen if stands is None else stands.number
        assert number is not None
        self.choices[student] = number
        self.by_policy.add(student)
        return student, outcome, score, number, failed, missing

    def _record_final(self, student: int, final: Mark | None, score: Fraction | None, actor: int) -> Mark:
        if final is None:
            final = Mark(len(self.marks) + 1, student, True, actor)
            self.marks.append(final)
        assert score is not None
        final.scorer, final.by_policy, final.entered, final.step = actor, True, True, self.step
        final.score, final.grade = self.rules().from_score(score) or (score, None)
        return final

    # Slots, samples, allocations

    def _release(self, grader: int, actor: int) -> None:
        self.demand_examiner(actor, unpublished=False)
        if grader not in self.slot_holders:
            raise Refusal("not_found")
        if grader in self.entering:
            raise Refusal("slot_in_use")
        self.slot_holders.discard(grader)

    def _lot(self, *words: str | int) -> bytes:
        return hmac.new(self.secret, " ".join(["draw", *map(str, words)]).encode(), "sha256").digest()

    def _sample(self, data: commands.DrawModerationSample, actor: int) -> None:
        self.demand_examiner(actor)
        asks_nothing = data.percent is None and data.at_least is None and not data.square_root and not data.include
        if (
            not self.hand_picked
            or asks_nothing
            or ("borderline" in data.include) != (data.borderline_within is not None)
        ):
            raise Refusal("invalid_sample")
        first = {
            student: self.counting_marks(student)[0][1]
            for student in self.assigned()
            if self.roster.can_see(actor, student) and not self.roster.is_test_student(student)
            and self.counting_marks(student)
        }  # fmt: skip
        order = sorted(first, key=lambda student: (first[student], self._lot("sample", student)))
        count, root = len(order), 0
        while data.square_root and root * root < count:
            root += 1
        size = min(count, max(ceil(exact(data.percent or 0) * count / 100), data.at_least or 0, root))  # type: ignore[operator]
        parts = [order[i * count // data.strata : (i + 1) * count // data.strata] for i in range(data.strata)]
        reasons: dict[int, list[str]] = {}
        while len([s for s in order if self.is_in_set(s) or s in reasons]) < size:
            taken = [[s for s in part if self.is_in_set(s) or s in reasons] for part in parts]
            part = min((len(taken[i]), i) for i in range(data.strata) if len(taken[i]) < len(parts[i]))[1]
            rest = [s for s in parts[part] if s not in taken[part]]
            reasons[min(rest, key=lambda student: self._lot("sample", student))] = ["drawn"]
        starts = self._boundaries()
        for student in order:
            percent = first[student] * 100 / self.points if self.points else first[student]
            fails = "failing" in data.include and percent < starts[0]
            within = exact(data.borderline_within)
            is_near = within is not None and min(abs(percent - start) for start in starts) <= within
            tells_nothing = not first[student] and not self.points and self.grading_type in (*SCHEME_TYPES, "pass_fail")
            if not self.is_in_set(student) and (fails or is_near) and not tells_nothing:
                reasons.setdefault(student, []).extend(["failing"] * fails + ["borderline"] * is_near)
        self.added |= set(reasons)
        self.sample_reasons |= reasons
        shown = {student: self.sample_reasons.get(student, []) for student in order if self.is_in_set(student)}
        self.answer = count, size, shown

    def _boundaries(self) -> list[Fraction]:
        """Percents of the policy, else of the scheme, else a half."""
        of_policy = None if self.agreement is None else self.agreement.boundaries
        if isinstance(of_policy, tuple):
            percents = [Fraction(bound) for bound in of_policy]
        elif of_policy or self.scheme or self.course_scheme or self.grading_type in SCHEME_TYPES:
            percents = [bound * 100 for _, bound in self.rules().bands]
        else:
            percents = []
        return sorted(percent for percent in percents if percent > 0) or [Fraction(50)]

    def _allocate(self, data: commands.AllocateSubmissions, actor: int) -> None:
        self.demand_examiner(actor)
        if (data.allocations is None) == (data.evenly is None):
            raise Refusal("invalid_allocation")
        markable = {student for student in self.assigned() if self.roster.can_see(actor, student)}
        named: dict[int, set[int]] = {}
        if data.evenly is not None:
            graders = set(data.evenly.grader_ids)
            if not all(map(self.roster.can_grade, graders)) or len(graders) < data.evenly.marks:
                raise Refusal("invalid_allocation")
            named = self._deal(sorted(s for s in markable if self.is_in_set(s)), graders, data.evenly.marks)
        for grader, students in data.allocations or ():
            if not self.roster.can_grade(grader) or not markable.issuperset(students):
                raise Refusal("invalid_allocation")
            for student in students:
                named.setdefault(student, set()).add(grader)
        after = self.allocated | named
        here = self.assigned()
        graders = {
            grader for student, own in after.items() if student in here for grader in own
            if self.roster.can_grade(grader)
        }  # fmt: skip
        needing = {grader for grader in graders | self.slot_holders if not self.is_final_grader(grader)}
        if needing - self.slot_holders and len(needing) > self.grader_count:
            raise Refusal("max_graders_reached")
        self.allocated = after
        self.enforced = self.enforced if data.enforced is None else data.enforced
        self.answer = self.allocated, self.enforced

    def _deal(self, students: list[int], graders: set[int], marks: int) -> dict[int, set[int]]:
        """Deal shuffled decks of graders; a grader whom the student has already waits for the next student."""
        named: dict[int, set[int]] = {}
        deck: list[int] = []
        number = 0
        for student in sorted(students, key=lambda student: self._lot("allocated student", student)):
            own = named[student] = set()
            for _ in range(marks):
                if not deck:
                    deck = sorted(graders, key=lambda grader: self._lot("allocation", number, grader), reverse=True)
                    number += 1
                grader = next(grader for grader in deck if grader not in own)
                deck.remove(grader)
                own.add(grader)
        return named

    def demand_allocated(self, student: int, actor: int) -> None:
        if not self.enforced or not self.moderated or student not in self.allocated or self.can_moderate(actor):
            return
        ruling = self.rulings.get(student)
        needs_third = self.agreement is not None and ruling is not None and ruling.outcome == "needs_third_mark"
        if actor not in self.allocated[student] and not needs_third:
            raise Refusal("not_allocated")
