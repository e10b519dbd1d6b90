"""Log lines for refusals (401, 403), reads of education records, sign-ins and sign-outs: who, what, from where."""

import logging
from collections.abc import Callable, MutableMapping
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

LOGGER = logging.getLogger("access")
REFUSALS = frozenset({401, 403})


class AccessLogMiddleware:
    """Logs accesses without content: the route's template and its numeric parameters, never the path or the query.

    A path may hold an e-mail address (``sis_login_id:``). ``shows_records`` returns whether a route shows education
    records, by its template. The authentication puts the caller into ``request.state.caller``, and what it did, if it
    began or ended a session, into ``request.state.session_change``.
    """

    def __init__(self, app: ASGIApp, shows_records: Callable[[str], bool]) -> None:
        self.app = app
        self.shows_records = shows_records

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_and_log(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                self._log(scope, message["status"])
            await send(message)

        await self.app(scope, receive, send_and_log)

    def _log(self, scope: Scope, status: int) -> None:
        template = getattr(scope.get("route"), "path", None)
        is_read = scope["method"] == "GET" and 200 <= status < 300 and self.shows_records(template or "")
        state, client = scope.get("state", {}), scope.get("client")
        session_change = state.get("session_change")
        if status not in REFUSALS and not is_read and session_change is None:
            return
        caller = state.get("caller")
        ids = {name: value for name, value in scope.get("path_params", {}).items() if str(value).isdecimal()}
        access = {
            "what": session_change or ("read" if is_read else "refused"),
            "status": status,
            "method": scope["method"],
            "route": template,
            "ids": ids,
            "root_account_id": getattr(caller, "root_account_id", None),
            "user_id": getattr(caller, "user_id", None),
            "client": client[0] if client else None,
        }
        LOGGER.info("%s", access["what"], extra={"access": access})
