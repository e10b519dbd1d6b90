"""What the Canvas API shows of a course and an assignment, and to whom; nothing is changed.

Ids are integers, times strings with seconds, as in Canvas's JSON. Links to the LMS begin with ``lms_url``.
"""

from collections.abc import Callable, Container, Sequence
from datetime import datetime
from typing import Any

from services.moderation import comment_visibility
from services.moderation.assignment import Assignment, ProvisionalGrade
from services.moderation.course import Course
from services.moderation.decisions import ALREADY_PUBLISHED, NOT_FOUND, NOT_MODERATED, UNAUTHORIZED, Rejected
from services.moderation.event_payloads import number, seconds
from services.moderation.visibility import Viewer

Json = dict[str, Any]
Included = Container[str]


WITH_STATUS = frozenset({"submission_comments", "rubric_assessment"})
"""What status always includes."""


class View(Viewer):
    """A course and an assignment as one user sees them."""

    def __init__(self, course: Course, assignment: Assignment, user_id: int, lms_url: str) -> None:
        super().__init__(course, assignment, user_id)
        self.lms_url = lms_url

    def moderated_students(self) -> list[int] | Rejected:
        """The moderation set's students, ascending (Canvas: ModerationSetController#index)."""
        if not self.moderates:
            return UNAUTHORIZED
        return self._listed("set", self._members)

    def _members(self) -> list[int]:
        candidates = {*self.course.student_ordinals, *self.assignment.added}
        return sorted(s for s in candidates if self.assignment.is_in_set(self.course, s))

    def _listed(self, key: Any, make: Callable[[], list[int]]) -> list[int]:
        """A list of a class, made once for all pages of it."""
        version, students = self.assignment.lists.get(key, (0, []))
        if version != self.course.version:
            students = make()
            self.assignment.lists[key] = self.course.version, students
        return students

    def status(self, student_id: int | None, last_updated_at: datetime | None) -> Json | Rejected:
        """Canvas: ProvisionalGradesController#status; ``student_id`` None: found nowhere."""
        course, assignment = self.course, self.assignment
        if student_id is None or not has_submission(course, assignment, student_id):
            return NOT_FOUND
        if not self.looks:
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
            **self.provisional_grade(grade, WITH_STATUS),
            "selected": chosen == grade.provisional_grade_id,
            "readonly": not grade.final and grade.scorer_id != self.user_id,
        }
        if self.names_graders:
            shown["scorer_name"] = self.name_of(grade.scorer_id)
        return shown

    def provisional_grades(self, student_id: int, included: Included) -> list[Json]:
        """Those of a student that the user sees: a moderator all, the final one last, others their own."""
        grades = self.assignment.of_student.get(student_id, [])
        seen = [grade for grade in grades if self.moderates or grade.scorer_id == self.user_id]
        ordered = sorted(seen, key=lambda grade: (grade.final, grade.provisional_grade_id))
        return [self.provisional_grade(grade, included) for grade in ordered]

    def provisional_grade(self, grade: ProvisionalGrade, included: Included) -> Json:
        """Canvas: lib/api/v1/submission.rb, provisional_grade_json."""
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
        if self.names_graders:
            shown["scorer_id"] = grade.scorer_id
            if "rubric_assessment" in included:
                shown["rubric_assessments"] = self._rubric_assessments(grade)
        else:
            shown["anonymous_grader_id"] = self.assignment.slots.get(grade.scorer_id)
        shown["speedgrader_url"] = self.speedgrader_url(grade.student_id)
        if "submission_comments" in included:
            shown["submission_comments"] = comment_visibility.of_grade(self, grade.student_id, grade.comments)
        return shown

    def _rubric_assessments(self, grade: ProvisionalGrade) -> list[Json]:
        if grade.rubric_assessment is None:
            return []
        return [
            {
                "assessor_id": grade.scorer_id,
                "assessor_name": self.name_of(grade.scorer_id),
                "data": grade.rubric_assessment,
            }
        ]

    def speedgrader_url(self, student_id: int) -> str:
        """The LMS's grading page of the student."""
        assignment = self.assignment
        if self.names_students:
            who = f"student_id={student_id}"
        else:
            who = f"anonymous_id={assignment.anonymous_id(self.course, student_id)}"
        page = f"{self.lms_url}/courses/{self.course.course_id}/gradebook/speed_grader"
        return f"{page}?assignment_id={assignment.assignment_id}&{who}"

    def submission(self, student_id: int, included: Included) -> Json | Rejected:
        """A student's submission; their own shows its grade once it is posted.

        Canvas finds a student whom the user does not see nowhere (students_visible_to).
        """
        if not has_submission(self.course, self.assignment, student_id):
            return NOT_FOUND
        own = student_id == self.user_id
        looks = self.looks
        grader = looks and self._reaches(student_id)
        if not (own or grader):
            return NOT_FOUND if looks else UNAUTHORIZED
        shown = self._submission(student_id, hidden=not grader)
        if "submission_comments" in included:
            shown["submission_comments"] = comment_visibility.of_submission(self, student_id)
        rubric = self.assignment.submission(student_id).rubric_assessment
        if "rubric_assessment" in included and rubric is not None and (grader or shown["posted_at"]):
            shown["rubric_assessment"] = rubric
        if "provisional_grades" in included and grader and self.assignment.moderated_grading:
            shown["provisional_grades"] = self.provisional_grades(student_id, included)
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
        if student_id == self.user_id or self.names_students:
            shown["user_id"] = student_id
        else:
            shown["anonymous_id"] = assignment.anonymous_id(course, student_id)
        return shown

    def submissions(self) -> list[int] | Rejected:
        """The students whose submissions the user may list, in the order of the list."""
        if not self.looks:
            return UNAUTHORIZED
        sections = self.course.sections_seen_by(self.user_id)
        return self._listed((sections, self.names_students), lambda: self._visible(sections))

    def _visible(self, sections: frozenset[int | None] | None) -> list[int]:
        students = (s for s in self.course.student_ordinals if self.course.is_visible_student(s, sections))
        return self._ordered([s for s in students if self.assignment.is_assigned(self.course, s)])

    def gradeable_students(self, *, grades: bool) -> list[int] | Rejected:
        """The students to grade; with their provisional grades for moderators only."""
        students = self.submissions()
        return UNAUTHORIZED if grades and not self.moderates else students

    def _ordered(self, students: Sequence[int]) -> list[int]:
        if self.names_students:
            return sorted(students)
        return sorted(students, key=lambda student: self.assignment.anonymous_id(self.course, student))

    def gradeable_student(self, student_id: int, included: Included) -> Json:
        """Canvas: SubmissionsApiController#gradeable_students."""
        shown: Json = {}
        if self.names_students:
            known = self.course.users.get(student_id, {})
            shown["id"] = student_id
            shown["display_name"] = known.get("short_name") or known.get("name")
        else:
            shown["anonymous_id"] = self.assignment.anonymous_id(self.course, student_id)
        if "provisional_grades" in included and self.assignment.moderated_grading:
            chosen = self.assignment.selected(self.course, student_id)
            shown["in_moderation_set"] = chosen is not None
            shown["selected_provisional_grade_id"] = chosen
            shown["provisional_grades"] = self.provisional_grades(student_id, included)
        return shown


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


def _same_second(one: datetime, other: datetime | None) -> bool:
    return other is not None and int(one.timestamp()) == int(other.timestamp())
