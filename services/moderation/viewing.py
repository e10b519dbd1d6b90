"""What the Canvas API shows of a course and an assignment, and to whom; nothing is changed.

Ids are integers, times strings with seconds, as in Canvas's JSON. Links to the LMS begin with ``lms_url``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from services.moderation.assignment import Assignment, Comment, ProvisionalGrade
from services.moderation.course import Course
from services.moderation.decision import ALREADY_PUBLISHED, NOT_FOUND, NOT_MODERATED, UNAUTHORIZED, Rejected
from services.moderation.identity import may_grade_or_look, sees_graders, sees_graders_comments
from services.moderation.payload import number

Json = dict[str, Any]


def seconds(at: datetime | None) -> str | None:
    """ISO 8601 in UTC with whole seconds."""
    return None if at is None else at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True, slots=True)
class View:
    """A course and an assignment as one user sees them."""

    course: Course
    assignment: Assignment
    user_id: int
    lms_url: str

    @property
    def moderates(self) -> bool:
        """Whether the user permits moderation of the assignment."""
        return self.assignment.permits_moderation(self.course, self.user_id)

    def moderated_students(self) -> list[int] | Rejected:
        """The moderation set's students, ascending (Canvas: ModerationSetController#index)."""
        if not self.moderates:
            return UNAUTHORIZED
        candidates = {*self.course.student_ordinals, *self.assignment.added}
        return sorted(s for s in candidates if self.assignment.is_in_set(self.course, s))

    def status(self, student_id: int | None, last_updated_at: datetime | None) -> Json | Rejected:
        """Canvas: ProvisionalGradesController#status; ``student_id`` None: found nowhere."""
        course, assignment = self.course, self.assignment
        if student_id is None or not has_submission(course, assignment, student_id):
            return NOT_FOUND
        if not may_grade_or_look(course, self.user_id):
            return UNAUTHORIZED
        if not assignment.moderated_grading:
            return NOT_MODERATED
        if assignment.grades_published_at is not None:
            return ALREADY_PUBLISHED
        answer: Json = {"needs_provisional_grade": assignment.can_be_moderated_grader(course, self.user_id)}
        if last_updated_at is None or _same_second(last_updated_at, assignment.submission(student_id).updated_at):
            return answer
        if not self.moderates:
            return UNAUTHORIZED
        grades = assignment.of_student.get(student_id, [])
        answer["provisional_grades"] = [self._with_choice(grade) for grade in grades if not grade.final]
        for grade in grades:
            if grade.final:
                answer["final_provisional_grade"] = self._with_choice(grade)
        return answer

    def _with_choice(self, grade: ProvisionalGrade) -> Json:
        chosen = self.assignment.selected(self.course, grade.student_id)
        shown = {
            **self.provisional_grade(grade, comments=True),
            "selected": chosen == grade.provisional_grade_id,
            "readonly": not grade.final and grade.scorer_id != self.user_id,
        }
        if sees_graders(self.course, self.assignment, self.user_id):
            shown["scorer_name"] = self.course.users.get(grade.scorer_id, {}).get("name")
        return shown

    def provisional_grades(self, student_id: int) -> list[Json]:
        """Those of a student that the user sees: a moderator all, the final one last, others their own."""
        grades = self.assignment.of_student.get(student_id, [])
        seen = [grade for grade in grades if self.moderates or grade.scorer_id == self.user_id]
        ordered = sorted(seen, key=lambda grade: (grade.final, grade.provisional_grade_id))
        return [self.provisional_grade(grade, comments=True) for grade in ordered]

    def provisional_grade(self, grade: ProvisionalGrade, *, comments: bool) -> Json:
        """Canvas: lib/api/v1/provisional_grade.rb, provisional_grade_json."""
        submitted_at = self.assignment.submission(grade.student_id).submitted_at
        shown: Json = {
            "provisional_grade_id": grade.provisional_grade_id,
            "score": number(grade.score),
            "entered_score": number(grade.score),
            "grade": grade.grade,
            "entered_grade": grade.grade,
            "graded_at": seconds(grade.graded_at),
            "graded_anonymously": grade.graded_anonymously,
            "final": grade.final,
            "grade_matches_current_submission": submitted_at is None
            or grade.graded_at is None
            or submitted_at <= grade.graded_at,
        }
        if sees_graders(self.course, self.assignment, self.user_id):
            shown["scorer_id"] = grade.scorer_id
        else:
            shown["anonymous_grader_id"] = self.assignment.slots.get(grade.scorer_id)
        shown["speedgrader_url"] = self.speedgrader_url(grade.student_id)
        if comments:
            shown["submission_comments"] = self._comments([*grade.comments, *self._public(grade.student_id)])
        return shown

    def speedgrader_url(self, student_id: int) -> str:
        """The LMS's grading page of the student."""
        assignment = self.assignment
        if assignment.students_named(self.course, self.user_id):
            who = f"student_id={student_id}"
        else:
            who = f"anonymous_id={assignment.anonymous_id(self.course, student_id)}"
        page = f"{self.lms_url}/courses/{self.course.course_id}/gradebook/speed_grader"
        return f"{page}?assignment_id={assignment.assignment_id}&{who}"

    def submission(self, student_id: int, *, comments: bool = False, grades: bool = False) -> Json | Rejected:
        """A student's submission; their own shows its grade once it is posted."""
        if not has_submission(self.course, self.assignment, student_id):
            return NOT_FOUND
        own = student_id == self.user_id
        grader = may_grade_or_look(self.course, self.user_id) and self._reaches(student_id)
        if not (own or grader):
            return UNAUTHORIZED
        shown = self._submission(student_id, hidden=not grader)
        if comments:
            shown["submission_comments"] = self._comments(self._public(student_id, hidden=not grader))
        if grades and grader and self.assignment.moderated_grading:
            shown["provisional_grades"] = self.provisional_grades(student_id)
        return shown

    def _reaches(self, student_id: int) -> bool:
        sections = self.course.sections_seen_by(self.user_id)
        return sections is None or any(
            each.section_id in sections for each in self.course.enrollments.get(student_id, {}).values()
        )

    def _submission(self, student_id: int, *, hidden: bool) -> Json:
        course, assignment = self.course, self.assignment
        held = assignment.submission(student_id)
        unposted = hidden and held.posted_at is None
        shown: Json = {
            "id": assignment.submission_id(course, student_id),
            "assignment_id": assignment.assignment_id,
            "score": None if unposted else number(held.score),
            "entered_score": None if unposted else number(held.score),
            "grade": None if unposted else held.grade,
            "entered_grade": None if unposted else held.grade,
            "graded_at": None if unposted else seconds(held.graded_at),
            "grader_id": None if unposted else held.grader_id,
            "submitted_at": seconds(held.submitted_at),
            "attempt": held.attempt,
            "excused": held.excused,
            "posted_at": seconds(held.posted_at),
            "workflow_state": "submitted" if unposted and held.workflow_state == "graded" else held.workflow_state,
            "grade_matches_current_submission": held.grade_matches_current_submission,
        }
        if student_id == self.user_id or assignment.students_named(course, self.user_id):
            shown["user_id"] = student_id
        else:
            shown["anonymous_id"] = assignment.anonymous_id(course, student_id)
        return shown

    def submissions(self) -> list[int] | Rejected:
        """The students whose submissions the user may list, in the order of the list."""
        if not may_grade_or_look(self.course, self.user_id):
            return UNAUTHORIZED
        sections = self.course.sections_seen_by(self.user_id)
        students = (s for s in self.course.student_ordinals if self.course.is_visible_student(s, sections))
        return self._ordered([s for s in students if self.assignment.is_assigned(self.course, s)])

    def gradeable_students(self, *, grades: bool) -> list[int] | Rejected:
        """The students to grade; with their provisional grades for moderators only."""
        students = self.submissions()
        return UNAUTHORIZED if grades and not self.moderates else students

    def _ordered(self, students: Sequence[int]) -> list[int]:
        if self.assignment.students_named(self.course, self.user_id):
            return sorted(students)
        return sorted(students, key=lambda student: self.assignment.anonymous_id(self.course, student))

    def gradeable_student(self, student_id: int, *, grades: bool) -> Json:
        """Canvas: SubmissionsApiController#gradeable_students."""
        shown: Json = {}
        if self.assignment.students_named(self.course, self.user_id):
            known = self.course.users.get(student_id, {})
            shown["id"] = student_id
            shown["display_name"] = known.get("short_name") or known.get("name")
        else:
            shown["anonymous_id"] = self.assignment.anonymous_id(self.course, student_id)
        if grades and self.assignment.moderated_grading:
            chosen = self.assignment.selected(self.course, student_id)
            shown["in_moderation_set"] = chosen is not None
            shown["selected_provisional_grade_id"] = chosen
            shown["provisional_grades"] = self.provisional_grades(student_id)
        return shown

    def _public(self, student_id: int, *, hidden: bool = False) -> list[Comment]:
        held = self.assignment.submission(student_id)
        return [] if hidden and held.posted_at is None else held.comments

    def _comments(self, comments: Sequence[Comment]) -> list[Json]:
        readable = sees_graders_comments(self.course, self.assignment, self.user_id)
        shown = []
        for comment in comments:
            by_other_grader = comment.author_id in self.assignment.slots and comment.author_id != self.user_id
            if by_other_grader and not readable:
                continue
            line: Json = {"comment": comment.comment, "created_at": seconds(comment.created_at)}
            anonymous_id = self._anonymous_author(comment.author_id)
            line |= {"author_id": comment.author_id} if anonymous_id is None else {"anonymous_id": anonymous_id}
            shown.append(line)
        return shown

    def _anonymous_author(self, author_id: int) -> str | None:
        """What stands for an author who is anonymous to the user, None for one who is not."""
        if author_id == self.user_id:
            return None
        slots = self.assignment.slots
        if author_id in slots:
            return None if sees_graders(self.course, self.assignment, self.user_id) else slots[author_id]
        if author_id in self.course.student_ordinals and not self.assignment.students_named(self.course, self.user_id):
            return self.assignment.anonymous_id(self.course, author_id)
        return None


def has_submission(course: Course, assignment: Assignment, student_id: int) -> bool:
    """Every assigned student has one, and who once handed something in."""
    return assignment.is_assigned(course, student_id) or student_id in assignment.submissions


def user(course: Course, user_id: int) -> Json:
    """A user as the moderation set's operations show one, who may read logins and SIS ids."""
    known = course.users.get(user_id, {})
    shown: Json = {"id": user_id, "name": known.get("name"), "created_at": seconds(known.get("created_at"))}
    for name in ("sortable_name", "short_name"):
        shown[name] = known.get(name) or known.get("name")
    return {**shown, **{name: known[name] for name in ("sis_user_id", "login_id") if known.get(name) is not None}}


def user_by_sis_form(course: Course, text: str) -> int | None:
    """The user that ``sis_user_id:X`` or ``sis_login_id:X`` names."""
    form, _, wanted = text.partition(":")
    name = {"sis_user_id": "sis_user_id", "sis_login_id": "login_id"}.get(form)
    if name is None or not wanted:
        return None
    return next((user_id for user_id, known in course.users.items() if known.get(name) == wanted), None)


def _same_second(one: datetime, other: datetime | None) -> bool:
    return other is not None and int(one.timestamp()) == int(other.timestamp())
