"""Canvas's write operations: each sends a command and responds with its verdict."""

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from services.gateway.authentication import Caller
from services.gateway.command_client import CommandRequest, idempotency_key, raise_for_verdict
from services.gateway.dependencies import (
    ASSIGNMENT_PATH,
    AuthenticatedCaller,
    Dependencies,
    GatewayDependencies,
    raise_if_rejected,
)
from services.gateway.openapi_canvas import (
    ADD_STUDENTS,
    BULK_SELECT,
    GRADE,
    GRADE_ANONYMOUSLY,
    SELECT,
)
from services.gateway.openapi_service import (
    PUBLISH,
)
from services.gateway.pagination import parse_list
from services.gateway.parameter_checks import TakenParameters, is_blank, reject_unknown_parameters
from services.gateway.path_ids import find_view, may_write, resolve_assignment_key, resolve_user_id, resolve_view
from services.gateway.rails_params import (
    Params,
    get_ids,
    get_number,
    get_object,
    get_text,
    parse_bool,
    parse_params,
    parse_path_id,
)
from services.gateway.responses import ApiError, bad_request, json_response, not_found, unauthorized
from services.moderation.canvas_views import AssignmentView

router = APIRouter(prefix=ASSIGNMENT_PATH)
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
NO_PARAMETERS: TakenParameters = {}


@router.post("/moderated_students", operation_id="select_students_for_moderation", **ADD_STUDENTS)
async def add_students(
    request: Request, dependencies: GatewayDependencies, caller: AuthenticatedCaller, course_id: str, assignment_id: str
) -> Response:
    """Add students to the moderation set; the response lists all accepted students, new in the set or not."""
    assignment_key, is_writer = await resolve_assignment_key(dependencies, caller, course_id, assignment_id)
    params = await parse_params(request, allow_large_body=is_writer)
    reject_unknown_parameters(params, {"student_ids": None})
    view = await find_view(dependencies, caller, assignment_key)
    if view is not None and view.anonymizes_moderation_set:
        students = _get_anonymous_students(view, params)
    else:
        students = get_ids(params, "student_ids", dependencies.live_events_shard)
    data = {} if students is None else {"student_ids": students}
    verdict = await _send_command(
        request, dependencies, caller, CommandRequest("select_students_for_moderation", *assignment_key, data)
    )
    view = await _view_after(dependencies, caller, assignment_key, verdict)
    return json_response(request, [view.moderated_student_json(row["id"]) for row in verdict["result"]])


def _get_anonymous_students(view: AssignmentView, params: Params) -> list[int] | None:
    """Return the students of the anonymous ids in ``student_ids``, None if it is absent. Raises ApiError.

    User ids are refused: adding a student by user id would reveal which anonymous submission is theirs.
    """
    if not view.can_moderate:
        raise unauthorized()
    if params.get("student_ids") is None:
        return None
    students = [view.find_student(anonymous_id) for anonymous_id in parse_list(params["student_ids"])]
    if not students or None in students:
        raise bad_request("the assignment hides its students: send their anonymous ids as student_ids[]")
    return [student for student in students if student is not None]


@router.put("/provisional_grades/bulk_select", operation_id="bulk_select_provisional_grades", **BULK_SELECT)
async def bulk_select(
    request: Request, dependencies: GatewayDependencies, caller: AuthenticatedCaller, course_id: str, assignment_id: str
) -> Response:
    """Choose many provisional grades at once; the response holds the selections that changed."""
    assignment_key, is_writer = await resolve_assignment_key(dependencies, caller, course_id, assignment_id)
    params = await parse_params(request, allow_large_body=is_writer)
    reject_unknown_parameters(params, {"provisional_grade_ids": None})
    provisional_grade_ids = get_ids(params, "provisional_grade_ids")
    if provisional_grade_ids is None:
        raise bad_request("provisional_grade_ids[] is missing: name the provisional grades to select")
    command_request = CommandRequest(
        "bulk_select_provisional_grades", *assignment_key, {"provisional_grade_ids": provisional_grade_ids}
    )
    return json_response(request, (await _send_command(request, dependencies, caller, command_request))["result"])


@router.put("/provisional_grades/{provisional_grade_id}/select", operation_id="select_provisional_grade", **SELECT)
async def select(
    request: Request,
    dependencies: GatewayDependencies,
    caller: AuthenticatedCaller,
    course_id: str,
    assignment_id: str,
    provisional_grade_id: str,
) -> Response:
    """Choose a student's provisional grade."""
    reject_unknown_parameters(await parse_params(request), NO_PARAMETERS)
    assignment_key, _ = await resolve_assignment_key(dependencies, caller, course_id, assignment_id)
    parsed_grade_id = parse_path_id(provisional_grade_id)
    if parsed_grade_id is None:
        raise not_found()
    command_request = CommandRequest(
        "select_provisional_grade", *assignment_key, {"provisional_grade_id": parsed_grade_id}
    )
    return json_response(request, (await _send_command(request, dependencies, caller, command_request))["result"])


@router.post("/provisional_grades/publish", operation_id="publish_provisional_grades", **PUBLISH)
async def publish(
    request: Request, dependencies: GatewayDependencies, caller: AuthenticatedCaller, course_id: str, assignment_id: str
) -> Response:
    """Publish the chosen grades, all or none; with ``plan_digest`` only if the plan is unchanged."""
    params = await parse_params(request)
    reject_unknown_parameters(params, {"plan_digest": None})
    plan_digest = get_text(params, "plan_digest", "plan_digest")
    data = {} if plan_digest is None else {"plan_digest": plan_digest}
    assignment_key, _ = await resolve_assignment_key(dependencies, caller, course_id, assignment_id)
    command_request = CommandRequest("publish_provisional_grades", *assignment_key, data)
    return json_response(request, (await _send_command(request, dependencies, caller, command_request))["result"])


@router.put("/submissions/{user_id}", operation_id="grade_or_comment_submission", **GRADE)
async def grade(
    request: Request,
    dependencies: GatewayDependencies,
    caller: AuthenticatedCaller,
    course_id: str,
    assignment_id: str,
    user_id: str,
) -> Response:
    """Grade or comment on a submission provisionally."""
    view = await resolve_view(dependencies, caller, course_id, assignment_id)
    student = resolve_user_id(dependencies, view.course, user_id, caller)
    if view.hides_student(student):
        raise unauthorized()
    view_after, includes = await _record_grade(request, dependencies, caller, view, student)
    return _graded_response(request, raise_if_rejected(view_after.submission_json(student, includes)))


@router.put(
    "/anonymous_submissions/{anonymous_id}",
    operation_id="grade_or_comment_submission_by_anonymous_id",
    **GRADE_ANONYMOUSLY,
)
async def grade_anonymously(
    request: Request,
    dependencies: GatewayDependencies,
    caller: AuthenticatedCaller,
    course_id: str,
    assignment_id: str,
    anonymous_id: str,
) -> Response:
    """Grade or comment by the submission's anonymous id; the response does not name the student."""
    view = await resolve_view(dependencies, caller, course_id, assignment_id)
    student = view.find_student(anonymous_id)
    # First, so that the response to others does not depend on whether the anonymous id exists.
    if not view.can_view_gradebook and student != caller.user_id:
        raise unauthorized()
    view_after, includes = await _record_grade(request, dependencies, caller, view, student)
    return _graded_response(request, raise_if_rejected(view_after.anonymous_submission_json(anonymous_id, includes)))


def _graded_response(request: Request, submission_json: dict[str, Any]) -> Response:
    without_comments = {name: part for name, part in submission_json.items() if name != "submission_comments"}
    return json_response(request, {**submission_json, "all_submissions": [without_comments]})


async def _record_grade(
    request: Request, dependencies: Dependencies, caller: Caller, view: AssignmentView, student: int | None
) -> tuple[AssignmentView, frozenset[str]]:
    """Send the command of a grading request, if any; return the assignment after it and what the response includes.

    Raises ApiError; a grading error is 400 with ``error``, which Canvas does on its submissions path only.
    """
    if student is None or not view.course.is_enrolled_student(student):
        raise not_found()
    assignment_key = (view.course.course_id, view.assignment.assignment_id)
    try:
        params = await parse_params(request, allow_large_body=may_write(view.course, caller))
        command_request = _check_grade_request(view, params, assignment_key, student)
        # An invalid key is rejected even if no command is sent.
        idempotency_key(request)
        if command_request is not None:
            verdict = await dependencies.command_client.send_and_wait(request, caller, command_request)
            raise_for_verdict(verdict, is_grading=True)
            view = await _view_after(dependencies, caller, assignment_key, verdict)
    except ApiError as error:
        if error.status == 400 and isinstance(error.body, dict) and "message" in error.body:
            raise ApiError(400, {"error": error.body["message"]}, error.headers) from None
        raise
    return view, _response_includes(params)


def _check_grade_request(
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


def _response_includes(params: Params) -> frozenset[str]:
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


async def _send_command(
    request: Request, dependencies: Dependencies, caller: Caller, command_request: CommandRequest
) -> dict[str, Any]:
    return raise_for_verdict(await dependencies.command_client.send_and_wait(request, caller, command_request))


async def _view_after(
    dependencies: Dependencies, caller: Caller, assignment_key: tuple[int, int], verdict: dict[str, Any]
) -> AssignmentView:
    """Return the assignment after a verdict; for a repeated command, as of the first verdict."""
    if verdict["duplicate"]:
        course_and_assignment = await dependencies.state_cache.load_as_of(
            caller.root_account_id, assignment_key[1], version=verdict["stream_version"]
        )
    else:
        course_and_assignment = await dependencies.state_cache.get_assignment(caller.root_account_id, assignment_key[1])
    if course_and_assignment is None:
        raise not_found()
    return AssignmentView(*course_and_assignment, caller.user_id, dependencies.lms_url)
