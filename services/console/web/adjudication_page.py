"""Adjudication on the console: each student's marks, the outcome by a policy, and what another one would change."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID, uuid4

import orjson
from fastapi import APIRouter, Form, HTTPException, Request
from fastapi.responses import RedirectResponse, Response
from pydantic_core import from_json

from services.console.gateway_client import OWN_PATH
from services.console.web.dependencies import ConsoleDependencies, Dependencies, record_page
from services.console.web.moderation_commands import ModeratedView, send_command
from services.console.web.moderation_view import Json, ModerationView, RequestedView, get_student
from services.console.web.policy_form import FIELDS, PolicyForm, read_form
from services.console.web.policy_text import OUTCOMES, RESULTS, RULES, THIRD_RESULTS, describe_policy
from services.console.web.row_list import RowPage, RowQuery, Rows, build_row_page
from services.console.web.score_distribution import build_distribution
from services.moderation.adjudication_documents import what_if_document
from services.moderation.adjudication_outcomes import adjudicate_students
from services.moderation.adjudication_policy import policy_to_json
from services.moderation.ids import student_key

router = APIRouter(prefix="/assignments/{root_account}/{assignment}/adjudication")
POLICY_CHANGED = "The policy of the assignment changed since you saw it: nothing was changed. This is the policy now"
COMMANDS = {"adjudicate": "adjudicate_provisional_grades", "policy": "set_adjudication_policy"}


@dataclass(frozen=True, slots=True)
class Mark:
    """A mark as shown: the score, and its grader's name or anonymous id."""

    score: Decimal
    grader: str


@router.get("")
async def adjudication_page(
    request: Request, dependencies: ConsoleDependencies, view: RequestedView, query: Rows
) -> Response:
    """Show what a policy makes of the marks: the assignment's own, or the one of the form."""
    return await _render_adjudication(request, dependencies, view, query)


async def _render_adjudication(
    request: Request,
    dependencies: Dependencies,
    view: ModerationView,
    query: RowQuery,
    problem: str | None = None,
) -> Response:
    await record_page(request, view.user, "adjudication page", view.target)
    assignment, own_policy = view.assignment, view.assignment.adjudication
    form = read_form(request.query_params, own_policy, assignment.grading_type)
    document = (
        None
        if form.policy is None or not assignment.moderated_grading
        else what_if_document(form.policy, view.sections, view.course, assignment)
    )
    return dependencies.templates.render_page(
        request,
        "adjudication.html",
        409 if problem else 200,
        view=view,
        state=assignment,
        form=form,
        document=document,
        is_own_policy=form.policy is not None and form.policy == own_policy,
        own_policy_text=None if own_policy is None else describe_policy(policy_to_json(own_policy)),
        policy_text=None if form.policy is None else describe_policy(policy_to_json(form.policy)),
        policy_json=None if form.policy is None else orjson.dumps(policy_to_json(form.policy)).decode(),
        page=None if document is None else _build_rows(view, form, document, query, request.query_params),
        distribution=None if document is None else _build_distribution(view, document),
        differing=0 if document is None else sum(row["differs"] for row in document["students"]),
        outcomes=OUTCOMES,
        rules=RULES,
        results=RESULTS,
        third_results=THIRD_RESULTS,
        action=uuid4(),
        problem=problem,
    )


def _build_rows(
    view: ModerationView, form: PolicyForm, document: Json, query: RowQuery, parameters: Mapping[str, str]
) -> RowPage[Json]:
    """Build the rows of the document, each with its marks."""
    assert form.policy is not None
    marks = {
        str(key): [Mark(mark.score, view.name_user(mark.scorer_id)) for mark in student.marks]
        for student in adjudicate_students(form.policy, None, view.sections, view.course, view.assignment)
        for key in student_key(view.course, view.assignment, student.student_id, view.is_anonymous).values()
    }
    rows = [{**row, "marks": marks[str(get_student(row))]} for row in document["students"]]
    columns = {
        "student": get_student,
        "outcome": lambda row: row["outcome"],
        "score": lambda row: _to_decimal(row["score"]),
        "now": lambda row: _to_decimal(row["current_score"]),
        "differs": lambda row: not row["differs"],
        "apart": _measure_distance,
    }
    kept = {name: parameters[name] for name in FIELDS if name in parameters}
    return build_row_page(rows, query, f"{view.path}/adjudication", lambda row: str(get_student(row)), columns, kept)


def _measure_distance(row: Json) -> Decimal | None:
    scores = [mark.score for mark in row["marks"]]
    return max(scores) - min(scores) if len(scores) > 1 else None


def _build_distribution(view: ModerationView, document: Json) -> Any:
    pairs = [
        (
            _to_decimal(row["current_score"]),
            _to_decimal(row["score"] if row["outcome"] == "agreed" else row["current_score"]),
        )
        for row in document["students"]
    ]
    return build_distribution(pairs, view.assignment.points_possible)


def _to_decimal(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)


@router.post("/{what}")
async def act(
    request: Request,
    dependencies: ConsoleDependencies,
    view: ModeratedView,
    what: str,
    action: Annotated[UUID, Form()],
    policy_version: Annotated[int, Form()],
    policy: Annotated[str, Form()] = "",
) -> Response:
    """Adjudicate by the assignment's policy, or set it, as the user; show the page again if that is refused.

    ``policy_version``: of the assignment's policy as the form's page showed it; another one is not touched.
    """
    if what not in COMMANDS:
        raise HTTPException(404)
    data: Json = {"adjudication": _parse_policy(policy)} if what == "policy" else {}
    is_repeated = what == "policy" and data["adjudication"] == _own_policy_json(view)
    if policy_version != view.assignment.adjudication_version and not is_repeated:
        return await _render_adjudication(request, dependencies, view, RowQuery(), POLICY_CHANGED)
    path = f"{OWN_PATH}/{view.assignment.assignment_id}/{COMMANDS[what]}"
    answer = await send_command(request, dependencies, view, path, action, data)
    if answer.is_accepted:
        return RedirectResponse(f"{view.path}/adjudication", 303)
    return await _render_adjudication(request, dependencies, view, RowQuery(), str(answer.message))


def _own_policy_json(view: ModerationView) -> Json | None:
    own_policy = view.assignment.adjudication
    return None if own_policy is None else policy_to_json(own_policy)


def _parse_policy(text: str) -> Any:
    try:
        # Unlike other parsers, this one refuses what is nested too deep to be sent.
        return from_json(text, allow_inf_nan=False)
    except ValueError:
        raise HTTPException(400, "The policy is no JSON, or nested too deep. Nothing was changed.") from None
