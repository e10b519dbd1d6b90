"""Canvas's rules implemented a second time, as simply as possible: the effects of commands, without events.

It shares only the commands with the rules.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from services.moderation import commands
from tests.unit.moderation.reference_gradebook import Entry
from tests.unit.moderation.reference_grades import exact
from tests.unit.moderation.reference_schedule import ReferenceSchedules
from tests.unit.moderation.reference_state import Mark, Refusal, Told


@dataclass
class ReferenceModel(ReferenceSchedules):
    """Decides commands."""

    def apply(self, data: commands.CommandData, actor: int, at: datetime, command_id: str) -> tuple[str | None, Told]:
        """Change the state; return the reason if the command is refused, else its grade changes."""
        self.step += 1
        self.command_id = command_id
        self.answer = None
        try:
            told = self._apply(data, actor, at)
        except Refusal as refusal:
            return str(refusal), []
        return None, [change for change in told if not self.roster.is_test_student(change["student_id"])]

    def _apply(self, data: commands.CommandData, actor: int, at: datetime) -> Told:
        match data:
            case commands.UpsertCourse(fields=fields):
                self.state_course(dict(fields))
                return []
            case commands.UpsertEnrollments(enrollments=upserts):
                before = self.roster.enrolled_students()
                self.roster.enroll(upserts)
                self.drop_choices(before - self.roster.enrolled_students())
                return []
            case commands.UpsertAdmins(admins=admins):
                self.roster.appoint(admins)
                return []
            case commands.ConfigureAssignment(fields=fields):
                self.configure(dict(fields))
                return []
            case commands.SelectStudentsForModeration(student_ids=students):
                self._add(students, actor)
                return []
        if self.deleted:
            raise Refusal("not_found")
        match data:
            case commands.RecordSubmission(student_id=student, fields=fields):
                if student not in self.roster.enrolled_students():
                    raise Refusal("not_found")
                self.gradebook.of(student).state_fact(dict(fields))
                return []
            case commands.PostGrades(student_ids=ids, posted_at=posted_at):
                return self.post(ids, posted_at or at)
            case commands.HideGrades(student_ids=ids):
                return self.post(ids, None)
            case commands.RecordProvisionalGrade():
                return self._grade(data, actor, at)
            case commands.RecordProvisionalComment():
                self._comment(data, actor)
            case commands.PublishProvisionalGrades():
                return self._publish(data, actor, at)
            case commands.SelectProvisionalGrade(provisional_grade_id=number):
                self.demand_moderator(actor)
                self._select(number)
            case commands.BulkSelectProvisionalGrades(provisional_grade_ids=numbers):
                self.demand_moderator(actor)
                known = [number for number in numbers if number <= len(self.marks)]
                last = {self.marks[number - 1].student: number for number in known}
                for student, number in last.items():
                    is_own_choice = self.choices.get(student) == number and student not in self.by_policy
                    if self.is_in_set(student) and not is_own_choice:
                        self._select(number)
            case _:
                return self.examine(data, actor, at)
        return []

    def _demand_gradable(self, student: int, actor: int) -> None:
        if not self.roster.can_grade(actor):
            raise Refusal("unauthorized")
        if not self.roster.is_gradable(student):
            raise Refusal("student_not_enrolled")
        if not self.roster.can_see(actor, student):
            raise Refusal("not_found")
        if student not in self.assigned():
            raise Refusal("not_assigned")
        self.demand_allocated(student, actor)

    def _demand_slot(self, user: int) -> None:
        others = [holder for holder in self.slot_holders if not self.is_final_grader(holder)]
        has_one = user in self.slot_holders or self.is_final_grader(user) or len(others) < self.grader_count
        if self.moderated and not has_one:
            raise Refusal("max_graders_reached")

    def _find_mark(self, student: int, actor: int, final: bool) -> Mark | None:
        for mark in self.marks:
            if mark.student == student and mark.final == final and (final or mark.scorer == actor):
                return mark
        return None

    def _get_or_create_mark(self, student: int, actor: int, final: bool) -> Mark:
        mark = self._find_mark(student, actor, final)
        if mark is None:
            if final and all(other.student != student for other in self.marks):
                raise Refusal("final_without_provisional")
            mark = Mark(len(self.marks) + 1, student, final, actor)
            self.marks.append(mark)
        if self.moderated:
            self.slot_holders.add(actor)
        mark.scorer = actor
        return mark

    def _grade(self, data: commands.RecordProvisionalGrade, actor: int, at: datetime) -> Told:
        student, text, score = data.student_id, data.posted_grade, exact(data.score)
        self._demand_gradable(student, actor)
        sent = text is not None or score is not None
        if sent and data.excuse:
            raise Refusal("grade_and_excuse")
        self._demand_slot(actor)
        grade = None
        if text:
            grade = self.rules().from_text(text, data.prefer_points_over_scheme)
        elif score is not None:
            grade = self.rules().from_score(score)
        moderates, was_excused = self.can_moderate(actor), self.gradebook.of(student).excused
        excused = (bool(data.excuse) and grade is None) if moderates else was_excused
        says_something = sent or data.excuse is not None
        if grade is None and text != "" and not (excused and says_something):
            raise Refusal("invalid_score")
        final = data.final and moderates
        mark = self._find_mark(student, actor, final)
        if mark is not None and self.choices.get(student) == mark.number and not self.is_final_grader(mark.scorer):
            raise Refusal("modify_selected")
        mark = self._get_or_create_mark(student, actor, final)
        mark.score, mark.grade = grade or (None, None)
        mark.entered, mark.step, mark.by_policy = True, self.step, False
        mark.first_step = mark.first_step or self.step
        self.entering.add(actor)
        if final and student in self.by_policy:
            self._end_agreed_choice(mark, excused)
        return self.gradebook.excuse(student, excused, actor, at) if moderates else []

    def _end_agreed_choice(self, final: Mark, excused: bool) -> None:
        """A final grade by hand ends what a policy chose; without a policy that stands as if chosen by hand.

        Clearing one ends only the choice of that grade, and an excusal leaves that as one by hand.
        """
        is_chosen = self.choices[final.student] == final.number
        if final.score is None and not is_chosen:
            return
        self.by_policy.discard(final.student)
        keeps_choice = is_chosen and (final.score is not None or excused)
        if self.agreement is not None and not keeps_choice:
            del self.choices[final.student]

    def _comment(self, data: commands.RecordProvisionalComment, actor: int) -> None:
        self._demand_gradable(data.student_id, actor)
        self._demand_slot(actor)
        if data.final and not self.can_moderate(actor):
            raise Refusal("final_not_permitted")
        self._get_or_create_mark(data.student_id, actor, data.final)

    def _add(self, students: tuple[int, ...], actor: int) -> None:
        self.demand_moderator(actor)
        if not students:
            raise Refusal("missing_student_ids")
        self.added |= {s for s in students if self.roster.can_see(actor, s) and not self.is_in_set(s)}

    def _select(self, number: int) -> None:
        if not 1 <= number <= len(self.marks):
            raise Refusal("not_found")
        student = self.marks[number - 1].student
        if not self.is_in_set(student):
            raise Refusal("not_in_moderation_set")
        self.choices[student] = number
        self.by_policy.discard(student)

    def _publish(self, data: commands.PublishProvisionalGrades, actor: int, at: datetime) -> Told:
        self.demand_in_force(data.schedule_id)
        chosen = self.demand_publishable(data.plan_digest, actor)
        self.published, self.schedule = True, None
        told = []
        for mark in chosen:
            grade = self.current(mark)
            told += self.gradebook.publish(mark.student, grade, mark.scorer, self.rules(), self.policy, at)
        return told

    def snapshot(self) -> dict[str, Any]:
        """Return the whole state, for comparison."""
        students = self.added | self.roster.enrolled_students()
        rows = {student: entry.row(self.rules()) for student, entry in self.gradebook.entries.items()}
        return {
            "marks": [(m.number, m.student, m.final, m.scorer, *self.current(m), m.entered) for m in self.marks],
            "set": {student: self.choices.get(student) for student in students if self.is_in_set(student)},
            "slots": self.slot_holders,
            "rulings": {
                student: (own.outcome, own.score, own.failed, own.missing) for student, own in self.rulings.items()
            },
            "stale": {student for student in self.choices if self.is_stale(student)},
            "samples": {s: reasons for s, reasons in self.sample_reasons.items() if self.is_in_set(s)},
            "allocation": ({student: sorted(own) for student, own in self.allocated.items()}, self.enforced),
            "gradebook": {student: row for student, row in rows.items() if row != Entry().row(self.rules())},
            "published": self.published,
            "schedule": self.shown_schedule(),
        }
