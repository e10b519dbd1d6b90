"""The parameters of a grading request, and the command that they make."""

from typing import Any

from services.gateway.command_client import CommandRequest
from services.gateway.pagination import parse_list
from services.gateway.parameter_checks import TakenParameters, is_blank, reject_unknown_parameters
from services.gateway.rails_params import Params
from services.gateway.rails_values import get_number, get_object, get_text, parse_bool
from services.gateway.responses import bad_request, unauthorized
from services.moderation.canvas_views import AssignmentView

GRADE_FIELDS = ("posted_grade", "score", "excuse")
GRADE_PARAMETERS: TakenParameters = {
    "submission": frozenset({"posted_grade", "grade", "score", "excuse", "provisional", "final", "graded_anonymously"}),
    "comment": frozenset({"text_comment"}),
    "rubric_assessment": None,
    "prefer_points_over_scheme": None,
    "include": None,
}
# Canvas's other fields of a comment. Clients send them empty when they do not use them.
OPTIONAL_COMMENT_FIELDS = ("attempt", "file_ids", "group_comment", "media_comment_id", "media_comment_type")


def check_grade_request(
    view: AssignmentView, params: Params, assignment_key: tuple[int, int], student: int
) -> CommandRequest | None:
    """Build the command of a grading request. Raises ApiError if the caller may not grade or a parameter is unknown."""
    command_request = to_command_request(assignment_key, student, params)
    is_provisional = parse_bool(get_object(params, "submission").get("provisional"))
    asks_to_grade = any(params.get(name) is not None for name in ("submission", "rubric_assessment"))
    # The handler checks the sender of a provisional command, so that the refusal is in the log.
    is_judged_by_handler = command_request is not None and is_provisional
    may_grade = view.course.has_permission(view.user_id, "manage_grades")
    if asks_to_grade and not may_grade and not is_judged_by_handler:
        raise unauthorized()
    if command_request is not None and not is_provisional:
        _reject_non_provisional(view, sets_grade=not command_request.data.keys().isdisjoint(GRADE_FIELDS))
    comment = get_object(params, "comment")
    for name in OPTIONAL_COMMENT_FIELDS:
        if is_blank(comment.get(name)):
            comment.pop(name, None)
    reject_unknown_parameters(params, GRADE_PARAMETERS)
    return command_request


def response_includes(params: Params) -> frozenset[str]:
    """Return what the response includes: provisional grades if the request is provisional, visibility on request."""
    includes = {"submission_comments"} | ({"visibility"} & set(parse_list(params.get("include"))))
    is_provisional = parse_bool(get_object(params, "submission").get("provisional"))
    return frozenset(includes | {"provisional_grades"} if is_provisional else includes)


def to_command_request(assignment_key: tuple[int, int], student: int, params: Params) -> CommandRequest | None:
    """Build the command from the parameters; None if they hold no grade, comment or rubric. Raises ApiError.

    Canvas: app/controllers/submissions_api_controller.rb, update.
    """
    submission, comment = get_object(params, "submission"), get_object(params, "comment")
    rubric = get_object(params, "rubric_assessment")
    comment_text = get_text(comment, "text_comment", "comment[text_comment]")
    if comment_text is not None and not comment_text.strip():
        comment_text = None
    data: dict[str, Any] = {"student_id": student}
    # SpeedGrader sends `grade` or `score`.
    for name in ("grade", "posted_grade"):
        posted = get_text(submission, name, f"submission[{name}]")
        if posted is not None:
            data["posted_grade"] = posted
    score = get_number(submission, "score", "submission[score]")
    if score is not None:
        data["score"] = score
    if submission.get("excuse") is not None:
        data["excuse"] = parse_bool(submission["excuse"])
    if not (len(data) > 1 or comment_text or rubric):
        return None
    if submission.get("final") is not None:
        data["final"] = parse_bool(submission["final"])
    if comment_text is not None:
        data["comment"] = comment_text
    if len(data) - ("final" in data) == 2 and comment_text is not None and not rubric:
        return CommandRequest("record_provisional_comment", *assignment_key, data)
    if rubric:
        data["rubric_assessment"] = rubric
    if "posted_grade" in data and parse_bool(params.get("prefer_points_over_scheme")):
        data["prefer_points_over_scheme"] = True
    if submission.get("graded_anonymously") is not None:
        data["graded_anonymously"] = parse_bool(submission["graded_anonymously"])
    return CommandRequest("record_provisional_grade", *assignment_key, data)


def _reject_non_provisional(view: AssignmentView, *, sets_grade: bool) -> None:
    """Raise ApiError: ordinary grades and comments belong to the LMS. As in Canvas, 403 for a grade until published."""
    if sets_grade and view.assignment.moderated_grading and view.assignment.grades_published_at is None:
        raise unauthorized()
    raise bad_request(
        "only provisional grades and comments are accepted; nothing was changed: send submission[provisional]=true"
    )
