"""Canvas's rules read a second time, as plainly as they can be said: what commands come to, with no events.

It shares nothing with the rules but the commands. It knows one course and one moderated essay of ten points, which is
assigned to every student unless somebody says otherwise.
"""

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from services.moderation import commands

TEXTS = {"": None, "?": None, "7": Decimal(7), "50%": Decimal(5)}
INSTRUCTORS = ("TeacherEnrollment", "TaEnrollment")
POINTS = Decimal(10)


@dataclass
class Person:
    type: str
    state: str = "active"
    limited: bool = False
    section: int | None = None


@dataclass
class Mark:
    """A provisional grade; ``number`` counts them from 1."""

    number: int
    student: int
    final: bool
    scorer: int
    score: Decimal | None = None
    entered: bool = False


@dataclass
class Work:
    """What a student handed in, and how late the LMS calls it."""

    handed_in: bool = False
    seconds_late: int = 0
    status: str | None = None


@dataclass
class ReferenceModel:
    """``choices``: the moderation set, each student with the number of the chosen mark or None."""

    people: dict[int, Person]
    admins: frozenset[int]
    grader_count: int
    final_grader: int | None
    assigned_to: tuple[int, ...] | None = None
    slot_holders: set[int] = field(default_factory=set)
    marks: list[Mark] = field(default_factory=list)
    selections: dict[int, int | None] = field(default_factory=dict)
    added_students: set[int] = field(default_factory=set)
    excused: set[int] = field(default_factory=set)
    gradebook: dict[int, tuple[Decimal | None, int]] = field(default_factory=dict)
    work: dict[int, Work] = field(default_factory=dict)
    late_policy: dict[str, Any] | None = None
    deducted: dict[int, Decimal] = field(default_factory=dict)
    published: bool = False

    def __post_init__(self) -> None:
        self.selections = dict.fromkeys(self._assigned())

    def apply(self, data: commands.CommandData, actor: int) -> str | None:
        """What is said changes what is; the reason, if it is refused."""
        match data:
            case commands.UpsertEnrollments():
                self._apply_lms_fact(data)
                return None
            case commands.ConfigureAssignment():
                if data.fields.get("grader_count") == 0:
                    return "invalid_command"
                self._apply_lms_fact(data)
                return None
            case commands.UpsertCourse(fields=fields):
                self.late_policy = fields["late_policy"]
                return None
            case commands.RecordSubmission():
                return self._record_work(data)
            case commands.RecordProvisionalGrade():
                return self._grade(data, actor)
            case commands.RecordProvisionalComment():
                return self._comment(data, actor)
            case commands.PublishProvisionalGrades():
                return self._publish(actor)
        if not self._can_moderate(actor):
            return "unauthorized"
        match data:
            case commands.SelectStudentsForModeration(student_ids=students):
                return self._add(students, actor)
            case commands.SelectProvisionalGrade(provisional_grade_id=number):
                return self._select(number)
            case commands.BulkSelectProvisionalGrades(provisional_grade_ids=numbers):
                for number in numbers:
                    self._select(number)
                return None
        raise TypeError(f"{data} is not read here")

    def _apply_lms_fact(self, data: commands.UpsertEnrollments | commands.ConfigureAssignment) -> None:
        before = self._assigned()
        if isinstance(data, commands.UpsertEnrollments):
            for row in data.enrollments:
                limited = row.fields["limited_to_section"]
                self.people[row.user_id] = Person(row.type, row.fields["state"], limited, row.section_id)
        else:
            self.grader_count = data.fields.get("grader_count", self.grader_count)
            self.final_grader = data.fields.get("final_grader_id", self.final_grader)
            self.assigned_to = data.fields.get("assigned_to", self.assigned_to)
        after = self._assigned()
        for student in before - after:
            del self.selections[student]
            if student in self.added_students:
                self.selections[student] = None
        for student in after:
            self.selections.setdefault(student, None)

    def _assigned(self) -> set[int]:
        students = {user for user, p in self.people.items() if p.type == "StudentEnrollment" and p.state != "deleted"}
        return students if self.assigned_to is None else students & set(self.assigned_to)

    def _can_grade(self, user: int) -> bool:
        person = self.people.get(user)
        instructs = person is not None and person.type in INSTRUCTORS and person.state == "active"
        return instructs or user in self.admins

    def _is_final_grader(self, user: int) -> bool:
        person = self.people.get(user)
        return user == self.final_grader and not (person is not None and person.state == "deleted")

    def _can_moderate(self, user: int) -> bool:
        return self._is_final_grader(user) or user in self.admins

    def _has_slot(self, user: int) -> bool:
        others = [holder for holder in self.slot_holders if not self._is_final_grader(holder)]
        return user in self.slot_holders or self._is_final_grader(user) or len(others) < self.grader_count

    def _can_see(self, user: int, student: int) -> bool:
        worker, pupil = self.people.get(user), self.people[student]
        limited = worker is not None and worker.state == "active" and worker.limited and user not in self.admins
        within = not limited or (worker is not None and worker.section == pupil.section)
        return self._is_gradable(student) and within

    def _is_gradable(self, student: int) -> bool:
        person = self.people.get(student)
        return person is not None and person.type == "StudentEnrollment" and person.state in ("active", "inactive")

    def _grading_rejection(self, student: int, actor: int) -> str | None:
        if not self._can_grade(actor):
            return "unauthorized"
        if not self._is_gradable(student):
            return "student_not_enrolled"
        if not self._can_see(actor, student):
            return "not_found"
        return None if student in self._assigned() else "not_assigned"

    def _find_mark(self, student: int, actor: int, final: bool) -> Mark | None:
        for mark in self.marks:
            if mark.student == student and mark.final == final and (final or mark.scorer == actor):
                return mark
        return None

    def _get_or_create_mark(self, student: int, actor: int, final: bool) -> Mark | None:
        """The mark that the actor writes to, made if need be; None where no final mark may be made yet."""
        mark = self._find_mark(student, actor, final)
        if mark is None:
            if final and all(other.student != student for other in self.marks):
                return None
            mark = Mark(len(self.marks) + 1, student, final, actor)
            self.marks.append(mark)
        self.slot_holders.add(actor)
        mark.scorer = actor
        return mark

    def _grade(self, data: commands.RecordProvisionalGrade, actor: int) -> str | None:
        student, text = data.student_id, data.posted_grade
        refused = self._grading_rejection(student, actor)
        if refused is not None:
            return refused
        sent = text is not None or data.score is not None
        if sent and data.excuse:
            return "grade_and_excuse"
        if not self._has_slot(actor):
            return "max_graders_reached"
        score = TEXTS[text] if text else data.score
        moderates = self._can_moderate(actor)
        excused = (bool(data.excuse) and score is None) if moderates else student in self.excused
        says_something = sent or data.excuse is not None
        if score is None and text != "" and not (excused and says_something):
            return "invalid_score"
        final = data.final and moderates
        mark = self._find_mark(student, actor, final)
        if mark is not None and self.selections.get(student) == mark.number and not self._is_final_grader(mark.scorer):
            return "modify_selected"
        mark = self._get_or_create_mark(student, actor, final)
        if mark is None:
            return "final_without_provisional"
        mark.score, mark.entered = score, True
        if excused != (student in self.excused):
            published_score, _ = self.gradebook.get(student, (None, 0))
            self.gradebook[student] = (None if excused else published_score, actor)
            if excused:
                self.deducted.pop(student, None)
        (self.excused.add if excused else self.excused.discard)(student)
        return None

    def _comment(self, data: commands.RecordProvisionalComment, actor: int) -> str | None:
        refused = self._grading_rejection(data.student_id, actor)
        if refused is not None:
            return refused
        if not self._has_slot(actor):
            return "max_graders_reached"
        if data.final and not self._can_moderate(actor):
            return "final_not_permitted"
        written = self._get_or_create_mark(data.student_id, actor, data.final)
        return "final_without_provisional" if written is None else None

    def _add(self, students: tuple[int, ...], actor: int) -> str | None:
        if not students:
            return "missing_student_ids"
        for student in students:
            if student in self.people and self._can_see(actor, student) and student not in self.selections:
                self.selections[student] = None
                self.added_students.add(student)
        return None

    def _select(self, number: int) -> str | None:
        if not 1 <= number <= len(self.marks):
            return "not_found"
        student = self.marks[number - 1].student
        if student not in self.selections:
            return "not_in_moderation_set"
        self.selections[student] = number
        return None

    def _publish(self, actor: int) -> str | None:
        if not (self._can_grade(actor) and self._can_moderate(actor)):
            return "unauthorized"
        if self.published:
            return "already_published"
        chosen = {}
        for student in self._assigned():
            marks = [mark for mark in self.marks if mark.student == student]
            entered = [mark for mark in marks if mark.entered]
            selected = [mark for mark in marks if mark.number == self.selections[student]]
            if not marks or not self._can_see(actor, student):
                continue
            if not selected and len(entered) > 1:
                return "selection_required"
            chosen[student] = (selected or entered or marks)[0]
        for student, mark in chosen.items():
            lost = self._lost_for_lateness(student, mark.score)
            if mark.score is not None and lost is not None:
                self.deducted[student] = lost
            self.gradebook[student] = (None if mark.score is None else mark.score - (lost or 0), mark.scorer)
        self.published = True
        return None

    def _record_work(self, data: commands.RecordSubmission) -> str | None:
        person = self.people.get(data.student_id)
        if person is None or person.type != "StudentEnrollment" or person.state == "deleted":
            return "not_found"
        fields = data.fields
        work = Work(fields["submitted_at"] is not None, fields["seconds_late"], fields["late_policy_status"])
        self.work[data.student_id] = work
        return None

    def _lost_for_lateness(self, student: int, score: Decimal | None) -> Decimal | None:
        """Points that lateness costs: one share for each hour or day begun, until no time or nothing to lose is left.

        None: the work is not late at all.
        """
        work, policy = self.work.get(student, Work()), self.late_policy
        late = work.status == "late" or (work.status is None and work.handed_in and work.seconds_late > 0)
        if student in self.excused or not late:
            return None
        if score is None or policy is None or not policy["late_submission_deduction_enabled"]:
            return Decimal(0)
        safe = POINTS * policy["late_submission_minimum_percent"] / 100
        floor = safe if policy["late_submission_minimum_percent_enabled"] else Decimal(0)
        left, time = score, work.seconds_late
        while time > 0 and left > floor:
            left = max(left - POINTS * policy["late_submission_deduction"] / 100, floor)
            time -= 3600 if policy["late_submission_interval"] == "hour" else 24 * 3600
        return score - left

    def snapshot(self) -> dict[str, Any]:
        """All that there is, to compare."""
        return {
            "marks": [(m.number, m.student, m.final, m.scorer, m.score, m.entered) for m in self.marks],
            "set": self.selections,
            "slots": self.slot_holders,
            "excused": self.excused,
            "gradebook": self.gradebook,
            "deducted": self.deducted,
            "published": self.published,
        }
