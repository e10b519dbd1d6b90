"""Canvas's operations that write: each becomes a command, and answers with what its verdict says."""

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from services.gateway.authentication import Caller
from services.gateway.command_client import Asked, accepted_or_refused, idempotency_key
from services.gateway.dependencies import ASSIGNMENT_PATH, GatewayParts, KnownCaller, Parts, allowed
from services.gateway.openapi_docs import ADD_STUDENTS, BULK_SELECT, GRADE, PUBLISH, SELECT
from services.gateway.path_ids import place_of, user_of, view_of
from services.gateway.rails_params import Params, flag, ids, nested, number, params_of, path_id, text
from services.gateway.responses import Refused, answer, bad_request, not_found, unauthorized
from services.moderation.canvas_views import AssignmentView, user_json

router = APIRouter(prefix=ASSIGNMENT_PATH)
ANSWERED_WITH = frozenset({"provisional_grades", "submission_comments"})
GRADING = ("posted_grade", "score", "excuse")
NOT_TEXT = ("file_ids", "media_comment_id")


@router.post("/moderated_students", operation_id="select_students_for_moderation", **ADD_STUDENTS)
async def add_students(
    request: Request, parts: GatewayParts, caller: KnownCaller, course_id: str, assignment_id: str
) -> Response:
    """Add students to the moderation set; the answer names all of them that count, new or not."""
    place = await place_of(parts, caller, course_id, assignment_id)
    students = ids(await params_of(request), "student_ids")
    data = {} if students is None else {"student_ids": students}
    verdict = await _accepted(request, parts, caller, Asked("select_students_for_moderation", *place, data))
    view = await _after(parts, caller, place, verdict)
    return answer(request, [user_json(view.course, row["id"]) for row in verdict["result"]])


@router.put("/provisional_grades/bulk_select", operation_id="bulk_select_provisional_grades", **BULK_SELECT)
async def bulk_select(
    request: Request, parts: GatewayParts, caller: KnownCaller, course_id: str, assignment_id: str
) -> Response:
    """Choose many provisional grades at once; the answer holds the selections that changed."""
    place = await place_of(parts, caller, course_id, assignment_id)
    grades = ids(await params_of(request), "provisional_grade_ids")
    if grades is None:
        raise bad_request("provisional_grade_ids[] is missing: name the provisional grades to select")
    asked = Asked("bulk_select_provisional_grades", *place, {"provisional_grade_ids": grades})
    return answer(request, (await _accepted(request, parts, caller, asked))["result"])


@router.put("/provisional_grades/{provisional_grade_id}/select", operation_id="select_provisional_grade", **SELECT)
async def select(
    request: Request,
    parts: GatewayParts,
    caller: KnownCaller,
    course_id: str,
    assignment_id: str,
    provisional_grade_id: str,
) -> Response:
    """Choose a student's provisional grade."""
    place, grade = await place_of(parts, caller, course_id, assignment_id), path_id(provisional_grade_id)
    if grade is None:
        raise not_found()
    asked = Asked("select_provisional_grade", *place, {"provisional_grade_id": grade})
    return answer(request, (await _accepted(request, parts, caller, asked))["result"])


@router.post("/provisional_grades/publish", operation_id="publish_provisional_grades", **PUBLISH)
async def publish(
    request: Request, parts: GatewayParts, caller: KnownCaller, course_id: str, assignment_id: str
) -> Response:
    """Publish the chosen grades, all or none."""
    asked = Asked("publish_provisional_grades", *await place_of(parts, caller, course_id, assignment_id), {})
    return answer(request, (await _accepted(request, parts, caller, asked))["result"])


@router.put("/submissions/{user_id}", operation_id="grade_or_comment_submission", **GRADE)
async def grade(
    request: Request, parts: GatewayParts, caller: KnownCaller, course_id: str, assignment_id: str, user_id: str
) -> Response:
    """Grade or comment on a submission provisionally."""
    place = await place_of(parts, caller, course_id, assignment_id)
    try:
        params = await params_of(request)
        student = await _student(parts, caller, course_id, assignment_id, user_id)
        asked = grading_of(place, student, params)
        if asked is not None and not flag(nested(params, "submission").get("provisional")):
            await _refuse_ordinary(parts, caller, place, grades=not asked.data.keys().isdisjoint(GRADING))
        if any(nested(params, "comment").get(name) for name in NOT_TEXT):
            raise bad_request(
                "comments are taken here as text alone: send comment[text_comment], no files and no media"
            )
        if asked is not None:
            verdict = await parts.commands.verdict(request, caller, asked)
            accepted_or_refused(verdict, of_grading=True)
            view = await _after(parts, caller, place, verdict)
        else:
            # Nothing is asked, and a key that is none is refused all the same.
            idempotency_key(request)
            view = await view_of(parts, caller, course_id, assignment_id)
    except Refused as refused:
        if refused.status == 400 and isinstance(refused.body, dict) and "message" in refused.body:
            raise Refused(400, {"error": refused.body["message"]}) from None
        raise
    shown = allowed(view.submission_json(student, ANSWERED_WITH))
    return answer(request, {**shown, "all_submissions": [shown]})


def grading_of(place: tuple[int, int], student: int, params: Params) -> Asked | None:
    """The command that the parameters ask for, None where they ask for nothing. Raises Refused for what is not taken.

    Canvas: app/controllers/submissions_api_controller.rb, update.
    """
    submission, comment = nested(params, "submission"), nested(params, "comment")
    rubric = nested(params, "rubric_assessment")
    words = text(comment, "text_comment", "comment[text_comment]")
    if words is not None and not words.strip():
        words = None
    data: dict[str, Any] = {"student_id": student}
    # SpeedGrader's own ways to say it besides: a grade that somebody sends is not passed over unsaid.
    for name in ("grade", "posted_grade"):
        posted = text(submission, name, f"submission[{name}]")
        if posted is not None:
            data["posted_grade"] = posted
    score = number(submission, "score", "submission[score]")
    if score is not None:
        data["score"] = score
    if submission.get("excuse") is not None:
        data["excuse"] = flag(submission["excuse"])
    if not (len(data) > 1 or words or rubric):
        return None
    if submission.get("final") is not None:
        data["final"] = flag(submission["final"])
    if words is not None:
        data["comment"] = words
    if len(data) - ("final" in data) == 2 and words is not None and not rubric:
        return Asked("record_provisional_comment", *place, data)
    if rubric:
        data["rubric_assessment"] = rubric
    if "posted_grade" in data and flag(params.get("prefer_points_over_scheme")):
        data["prefer_points_over_scheme"] = True
    if submission.get("graded_anonymously") is not None:
        data["graded_anonymously"] = flag(submission["graded_anonymously"])
    return Asked("record_provisional_grade", *place, data)


async def _refuse_ordinary(parts: Parts, caller: Caller, place: tuple[int, int], *, grades: bool) -> None:
    """What is not provisional is the LMS's; while moderation runs Canvas refuses ordinary grades to everybody."""
    assignment = (await view_of(parts, caller, *map(str, place))).assignment
    if grades and assignment.moderated_grading and assignment.grades_published_at is None:
        raise unauthorized()
    raise bad_request("only provisional grades and comments are taken here: send submission[provisional]=true")


async def _student(parts: Parts, caller: Caller, course_id: str, assignment_id: str, user_id: str) -> int:
    """The student of a path: an id, or one of Canvas's SIS forms."""
    number = path_id(user_id)
    if number is not None:
        return number
    view = await view_of(parts, caller, course_id, assignment_id)
    student = user_of(view.course, user_id, caller)
    if student is None:
        raise not_found()
    return student


async def _accepted(request: Request, parts: Parts, caller: Caller, asked: Asked) -> dict[str, Any]:
    return accepted_or_refused(await parts.commands.verdict(request, caller, asked))


async def _after(parts: Parts, caller: Caller, place: tuple[int, int], verdict: dict[str, Any]) -> AssignmentView:
    """What the answer shows: for a command that was sent before, as it stood then."""
    if verdict["duplicate"]:
        found = await parts.states.as_of(caller.root_account_id, place[1], version=verdict["stream_version"])
    else:
        found = await parts.states.assignment(caller.root_account_id, place[1])
    if found is None:
        raise not_found()
    return AssignmentView(*found, caller.user_id, parts.lms_url)
