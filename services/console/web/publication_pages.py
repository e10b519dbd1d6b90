"""The publication of an assignment: its plan and schedule, the forms that publish, schedule and cancel, its result."""

from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID, uuid4

from fastapi import APIRouter, Form, HTTPException, Request
from fastapi.responses import RedirectResponse, Response

from services.console.gateway_client import OWN_PATH, build_publish_path
from services.console.web.dependencies import ConsoleDependencies, Dependencies, as_utc, record_page
from services.console.web.moderation_commands import ModeratedView, require_moderator, send_command
from services.console.web.moderation_view import (
    Json,
    ModerationView,
    RequestedView,
    get_student,
    load_schedule,
    load_view,
)
from services.console.web.row_list import RowPage, RowQuery, Rows, build_row_page
from services.eventlog.published_grades import load_published_grades
from services.eventlog.stream_reader import StreamReader
from services.moderation.decisions import PLAN_OUTDATED
from services.moderation.publication_plan import plan_document
from services.moderation.published_grades import published_document

router = APIRouter(prefix="/assignments/{root_account}/{assignment}/publication")
ACTIONS = ("publish", "schedule", "cancel")
PLAN_CHANGED = "The plan changed since you saw it, or cannot be published: nothing was changed. This is the plan now"
PLAN_MISSING = "The form names no plan. Nothing was changed: load the page of the publication, and publish from there."
CONFLICT_STATUS = 409


@router.get("")
async def publication_page(
    request: Request, dependencies: ConsoleDependencies, view: RequestedView, query: Rows
) -> Response:
    """Show who would get which grade and why, who is blocked, and the schedule; afterwards who got which grade."""
    return await _render_publication(request, dependencies, view, query)


async def _render_publication(
    request: Request,
    dependencies: Dependencies,
    view: ModerationView,
    query: RowQuery,
    problem: str | None = None,
    publish_at: str = "",
) -> Response:
    await record_page(request, view.user, "publication page", view.target)
    plan = plan_document(view.course, view.assignment, view.actor_id, as_auditor=view.as_auditor)
    if view.assignment.grades_published_at is None:
        page = _build_rows(view, plan, query)
    else:
        events = await load_published_grades(StreamReader(dependencies.pool), view.assignment)
        published = published_document(view.course, view.assignment, view.actor_id, events, as_auditor=view.as_auditor)
        page = _build_published_rows(view, published, query)
    return dependencies.templates.render_page(
        request,
        "publication.html",
        CONFLICT_STATUS if problem else 200,
        view=view,
        state=view.assignment,
        plan=plan,
        page=page,
        schedule=await load_schedule(dependencies, view),
        now=datetime.now(UTC) + dependencies.monitor.clock_offset,
        action=uuid4(),
        problem=problem,
        publish_at=publish_at,
    )


def _build_rows(view: ModerationView, plan: Json, query: RowQuery) -> RowPage[Json]:
    columns = {
        "student": get_student,
        "grade": lambda row: row["grade"][1],
        "score": lambda row: row["score"][1],
        "grader": view.name_grader,
        "why": lambda row: row["chosen_by"],
    }
    path = f"{view.path}/publication"
    return build_row_page(plan["students"], query, path, lambda row: str(get_student(row)), columns)


def _build_published_rows(view: ModerationView, published: list[Json], query: RowQuery) -> RowPage[Json]:
    columns = {
        "student": get_student,
        "grade": lambda row: row["grade"],
        "score": lambda row: row["score"],
        "mark": lambda row: row["entered_score"],
        "grader": view.name_grader,
        # The grades that were changed afterwards come first.
        "now": lambda row: row["gradebook"] == [row["score"], row["grade"]],
    }
    return build_row_page(published, query, f"{view.path}/publication", lambda row: str(get_student(row)), columns)


@router.get("/publish")
async def confirmation_page(request: Request, dependencies: ConsoleDependencies, view: RequestedView) -> Response:
    """Ask for a confirmation: a publication cannot be undone."""
    require_moderator(view)
    plan = plan_document(view.course, view.assignment, view.actor_id)
    if request.query_params.get("plan") != plan["digest"] or not plan["publishable"]:
        return await _render_publication(request, dependencies, view, RowQuery(), PLAN_CHANGED)
    return dependencies.templates.render_page(
        request, "publish.html", view=view, state=view.assignment, plan=plan, action=uuid4()
    )


@router.post("/{what}")
async def act(
    request: Request,
    dependencies: ConsoleDependencies,
    view: ModeratedView,
    what: str,
    action: Annotated[UUID, Form()],
    plan: Annotated[str, Form()] = "",
    publish_at: Annotated[str, Form()] = "",
) -> Response:
    """Send the command as the user, unless this form was submitted before; show the page again if it is refused."""
    if what not in ACTIONS:
        raise HTTPException(404)
    if what == "publish" and not plan:
        # Without a digest the gateway publishes any plan, also one that the user never saw.
        raise HTTPException(400, PLAN_MISSING)
    data = {"plan_digest": plan} if plan else {}
    if what == "schedule":
        data["publish_at"] = as_utc(publish_at)
    answer = await send_command(request, dependencies, view, _command_path(view, what), action, data)
    if answer.is_accepted:
        return RedirectResponse(f"{view.path}/publication", 303)
    # The page that shows the refusal also shows the new plan: no need to read it again.
    problem = PLAN_CHANGED if answer.reason == PLAN_OUTDATED.reason else str(answer.message)
    present_view = await load_view(
        dependencies, view.user, view.assignment.root_account_id, view.assignment.assignment_id
    )
    return await _render_publication(request, dependencies, present_view, RowQuery(), problem, publish_at)


def _command_path(view: ModerationView, what: str) -> str:
    if what == "publish":
        return build_publish_path(view.course.course_id, view.assignment.assignment_id)
    command = {"schedule": "schedule_publication", "cancel": "cancel_scheduled_publication"}[what]
    return f"{OWN_PATH}/{view.assignment.assignment_id}/{command}"
