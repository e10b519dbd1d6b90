"""Dependencies of the pages: the parts of the process, the signed-in user, parsed parameters."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

from fastapi import Depends, HTTPException, Request

from schemas import fields
from services.config.console import ConsoleSettings
from services.console.operator_service import REASON_CHARACTERS_MAX, OperatorService
from services.console.reader_groups import ReaderGroups
from services.console.redriver import Redriver
from services.console.replay_jobs import ReplayJobs
from services.console.status_monitor import StatusMonitor
from services.console.verification_jobs import VerificationJobs
from services.console.web.sessions import Sessions
from services.console.web.signed_in_user import Forbidden, SignedInUser
from services.console.web.templates import Templates
from services.eventlog.access_records import record_access
from services.eventlog.postgres import Pool
from services.runtime.health import Health

MISSING_REASON = f"A reason of 1 to {REASON_CHARACTERS_MAX:,} characters is required. Nothing was changed"
VIEWER_REQUIRED = "This page requires a token with scope moderation.viewer. Moderators' pages are under Moderation."
OPERATOR_REQUIRED = "This requires a token with scope moderation.operator. Nothing was changed."


@dataclass(frozen=True, slots=True)
class Dependencies:
    """The parts of one console process."""

    settings: ConsoleSettings
    health: Health
    sessions: Sessions
    templates: Templates
    pool: Pool
    monitor: StatusMonitor
    operator_service: OperatorService
    redriver: Redriver
    verification_jobs: VerificationJobs
    replay_jobs: ReplayJobs
    reader_groups: ReaderGroups

    def not_ready_reason(self) -> str | None:
        """Return why the console cannot show the whole status; None if it can."""
        return self.health.not_ready_reason()


def get_dependencies(request: Request) -> Dependencies:
    """Return the parts of the process."""
    dependencies: Dependencies = request.app.state.dependencies
    return dependencies


ConsoleDependencies = Annotated[Dependencies, Depends(get_dependencies)]


async def authenticate(request: Request, dependencies: ConsoleDependencies) -> SignedInUser:
    """Return the signed-in user. Raises NotSignedIn."""
    user = await dependencies.sessions.authenticate(request)
    request.state.user = request.state.caller = user
    return user


AnyUser = Annotated[SignedInUser, Depends(authenticate)]


async def require_viewer(user: AnyUser) -> SignedInUser:
    """Return the signed-in user. Raises NotSignedIn, and Forbidden for a user without a role of an operator."""
    if not user.can_view:
        raise Forbidden(VIEWER_REQUIRED)
    return user


Viewer = Annotated[SignedInUser, Depends(require_viewer)]


async def require_form(request: Request, dependencies: ConsoleDependencies, user: AnyUser) -> SignedInUser:
    """Return the user who submits a form. Raises NotSignedIn, and Forbidden without the CSRF token."""
    form = await request.form()
    dependencies.sessions.require_csrf_token(user, request, str(form.get("csrf", "")))
    return user


FormUser = Annotated[SignedInUser, Depends(require_form)]


async def require_operator(user: FormUser) -> SignedInUser:
    """Return the operator who submits a form. Raises NotSignedIn, and Forbidden without the role or the CSRF token."""
    if not user.can_operate:
        raise Forbidden(OPERATOR_REQUIRED)
    return user


Operator = Annotated[SignedInUser, Depends(require_operator)]


async def record_page(request: Request, user: SignedInUser, what: str, target: Mapping[str, object]) -> None:
    """Record that a page shows education records to a user; ``target`` names them by ids. Raises POSTGRES_ERRORS."""
    await record_access(
        get_dependencies(request).pool,
        "console",
        what,
        target,
        root_account=user.root_account_id,
        user_id=user.user_id,
        client=None if request.client is None else request.client.host,
    )


def parse_id(value: str | int) -> int | None:
    """Return an id in a path or a form field; None if it is not one."""
    try:
        return fields.parse_id(value)
    except ValueError:
        return None


_SHARD_AND_NUMBER = re.compile(r"(\d{1,4})-(\d{1,18})")


def parse_shard_and_number(text: str) -> tuple[int, int]:
    """Parse the (shard, number) of a dead letter or verdict in a path. Raises HTTPException."""
    match = _SHARD_AND_NUMBER.fullmatch(text)
    if match is None:
        raise HTTPException(404)
    return int(match[1]), int(match[2])


def parse_time(text: str) -> datetime:
    """Parse a time in a link. Raises HTTPException."""
    try:
        at = datetime.fromisoformat(text.replace(" ", "+"))
        at.astimezone(UTC)
    except (ValueError, OverflowError):
        at = datetime.min
    if at.tzinfo is None:
        raise HTTPException(400, "A time must be in ISO 8601 with an offset, such as 2026-01-31T12:00:00Z.")
    return at


def as_utc(text: str) -> str:
    """Add UTC to a time that a form field gives without an offset."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return text
    return at.replace(tzinfo=UTC).isoformat() if at.tzinfo is None else text
