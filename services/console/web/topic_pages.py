"""Pages about topics: verification of each output topic against the log, and replays to other topics."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated, Literal
from uuid import UUID, uuid4

from fastapi import APIRouter, Form, HTTPException, Request
from fastapi.responses import RedirectResponse, Response

from services.console.operator_service import Actor, InvalidReason
from services.console.reader_groups import READ_SECONDS_MAX, ReaderReport
from services.console.replay_jobs import request_from_detail, request_to_detail
from services.console.web.dependencies import (
    MISSING_REASON,
    OPERATOR_REQUIRED,
    ConsoleDependencies,
    Dependencies,
    Operator,
    Viewer,
)
from services.console.web.exported_tables import CONSUMER_GROUPS, TOPICS
from services.console.web.metrics import METRICS
from services.console.web.signed_in_user import Forbidden
from services.eventlog.feeds import FEED_BY_TOPIC
from services.eventlog.operator_actions import ActionAlreadyRecorded
from services.publishing.replayer import ReplayRefused, ReplayRequest, reject_service_topics

router = APIRouter(prefix="/topics")
FORM_FIELDS = ("output", "target", "root_account", "course", "assignment", "since", "until", "per_second")


@router.get("")
async def topics_page(
    request: Request,
    dependencies: ConsoleDependencies,
    user: Viewer,
    csv: Literal["", "topics", "consumer-groups"] = "",
) -> Response:
    """Show the last verification of each topic, the groups that read them, and the replays of the last day."""
    outputs = {output.topic: output for output in dependencies.monitor.status.outputs}
    checks = [(check, outputs.get(check.output)) for check in dependencies.verification_jobs.jobs_by_topic.values()]
    if csv == TOPICS.name:
        return TOPICS.respond(checks)
    if csv:
        return respond_with_groups(await dependencies.reader_groups.read(READ_SECONDS_MAX))
    return dependencies.templates.render_page(
        request,
        "topics.html",
        checks=checks,
        readers=await dependencies.reader_groups.read(),
        checking=dependencies.verification_jobs.is_running,
        replays=list(dependencies.replay_jobs.jobs.values()),
    )


def respond_with_groups(report: ReaderReport) -> Response:
    """Return the groups as a file. Raises HTTPException if Kafka did not answer: the file would be empty or old."""
    if not report.is_answer:
        raise HTTPException(503, f"{report.problems[0]}.")
    return CONSUMER_GROUPS.respond(report.lags)


@router.post("/check")
async def start_verification(dependencies: ConsoleDependencies, user: Operator) -> Response:
    """Verify all topics against the log. It changes nothing, so no reason is required."""
    dependencies.verification_jobs.start()
    return RedirectResponse("/topics", 303)


@router.get("/replay")
async def replay_form(request: Request, dependencies: ConsoleDependencies, user: Viewer) -> Response:
    """Show the form; a link may prefill it."""
    if not user.can_operate:
        raise Forbidden(OPERATOR_REQUIRED)
    return _render_replay_form(
        request, dependencies, uuid4(), {name: request.query_params.get(name, "") for name in FORM_FIELDS}, "", None
    )


def _render_replay_form(
    request: Request, dependencies: Dependencies, action: UUID, fields: dict[str, str], why: str, problem: str | None
) -> Response:
    status = 400 if problem else 200
    return dependencies.templates.render_page(
        request,
        "replay.html",
        status,
        action=action,
        fields=fields,
        why=why,
        problem=problem,
        outputs=list(FEED_BY_TOPIC),
    )


@router.post("/replay")
async def start_replay(
    request: Request,
    dependencies: ConsoleDependencies,
    user: Operator,
    action: Annotated[UUID, Form()],
    why: Annotated[str, Form()] = "",
) -> Response:
    """Record the request and start the replay, unless this form was submitted before."""
    form_data = await request.form()
    fields = {name: str(form_data.get(name, "")).strip() for name in FORM_FIELDS}
    try:
        replay_request = _parse_replay_form(fields)
        reject_service_topics(replay_request.target)
        await dependencies.operator_service.replay(
            action, Actor(user.root_account_id, user.user_id), why, request_to_detail(replay_request)
        )
        METRICS.actions.labels("replay").inc()
        dependencies.replay_jobs.start(action, replay_request)
    except (ReplayRefused, ValueError) as error:
        return _render_replay_form(request, dependencies, action, fields, why, str(error))
    except InvalidReason:
        return _render_replay_form(request, dependencies, action, fields, why, MISSING_REASON)
    except ActionAlreadyRecorded:
        pass
    return RedirectResponse("/topics#replays", 303)


def _parse_replay_form(fields: dict[str, str]) -> ReplayRequest:
    """Parse the form. Without an end time it ends now, so that a resumed replay adds nothing. Raises ValueError."""
    detail: dict[str, object] = {name: text for name, text in fields.items() if text}
    for name in ("root_account", "course", "assignment"):
        if name in detail:
            detail[name] = int(fields[name])
    if "per_second" in detail:
        detail["per_second"] = float(fields["per_second"])
    if ("course" in detail or "assignment" in detail) and "root_account" not in detail:
        detail["root_account"] = 1
    for name in ("since", "until"):
        if name in detail:
            at = datetime.fromisoformat(fields[name])
            detail[name] = (at.replace(tzinfo=UTC) if at.tzinfo is None else at).isoformat()
    if not fields["output"] or not fields["target"]:
        raise ValueError("an output and the full name of the target topic are required")
    replay_request = request_from_detail(detail)
    if replay_request.log_filter.until is None:
        replay_request = replace(replay_request, log_filter=replace(replay_request.log_filter, until=datetime.now(UTC)))
    return replay_request
