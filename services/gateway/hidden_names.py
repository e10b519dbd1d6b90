"""Hides in the verdict of an earlier command who is hidden now: the settings may have changed since it was decided."""

from typing import Any

from services.gateway.authentication import Caller
from services.gateway.command_client import raise_for_verdict
from services.gateway.dependencies import Dependencies
from services.gateway.path_ids import find_first_view, find_view
from services.moderation.assignment import Assignment
from services.moderation.canvas_views import AssignmentView
from services.moderation.decisions import ADJUDICATION_STALE
from services.moderation.visibility import reads_grader_names


async def check_verdict(
    dependencies: Dependencies, caller: Caller, verdict: dict[str, Any], *, is_grading: bool = False
) -> dict[str, Any]:
    """Return the verdict if it accepts. For a rejection, raise ApiError, of a repeated command without hidden names."""
    if verdict["duplicate"]:
        verdict = {**verdict, "message": await hide_students_in_message(dependencies, caller, verdict)}
    return raise_for_verdict(verdict, is_grading=is_grading)


async def read_result(dependencies: Dependencies, caller: Caller, verdict: dict[str, Any]) -> Any:
    """Return the result of an accepted command; of a repeated one without the names that are hidden now."""
    return await hide_names(dependencies, caller, verdict) if verdict["duplicate"] else verdict["result"]


async def hide_students_in_message(dependencies: Dependencies, caller: Caller, verdict: dict[str, Any]) -> str | None:
    """Return a verdict's message without students who were named when it was decided and are hidden now.

    Only a stale adjudication's names any. If they were hidden already, it has their anonymous ids and stays.
    """
    message: str | None = verdict["message"]
    if verdict["reason"] != ADJUDICATION_STALE.reason:
        return message
    first_view = await find_first_view(dependencies, caller, verdict)
    if first_view is not None and first_view.anonymizes_students:
        return message
    view = await find_view(dependencies, caller, (int(verdict["course_id"]), int(verdict["assignment_id"])))
    return ADJUDICATION_STALE.message if view is None or view.anonymizes_students else message


async def hide_names(dependencies: Dependencies, caller: Caller, verdict: dict[str, Any]) -> Any:
    """Return a verdict's result without the students and graders who are hidden from the caller now."""
    assignment_id, result = verdict.get("assignment_id"), verdict["result"]
    if assignment_id is None or result is None:
        return result
    lists_set = verdict["type"] == "select_students_for_moderation"
    first_view = await find_first_view(dependencies, caller, verdict) if lists_set else None
    course_and_assignment = await dependencies.state_cache.get_assignment(caller.root_account_id, int(assignment_id))
    if course_and_assignment is None:
        return result
    course, assignment = course_and_assignment
    if not reads_grader_names(course, assignment, caller.user_id):
        result = _hide_graders(verdict["type"], result, assignment)
    view = AssignmentView(course, assignment, caller.user_id, dependencies.lms_url)
    # Students who were hidden already are answered in the form in which they were sent: the other would tie the two.
    form = first_view if first_view is not None and first_view.anonymizes_students else view
    field = "id" if lists_set and form.anonymizes_moderation_set else "student_id"
    return view.with_anonymous_ids(result, field)


def _hide_graders(command_type: str, result: dict[str, Any], assignment: Assignment) -> dict[str, Any]:
    """Leave out other graders' user ids as a result of now would.

    Only these two commands answer with them; ``release_grader_slot`` answers with the id that the caller sent.
    """
    if command_type == "allocate_submissions":
        students = [{**row, "grader_ids": None} for row in result["students"]]
        return {**result, "graders": None, "students": students}
    if command_type == "plan_publication":
        return {**result, "students": [_hide_scorer(row, assignment) for row in result["students"]]}
    return result


def _hide_scorer(row: dict[str, Any], assignment: Assignment) -> dict[str, Any]:
    if "scorer_id" not in row:
        return row
    kept = {name: value for name, value in row.items() if name != "scorer_id"}
    return {**kept, "anonymous_grader_id": assignment.grader_slots.get(row["scorer_id"])}
