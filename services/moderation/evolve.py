"""State from events, changed in place: what an event costs does not depend on the size of the class."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any, assert_never

from services.moderation.assignment import Assignment, Choice, Comment, ProvisionalGrade, Submission
from services.moderation.course import STUDENT, Course, Enrollment
from services.moderation.events import (
    AdminsUpdated,
    AssignmentCreated,
    AssignmentEvent,
    AssignmentUpdated,
    CourseEvent,
    CourseUpdated,
    EnrollmentsUpdated,
    GradePublished,
    GraderSlotTaken,
    GradesPosted,
    ProvisionalCommentCreated,
    ProvisionalGradeCreated,
    ProvisionalGradeSelected,
    ProvisionalGradeUpdated,
    StudentsSelectedForModeration,
    SubmissionCommentRecorded,
    SubmissionHidden,
    SubmissionPosted,
    SubmissionRecorded,
    SubmissionUpdated,
    UsersUpdated,
)


def evolve_course(course: Course, event: CourseEvent, *, position: int, at: datetime) -> None:
    """Apply an event of a course's stream; ``position``: its position in the shard."""
    course.version += 1
    match event:
        case CourseUpdated(changes=changes):
            for name, (_, new) in changes.items():
                setattr(course, name, new)
        case UsersUpdated(users=users):
            for row in users:
                course.users.setdefault(row["user_id"], {}).update(row)
        case EnrollmentsUpdated(enrollments=rows):
            _enroll(course, [Enrollment(**row) for row in rows], position)
        case AdminsUpdated(admins=admins):
            for row in admins:
                if row["permissions"]:
                    course.admins[row["user_id"]] = frozenset(row["permissions"])
                else:
                    course.admins.pop(row["user_id"], None)
        case _:
            assert_never(event)


def _enroll(course: Course, enrollments: list[Enrollment], position: int) -> None:
    # Who moves from one section to another in one statement has not left in between.
    students = {e.user_id for e in enrollments if course.is_enrolled_student(e.user_id)}
    for enrollment in enrollments:
        user = enrollment.user_id
        course.enrollments.setdefault(user, {})[_kind(enrollment.type, enrollment.section_id)] = enrollment
        if enrollment.type == STUDENT:
            course.student_ordinals.setdefault(user, len(course.student_ordinals) + 1)
    for student in students:
        if not course.is_enrolled_student(student):
            course.unenrolled_at[student] = position


@lru_cache(maxsize=4_096)
def _kind(type_: str, section_id: int | None) -> tuple[str, int | None]:
    """One key for all who are enrolled in the same way: a class would hold thousands of equal ones."""
    return type_, section_id


def evolve_assignment(assignment: Assignment, event: AssignmentEvent, *, position: int, at: datetime) -> None:
    """Apply an event of an assignment's stream."""
    assignment.version += 1
    match event:
        case AssignmentCreated(settings=settings):
            _configure(assignment, settings.items(), position)
        case AssignmentUpdated(changes=changes, kept=kept):
            _configure(assignment, [(name, new) for name, (_, new) in changes.items()], position)
            assignment.added.update(kept)
        case SubmissionRecorded(student_id=student, stated=stated):
            _record(assignment, _submission(assignment, student, at), student, stated)
        case SubmissionCommentRecorded(student_id=student, author_id=author, comment=comment, created_at=created_at):
            comments = _submission(assignment, student, at).comments
            comments.append(_comment(assignment, None, author, comment, created_at))
        case GraderSlotTaken(grader_id=grader, anonymous_id=anonymous_id):
            assignment.slots[grader] = anonymous_id
        case StudentsSelectedForModeration(student_ids=students):
            assignment.added.update(students)
            assignment.lists.clear()
        case ProvisionalGradeCreated():
            grade = ProvisionalGrade(
                event.provisional_grade_id,
                event.student_id,
                event.scorer_id,
                event.final,
                event.score,
                event.grade,
                event.graded_at,
                event.graded_anonymously,
                event.rubric_assessment,
            )
            assignment.provisional_grades[event.provisional_grade_id] = grade
            assignment.of_student.setdefault(event.student_id, []).append(grade)
            _submission(assignment, event.student_id, at)
        case ProvisionalGradeUpdated(provisional_grade_id=number, changes=changes):
            for name, (_, new) in changes.items():
                setattr(assignment.provisional_grades[number], name, new)
            _submission(assignment, event.student_id, at)
        case ProvisionalCommentCreated(provisional_grade_id=number, comment_id=drawn, author_id=author):
            comments = assignment.provisional_grades[number].comments
            comments.append(_comment(assignment, drawn, author, event.comment, at))
            _submission(assignment, event.student_id, at)
        case ProvisionalGradeSelected(student_id=student, provisional_grade_id=number):
            assignment.choices[student] = Choice(number, position)
            _submission(assignment, student, at)
        case SubmissionUpdated(student_id=student, changes=changes):
            submission = _submission(assignment, student, at)
            for name, (_, new) in changes.items():
                setattr(submission, name, new)
        case GradePublished():
            _publish(assignment, event, at)
        case GradesPosted(grades_published_at=published_at):
            assignment.grades_published_at = published_at
        case SubmissionPosted(student_id=student, posted_at=posted_at):
            _submission(assignment, student, at).posted_at = posted_at
        case SubmissionHidden(student_id=student):
            _submission(assignment, student, at).posted_at = None
        case _:
            assert_never(event)


_OF_THE_WORK_OR_ITS_GRADE = frozenset({"submitted_at", "attempt", "score", "grade", "graded_at"})


def _submission(assignment: Assignment, student_id: int, at: datetime) -> Submission:
    """The student's submission, made if need be, with its change time moved."""
    submission = assignment.submissions.get(student_id)
    if submission is None:
        submission = assignment.submissions[student_id] = Submission()
    submission.updated_at = at
    submission.revision += 1
    return submission


def _comment(assignment: Assignment, drawn: int | None, author_id: int, text: str, created_at: datetime) -> Comment:
    """One comment more; ``drawn``: the id it has already."""
    made = Comment(drawn or assignment.next_comment_id(), author_id, text, created_at)
    assignment.comments_made += 1
    return made


def _configure(assignment: Assignment, settings: Iterable[tuple[str, Any]], position: int) -> None:
    assignment.lists.clear()
    for name, value in settings:
        if name == "assigned_to":
            _assign(assignment, None if value is None else frozenset(value), position)
        else:
            setattr(assignment, name, value)


def _assign(assignment: Assignment, students: frozenset[int] | None, position: int) -> None:
    """Whoever is left out from here on is unassigned; only those with a choice have something to lose."""
    before, assignment.assigned_to = assignment.assigned_to, students
    if students is not None:
        for student in assignment.choices.keys() - students:
            if before is None or student in before:
                assignment.unassigned_at[student] = position


def _record(assignment: Assignment, submission: Submission, student_id: int, stated: Mapping[str, Any]) -> None:
    if stated.get("anonymous_id") is not None:
        assignment.stated_anonymous_ids.setdefault(stated["anonymous_id"], student_id)
        assignment.lists.clear()
    if "submission_id" in stated:
        if submission.submission_id is not None:
            del assignment.stated_submission_ids[submission.submission_id]
        if stated["submission_id"] is not None:
            assignment.stated_submission_ids[stated["submission_id"]] = student_id
    for name, value in stated.items():
        setattr(submission, name, value)
    if stated.keys() & _OF_THE_WORK_OR_ITS_GRADE:
        graded = submission.score is not None or submission.grade is not None
        matches = _matches(submission, stated, graded)
        submission.grade_matches_current_submission = matches
        submission.workflow_state = "graded" if graded and matches else _handed_in(submission)


def _matches(submission: Submission, stated: Mapping[str, Any], graded: bool) -> bool:
    """A grade given before the work was handed in again stays, but is not the grade of this work."""
    if "graded_at" not in stated and ("score" in stated or "grade" in stated):
        return True
    if submission.submitted_at is not None and submission.graded_at is not None:
        return submission.submitted_at <= submission.graded_at
    return "graded_at" in stated or not graded


def _handed_in(submission: Submission) -> str:
    return "unsubmitted" if submission.submitted_at is None and not submission.attempt else "submitted"


def _publish(assignment: Assignment, event: GradePublished, at: datetime) -> None:
    submission = _submission(assignment, event.student_id, at)
    submission.score, submission.grade = event.score[1], event.grade[1]
    submission.grader_id, submission.graded_at = event.scorer_id, event.graded_at
    submission.graded_anonymously = event.graded_anonymously
    submission.grade_matches_current_submission = True
    if submission.score is not None:
        submission.workflow_state = "graded"
    chosen = assignment.provisional_grades[event.provisional_grade_id]
    submission.rubric_assessment = chosen.rubric_assessment or submission.rubric_assessment
    for kept in chosen.comments:
        submission.comments.append(_comment(assignment, None, kept.author_id, kept.comment, kept.created_at))
