"""Each output topic beside the log, and replays to a topic of somebody's choice."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID, uuid4

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response

from services.console.operator_service import Actor, NoReason
from services.console.topic_jobs import detail_of, order_of
from services.console.web.dependencies import ConsoleParts, Operator, Parts, Viewer
from services.console.web.metrics import METRICS
from services.console.web.sessions import Forbidden
from services.eventlog.operator_actions import AlreadyActed
from services.kafka.relay_progress import SERIES
from services.publishing.replayer import Order, Refused, refuse_own

router = APIRouter(prefix="/topics")
FIELDS = ("output", "target", "root_account", "course", "assignment", "since", "until", "per_second")


@router.get("")
async def page(request: Request, parts: ConsoleParts, person: Viewer) -> Response:
    """What the last check found on each topic, and the replays under way."""
    outputs = {output.topic: output for output in parts.watch.now.outputs}
    return parts.rendering.page(
        request,
        "topics.html",
        checks=[(check, outputs.get(check.output)) for check in parts.checks.by_topic.values()],
        checking=parts.checks.running,
        replays=list(parts.replays.under_way.values()),
    )


@router.post("/check")
async def check(parts: ConsoleParts, person: Operator) -> Response:
    """Compare all topics with the log. It reads and changes nothing, so it needs no reason."""
    parts.checks.start()
    return RedirectResponse("/topics", 303)


@router.get("/replay")
async def form(request: Request, parts: ConsoleParts, person: Viewer) -> Response:
    """What is to be emitted again, where to, and why; a link may fill it in."""
    if not person.operates:
        raise Forbidden("This takes a token with scope moderation.operator. Nothing was done.")
    return _form(request, parts, uuid4(), {name: request.query_params.get(name, "") for name in FIELDS}, "", None)


def _form(
    request: Request, parts: Parts, action: UUID, fields: dict[str, str], why: str, problem: str | None
) -> Response:
    status = 400 if problem else 200
    return parts.rendering.page(
        request, "replay.html", status, action=action, fields=fields, why=why, problem=problem, outputs=list(SERIES)
    )


@router.post("/replay")
async def order(
    request: Request,
    parts: ConsoleParts,
    person: Operator,
    action: Annotated[UUID, Form()],
    why: Annotated[str, Form()] = "",
) -> Response:
    """Keep the order and begin with it, unless this very form has done so already."""
    sent = await request.form()
    fields = {name: str(sent.get(name, "")).strip() for name in FIELDS}
    try:
        wanted = _order(fields)
        refuse_own(wanted.target)
        await parts.actions.replay(action, Actor(person.root_account_id, person.user_id), why, detail_of(wanted))
        METRICS.actions.labels("replay").inc()
        parts.replays.start(action, wanted)
    except (Refused, ValueError) as error:
        return _form(request, parts, action, fields, why, str(error))
    except NoReason:
        return _form(request, parts, action, fields, why, "Say why, in 1 to 1,000 characters")
    except AlreadyActed:
        pass
    return RedirectResponse("/topics#replays", 303)


def _order(fields: dict[str, str]) -> Order:
    """What a form asks for; without an end it ends now, so that going on later adds nothing. Raises ValueError."""
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
        raise ValueError("say which output, and the full name of the topic to fill")
    wanted = order_of(detail)
    if wanted.selection.until is None:
        wanted = replace(wanted, selection=replace(wanted.selection, until=datetime.now(UTC)))
    return wanted
