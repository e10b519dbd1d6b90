"""The audit trail: which operator read or changed what, when, from where and why.

Students who were hidden from the reader are not named: a reader could connect them with the anonymous ids of the pages.
"""

import json
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import Response

from services.console.web.dependencies import ConsoleDependencies, Viewer, as_utc, parse_id, parse_time
from services.console.web.templates import format_iso_time
from services.eventlog.access_records import HIDDEN_STUDENT, AuditEntry, AuditFilter, read_audit_trail

router = APIRouter()
ROWS_MAX = 50
PERIOD_DEFAULT = timedelta(days=7)
FILTER_CHARACTERS_MAX = 200
KINDS = (
    "assignment page", "publication page", "adjudication page", "explanation page", "command page",
    "search", "state", "history", "agreement", "verdict", "reveal", "redrive", "discard",
    "replay", "erase", "export",
)  # fmt: skip


@router.get("/audit")
async def audit_page(
    request: Request,
    dependencies: ConsoleDependencies,
    user: Viewer,
    since: str = "",
    who: str = "",
    what: str = "",
    of: str = "",
    before: str = "",
) -> Response:
    """List reads and actions of operators, newest first; ``who`` is a user id, or a login of the database."""
    begin = parse_time(as_utc(since)) if since else datetime.now(UTC) - PERIOD_DEFAULT
    at, _, key = before.partition("~")
    user_id = parse_id(who)
    if max(len(who), len(what), len(of), len(key)) > FILTER_CHARACTERS_MAX or "\0" in who + what + of + key:
        raise HTTPException(400, f"A filter may have {FILTER_CHARACTERS_MAX} characters, and no NUL.")
    entries = await read_audit_trail(
        dependencies.pool,
        AuditFilter(
            begin,
            before=(parse_time(at), key) if before else None,
            user_id=user_id,
            database_user=who or None if user_id is None else None,
            what=what or None,
            target=of or None,
            visible_account=None if user.sees_all_accounts else user.root_account_id,
            names_hidden_students=False,
        ),
        ROWS_MAX + 1,
    )
    last = entries[ROWS_MAX - 1] if len(entries) > ROWS_MAX else None
    filters = {"since": since, "who": who, "what": what, "of": of}
    older = None if last is None else urlencode({**filters, "before": f"{format_iso_time(last.at)}~{last.key}"})
    return dependencies.templates.render_page(
        request,
        "audit.html",
        entries=[(entry, _parse_target(entry)) for entry in entries[:ROWS_MAX]],
        since=since,
        begin=begin,
        who=who,
        what=what,
        of=of,
        kinds=KINDS if what in ("", *KINDS) else (*KINDS, what),
        older=older,
    )


def _parse_target(entry: AuditEntry) -> dict[str, str]:
    return {name: value for name, value in json.loads(entry.target).items() if name != HIDDEN_STUDENT}
