"""What the pages work with, and who may see them."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

from fastapi import Depends, HTTPException, Request

from services.config import ConsoleSettings
from services.console.operator_service import OperatorService
from services.console.redriver import Redriver
from services.console.replay_jobs import ReplayJobs
from services.console.status_monitor import StatusMonitor
from services.console.verification_jobs import VerificationJobs
from services.console.web.sessions import Forbidden, Sessions, SignedInUser, require_csrf_token
from services.console.web.templates import Templates
from services.eventlog.postgres import Pool
from services.runtime.health import Health


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

    def not_ready_reason(self) -> str | None:
        """What the console cannot see now, None when it sees everything."""
        return self.health.not_ready_reason()


def get_dependencies(request: Request) -> Dependencies:
    """The parts of the process that answers the request."""
    dependencies: Dependencies = request.app.state.dependencies
    return dependencies


ConsoleDependencies = Annotated[Dependencies, Depends(get_dependencies)]


async def authenticate(request: Request, dependencies: ConsoleDependencies) -> SignedInUser:
    """Who asks. Raises NotSignedIn."""
    user = await dependencies.sessions.authenticate(request)
    request.state.user = user
    return user


Viewer = Annotated[SignedInUser, Depends(authenticate)]


async def require_operator(request: Request, user: Viewer) -> SignedInUser:
    """Who acts, with a form of ours. Raises NotSignedIn, Forbidden."""
    if not user.can_operate:
        raise Forbidden("This takes a token with scope moderation.operator. Nothing was done.")
    form = await request.form()
    require_csrf_token(user, request, str(form.get("csrf", "")))
    return user


Operator = Annotated[SignedInUser, Depends(require_operator)]


_SHARD_AND_NUMBER = re.compile(r"(\d{1,4})-(\d{1,18})")


def parse_shard_and_number(text: str) -> tuple[int, int]:
    """(shard, number) of a dead letter or a verdict in a path. Raises HTTPException."""
    match = _SHARD_AND_NUMBER.fullmatch(text)
    if match is None:
        raise HTTPException(404)
    return int(match[1]), int(match[2])


def parse_time(text: str) -> datetime:
    """A time in a link of ours. Raises HTTPException."""
    try:
        at = datetime.fromisoformat(text.replace(" ", "+"))
        at.astimezone(UTC)
    except (ValueError, OverflowError):
        at = datetime.min
    if at.tzinfo is None:
        raise HTTPException(400, "send times as they stand in our links, in ISO 8601 with an offset")
    return at
