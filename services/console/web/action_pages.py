"""Forms of operator actions: each shows its effect, requires a reason, and acts once; and the list of actions."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Literal
from urllib.parse import urlencode
from uuid import UUID, uuid4

from fastapi import APIRouter, Depends, Form, HTTPException, Request
from fastapi.responses import RedirectResponse, Response

from services.console.operator_service import REASON_CHARACTERS_MAX, Actor, InvalidReason
from services.console.redrive_check import RedriveCheck, check_redrive
from services.console.redriver import DEAD_LETTER_BYTES_MAX
from services.console.replay_jobs import RESUME_WINDOW
from services.console.web.dependencies import (
    MISSING_REASON,
    OPERATOR_REQUIRED,
    ConsoleDependencies,
    Dependencies,
    Operator,
    Viewer,
    parse_shard_and_number,
    parse_time,
)
from services.console.web.exported_tables import ACTIONS
from services.console.web.failure_pages import load_dead_letter, parse_partition
from services.console.web.metrics import METRICS
from services.console.web.signed_in_user import Forbidden, SignedInUser
from services.console.web.templates import format_iso_time
from services.eventlog.dead_letters import DeadLetterFilter, DeadLetterReader
from services.eventlog.operator_actions import ActionAlreadyRecorded, NoOpenDeadLetters, get_action, list_actions
from services.runtime.errors import KAFKA_CLIENT_ERRORS, describe_error

router = APIRouter()
ROWS_MAX = 50
# Long enough for a small redrive to be shown as sent.
SENT_WAIT_SECONDS = 2.0
ACTION_KINDS = ("redrive", "discard", "reveal")

TOO_LARGE = (
    "With the redrive headers it would exceed the record limit of the commands topic. Nothing was changed: it stays"
    " open until an operator discards it."
)
UNCONFIRMED = (
    "This version cannot read every record. Nothing was changed: tick Redrive anyway to send them nevertheless"
)
NOT_OPEN = (
    "No matching dead letter is open: it was redriven or discarded already (see Actions), or it is too large to"
    " redrive. Nothing was changed."
)


@dataclass(frozen=True, slots=True)
class ActionTarget:
    """The dead letters of a form: one ``letter``, or the open ones of a ``reason`` or ``partition`` up to a time."""

    letter: str = ""
    reason: str = ""
    partition: str = ""
    until: str = ""

    def to_filter(self) -> DeadLetterFilter:
        """Build the filter. Raises HTTPException if the form selects nothing."""
        if self.letter:
            return DeadLetterFilter(id=parse_shard_and_number(self.letter))
        if not self.reason and not self.partition:
            raise HTTPException(400, "The link must name a letter, a reason or a partition. Nothing was changed.")
        until: datetime | None = parse_time(self.until) if self.until else None
        return DeadLetterFilter(reason=self.reason or None, partition=parse_partition(self.partition), until=until)

    def to_query_string(self) -> str:
        """Return the query string of a link to this form."""
        return urlencode({name: getattr(self, name) for name in self.__slots__ if getattr(self, name)})


async def target_from_query(letter: str = "", reason: str = "", partition: str = "", until: str = "") -> ActionTarget:
    """Read the target from a link; ``until``: of the form that leads to another action on the same letters."""
    return ActionTarget(letter, reason, partition, until)


async def target_from_form(
    letter: Annotated[str, Form()] = "",
    reason: Annotated[str, Form()] = "",
    partition: Annotated[str, Form()] = "",
    until: Annotated[str, Form()] = "",
) -> ActionTarget:
    """Read the target from a submitted form."""
    return ActionTarget(letter, reason, partition, until)


@router.get("/act/{kind}")
async def action_form(
    request: Request,
    dependencies: ConsoleDependencies,
    user: Viewer,
    kind: str,
    target: Annotated[ActionTarget, Depends(target_from_query)],
) -> Response:
    """Show the effect of the action and the number of dead letters, and ask for a reason."""
    _require_permission(user, kind, target)
    return await _render_action_form(request, dependencies, kind, target, _Input(uuid4()))


@dataclass(frozen=True, slots=True)
class _Input:
    """What the user entered: the reason, and whether to redrive what stays unreadable; and the id of the action."""

    action: UUID
    why: str = ""
    anyway: bool = False


async def _render_action_form(
    request: Request,
    dependencies: Dependencies,
    kind: str,
    target: ActionTarget,
    entered: _Input,
    problem: str | None = None,
    check: RedriveCheck | None = None,
) -> Response:
    """``check``: of the redrive, if it was made already."""
    letter = await load_dead_letter(dependencies, target.letter) if target.letter else None
    reader, selection = DeadLetterReader(dependencies.pool), target.to_filter()
    matches = await reader.count_matching(selection, DEAD_LETTER_BYTES_MAX if kind == "redrive" else None)
    if kind != "reveal" and not matches.count:
        raise HTTPException(409, TOO_LARGE if matches.too_large_count else NOT_OPEN)
    if kind == "redrive" and check is None:
        check = await check_redrive(reader, selection)
    return dependencies.templates.render_page(
        request,
        "act.html",
        400 if problem else 200,
        kind=kind,
        target=target,
        letter=letter,
        matches=matches,
        check=check,
        may_discard_all=check is not None and await _are_all_unreadable(reader, target, check),
        until="" if target.letter or matches.until is None else format_iso_time(matches.until),
        entered=entered,
        why_max=REASON_CHARACTERS_MAX,
        problem=problem,
    )


async def _are_all_unreadable(reader: DeadLetterReader, target: ActionTarget, check: RedriveCheck) -> bool:
    """Return whether the check read everything that discarding the target would close, and could read none of it.

    Also what a redrive leaves out would be closed: erased and oversized dead letters.
    """
    if len(check.unreadable_ids) < check.checked_count:
        return False
    return (await reader.count_matching(target.to_filter())).count == check.checked_count


@router.post("/act/{kind}")
async def perform_action(
    request: Request,
    dependencies: ConsoleDependencies,
    user: Operator,
    kind: str,
    target: Annotated[ActionTarget, Depends(target_from_form)],
    action: Annotated[UUID, Form()],
    why: Annotated[str, Form()] = "",
    anyway: Annotated[bool, Form()] = False,
) -> Response:
    """Perform the action unless this form was submitted before; then show the action.

    ``anyway``: a redrive also sends records that would be dead letters again.
    """
    _require_permission(user, kind, target)
    actor, selection, entered = (
        Actor(user.root_account_id, user.user_id),
        target.to_filter(),
        _Input(action, why, anyway),
    )
    if kind == "redrive" and not anyway:
        # A form that was submitted before has closed its dead letters, which are not checked again.
        check = await check_redrive(DeadLetterReader(dependencies.pool), selection)
        if check.unreadable_ids:
            return await _render_action_form(request, dependencies, kind, target, entered, UNCONFIRMED, check)
    try:
        if kind == "redrive":
            await dependencies.operator_service.redrive(action, actor, why, selection)
            dependencies.redriver.wake()
            await dependencies.redriver.wait_until_sent(action, SENT_WAIT_SECONDS)
        elif kind == "discard":
            await dependencies.operator_service.discard(action, actor, why, selection)
        else:
            await dependencies.operator_service.reveal(action, actor, why, parse_shard_and_number(target.letter))
    except InvalidReason:
        return await _render_action_form(request, dependencies, kind, target, entered, MISSING_REASON)
    except ActionAlreadyRecorded:
        pass
    except NoOpenDeadLetters:
        raise HTTPException(409, NOT_OPEN) from None
    except (*KAFKA_CLIENT_ERRORS, TimeoutError) as error:
        raise HTTPException(503, f"{describe_error(error, 'kafka')}. Nothing was changed.") from None
    else:
        METRICS.actions.labels(kind).inc()
    if kind == "reveal":
        return RedirectResponse(f"/failures/dead-letters/{target.letter}?revealed={action}#content", 303)
    return RedirectResponse(f"/actions/{action}", 303)


def _require_permission(user: SignedInUser, kind: str, target: ActionTarget) -> None:
    if kind not in ACTION_KINDS or (kind == "reveal" and not target.letter):
        raise HTTPException(404)
    if not user.can_operate:
        raise Forbidden(OPERATOR_REQUIRED)
    if kind == "discard" and not target.letter and not user.can_administer:
        raise Forbidden("Discarding a group requires a token with scope moderation.admin. Nothing was changed.")


@router.get("/actions")
async def actions_page(
    request: Request,
    dependencies: ConsoleDependencies,
    user: Viewer,
    before: str = "",
    csv: Literal["", "actions"] = "",
) -> Response:
    """List the operator actions, newest first."""
    at, _, last_id = before.partition("~")
    rows = await list_actions(
        dependencies.pool,
        (parse_time(at), _parse_uuid(last_id)) if before else None,
        ROWS_MAX + 1,
        visible_account=None if user.sees_all_accounts else user.root_account_id,
    )
    if csv:
        return ACTIONS.respond(rows[:ROWS_MAX])
    last = rows[ROWS_MAX - 1] if len(rows) > ROWS_MAX else None
    return dependencies.templates.render_page(
        request,
        "actions.html",
        actions=[(row, json.loads(row.detail)) for row in rows[:ROWS_MAX]],
        next_before=None if last is None or last.acted_at is None else f"{format_iso_time(last.acted_at)}~{last.id}",
    )


@router.get("/actions/{action_id}")
async def action_page(
    request: Request, dependencies: ConsoleDependencies, user: Viewer, action_id: UUID, before: str = ""
) -> Response:
    """Show one action and its dead letters."""
    visible_account = None if user.sees_all_accounts else user.root_account_id
    action = await get_action(dependencies.pool, action_id, visible_account=visible_account)
    if action is None:
        raise HTTPException(404)
    at, _, last_id = before.partition("~")
    failures = DeadLetterReader(dependencies.pool)
    letters = await failures.dead_letters(
        ROWS_MAX + 1, action_id=action_id, before=(parse_time(at), *parse_shard_and_number(last_id)) if before else None
    )
    last = letters[ROWS_MAX - 1] if len(letters) > ROWS_MAX else None
    return dependencies.templates.render_page(
        request,
        "action.html",
        action=action,
        detail=json.loads(action.detail),
        letters=letters[:ROWS_MAX],
        problem=dependencies.redriver.problem,
        replay=dependencies.replay_jobs.jobs.get(action_id),
        is_within_resume_window=action.acted_at is not None and datetime.now(UTC) - action.acted_at < RESUME_WINDOW,
        next_before=None if last is None else f"{format_iso_time(last.recorded_at)}~{last.shard}-{last.number}",
    )


def _parse_uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise HTTPException(400, "The page link is invalid.") from None
