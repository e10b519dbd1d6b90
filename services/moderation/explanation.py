"""Explains a student's grade: the trail of decisions that led to it, and a summary in one sentence."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from services.moderation import ids
from services.moderation.adjudication_policy import policy_to_json
from services.moderation.assignment import Assignment
from services.moderation.course import Course
from services.moderation.current_grades import current_gradebook_grade
from services.moderation.events import (
    AssignmentEvent,
    GradePublished,
    GradeRevised,
    GradesPosted,
    GradeWithdrawn,
    ProvisionalGradeAdjudicated,
    ProvisionalGradeCreated,
    ProvisionalGradeSelected,
    ProvisionalGradeUpdated,
    SubmissionHidden,
    SubmissionPosted,
    SubmissionRecorded,
    SubmissionUpdated,
)
from services.moderation.grade_conversion import format_number
from services.moderation.grade_origin import describe_lapse, describe_origin, is_entry
from services.moderation.json_values import decimal_to_json, format_time
from services.moderation.value_object import value_object
from services.moderation.visibility import reads_grader_names

Json = dict[str, Any]


@value_object()
class TrailEntry:
    """An event about the student. ``actor_id`` None: the LMS; ``record``: its grade_change on live-events, if any."""

    event: AssignmentEvent
    version: int
    at: datetime
    actor_id: int | None
    record: Mapping[str, Any] | None


class Explanation:
    """Explanations of grades for a moderator or auditor; hidden graders stay hidden.

    ``as_auditor``: the reader has an auditor's view of the account, without a role in it.
    """

    def __init__(self, course: Course, assignment: Assignment, user_id: int, *, as_auditor: bool = False) -> None:
        self.course = course
        self.assignment = assignment
        self.user_id = user_id
        self.names_graders = as_auditor or reads_grader_names(course, assignment, user_id)

    def document(self, student_id: int, trail: Sequence[TrailEntry]) -> Json:
        """Return the explanation of a student's grade; ``trail`` is sorted by version."""
        course, assignment = self.course, self.assignment
        score, grade = current_gradebook_grade(course, assignment, assignment.submission(student_id))
        rows = []
        for entry in trail:
            details = self._details(entry.event)
            if details is not None:
                rows.append(
                    {
                        "event_type": entry.event.name,
                        "version": entry.version,
                        "at": format_time(entry.at),
                        "actor": None if entry.actor_id is None else self._person(entry.actor_id),
                        "details": details,
                        "record": None if entry.record is None else dict(entry.record),
                    }
                )
        return {
            "assignment_id": assignment.assignment_id,
            **ids.student_key(course, assignment, student_id, assignment.anonymizes_students(course)),
            "score": decimal_to_json(score),
            "grade": grade,
            "excused": assignment.submission(student_id).excused,
            "selected_provisional_grade_id": assignment.selected_grade_id(course, student_id),
            "sentence": self._sentence(student_id, trail),
            "trail": rows,
        }

    def _person(self, user_id: int) -> Json:
        if self.names_graders or user_id == self.user_id:
            return {"user_id": user_id}
        return {"anonymous_grader_id": self.assignment.grader_slots.get(user_id)}

    def _details(self, event: AssignmentEvent) -> Json | None:
        """Return the details of an event that concern the grade, None if there are none."""
        match event:
            case ProvisionalGradeCreated() if event.graded_at is not None:
                return {
                    "provisional_grade_id": event.provisional_grade_id,
                    "score": decimal_to_json(event.score),
                    "grade": event.grade,
                    "final": event.final,
                }
            case ProvisionalGradeUpdated() if "graded_at" in event.changes:
                changed = {name: event.changes[name] for name in ("score", "grade") if name in event.changes}
                return {"provisional_grade_id": event.provisional_grade_id, **_changes(changed)}
            case ProvisionalGradeSelected():
                return {"provisional_grade_id": event.provisional_grade_id}
            case ProvisionalGradeAdjudicated():
                return self._adjudication(event)
            case GradePublished():
                return {
                    "provisional_grade_id": event.provisional_grade_id,
                    "scorer": self._person(event.scorer_id),
                    **_changes({"score": event.score, "grade": event.grade}),
                    **_lateness(event),
                }
            case GradeRevised() | GradeWithdrawn():
                changes = {"score": event.score, "grade": event.grade, "excused": event.excused}
                details = {**_changes(changes), "reason": event.reason}
                return details if isinstance(event, GradeWithdrawn) else details | _lateness(event)
            case SubmissionUpdated():
                return _changes({n: p for n, p in event.changes.items() if n in ("excused", "score", "grade")})
            case SubmissionRecorded() if event.changed_fields.keys() & {"score", "grade", "excused"}:
                stated = {n: v for n, v in event.changed_fields.items() if n in ("score", "grade", "excused")}
                return stated | ({"score": decimal_to_json(stated["score"])} if "score" in stated else {})
            case SubmissionPosted() | SubmissionHidden() | GradesPosted():
                return {}
        return None

    def _adjudication(self, event: ProvisionalGradeAdjudicated) -> Json:
        return {
            "policy": policy_to_json(event.policy),
            "policy_version": event.policy_version,
            "marks": [
                {
                    "provisional_grade_id": mark["provisional_grade_id"],
                    "scorer": self._person(mark["scorer_id"]),
                    "score": decimal_to_json(mark["score"]),
                }
                for mark in event.marks
            ],
            "comparisons": [dict(comparison) for comparison in event.comparisons],
            "outcome": event.outcome,
            "score": decimal_to_json(event.score),
            "failed": list(event.failed),
            "missing": event.missing,
            "provisional_grade_id": event.provisional_grade_id,
        }

    def _sentence(self, student_id: int, trail: Sequence[TrailEntry]) -> str:
        """Describe the event that last set the grade, and where the grade came from."""
        last = next((e for e in reversed(trail) if isinstance(e.event, _MAKERS) and self._makes_grade(e.event)), None)
        if last is None:
            entered = len({e.event.provisional_grade_id for e in trail if is_entry(e.event)})
            selected = self.assignment.selected_grade_id(self.course, student_id)
            choice = (
                f"{selected} is selected" if selected is not None else self._describe_no_selection(student_id, trail)
            )
            return f"No grade is published. Provisional grades entered: {entered}; {choice}."
        day = f"on {last.at:%Y-%m-%d at %H:%M} UTC"
        event = last.event
        now = self._describe_change(student_id)
        if isinstance(event, GradeRevised):
            new = "excused" if event.excused[1] else f"{event.grade[1]} instead of {event.grade[0] or 'no grade'}"
            return f"The grade was revised {day}: {new}{_deduction(event.points_deducted)}{now}."
        if isinstance(event, GradeWithdrawn):
            return f"The grade {event.grade[0] or ''} was withdrawn {day}.".replace("  ", " ")
        if isinstance(event, SubmissionRecorded):
            return _describe_lms_fact(event, day, now)
        if isinstance(event, SubmissionUpdated):
            was_excused, excused = event.changes["excused"]
            if was_excused and excused:
                return f"The student, excused already, was excused again {day}, which removed the grade."
            return f"The student was {'excused' if excused else 'no longer excused'} {day}."
        assert isinstance(event, GradePublished)
        earlier = [e.event for e in trail if e.version < last.version]
        ended = self._selection_had_ended(student_id)
        origin = describe_origin(event.provisional_grade_id, earlier, selection_ended=ended)
        origin += _deduction(event.points_deducted)
        return f"The grade {event.grade[1] or 'without a score'} was published {day}, {origin}{now}."

    def _describe_no_selection(self, student_id: int, trail: Sequence[TrailEntry]) -> str:
        """Say that no grade is selected, and why an agreed one no longer is.

        A selection that ended because the student was unassigned is still in the state.
        """
        finals = [g for g in self.assignment.grades_by_student.get(student_id, ()) if g.final]
        if not finals or student_id in self.assignment.selections:
            return "none is selected"
        reason = describe_lapse(finals[0].provisional_grade_id, [entry.event for entry in trail])
        return "none is selected" if reason is None else f"none is selected, because {reason}"

    def _selection_had_ended(self, student_id: int) -> bool:
        """Return whether the student was unassigned between the last selection and the publication of the grade.

        It is not known, and False, if the student was unassigned after the publication too.
        """
        selection = self.assignment.selections.get(student_id)
        if selection is None:
            return False
        published_position = self.assignment.submission(student_id).graded_position
        unassigned_position = self.assignment.unassigned_position(self.course, student_id)
        return selection.position < unassigned_position < published_position

    def _describe_change(self, student_id: int) -> str:
        """Name the text that new settings made of the grade since it was set; a scheme of the course changes none."""
        submission = self.assignment.submission(student_id)
        _, text = current_gradebook_grade(self.course, self.assignment, submission)
        if text == submission.grade:
            return ""
        return f"; it reads {text} since the assignment's points, grading type or scheme changed"

    @staticmethod
    def _makes_grade(event: AssignmentEvent) -> bool:
        return not isinstance(event, SubmissionRecorded) or bool(
            event.changed_fields.keys() & {"score", "grade", "excused"}
        )


_MAKERS = (GradePublished, GradeRevised, GradeWithdrawn, SubmissionRecorded, SubmissionUpdated)


def _describe_lms_fact(event: SubmissionRecorded, day: str, now: str) -> str:
    """Describe what the LMS stated: an excusal alone states no grade, and the one before it may stay."""
    if event.changed_fields.keys() & {"score", "grade"}:
        return f"The LMS stated the grade {day}{now}."
    return f"The LMS {'excused the student' if event.changed_fields['excused'] else 'ended the excusal'} {day}."


def _lateness(event: GradePublished | GradeRevised) -> Json:
    """Return the score before the deduction for lateness, and the deduction."""
    return {
        "entered_score": decimal_to_json(event.entered_score),
        "points_deducted": decimal_to_json(event.points_deducted),
    }


def _deduction(points: Decimal | None) -> str:
    if not points:
        return ""
    return f", after {format_number(points)} {'point was' if points == 1 else 'points were'} deducted for lateness"


def _changes(changes: Mapping[str, tuple[Any, Any]]) -> Json:
    return {
        name: [decimal_to_json(value) for value in pair] if name == "score" else list(pair)
        for name, pair in changes.items()
    }
