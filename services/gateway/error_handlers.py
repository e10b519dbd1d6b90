"""The answers to errors of requests, in Canvas's form."""

from collections.abc import Sequence

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.routing import Match, Route

from services.gateway.command_client import VerdictPending, pending_response
from services.gateway.responses import NOT_FOUND, ApiError, json_response, unavailable
from services.runtime.http import add_error_handlers

INTERNAL_ERROR = {"errors": [{"message": "An error occurred.", "error_code": "internal_server_error"}]}


def add_gateway_error_handlers(app: FastAPI, routers: Sequence[APIRouter]) -> None:
    """Answer every error; ``routers``: all of the application's, for the methods of a path."""

    @app.exception_handler(ApiError)
    async def refused(request: Request, error: ApiError) -> Response:
        return json_response(request, error.body, error.status, error.headers)

    @app.exception_handler(VerdictPending)
    async def handle_pending(request: Request, error: VerdictPending) -> Response:
        body, headers = pending_response(error)
        return json_response(request, body, 202, headers)

    add_error_handlers(
        app,
        http_error=lambda request, error: _http_error(request, error, routers),
        invalid_fields=lambda request, fields: json_response(
            request, {"message": f"invalid parameters: {fields}"}, 400
        ),
        database_unavailable=_database_unavailable,
        internal_error=lambda request: json_response(request, INTERNAL_ERROR, 500),
    )


def _http_error(request: Request, error: HTTPException, routers: Sequence[APIRouter]) -> Response:
    body = NOT_FOUND if error.status_code == 404 else {"errors": [{"message": str(error.detail)}]}
    headers = {"Allow": _allowed_methods(request, routers)} if error.status_code == 405 else error.headers
    return json_response(request, body, error.status_code, headers)


def _database_unavailable(request: Request, _: str) -> Response:
    pending: VerdictPending | None = getattr(request.state, "pending", None)
    if pending is not None:
        body, headers = pending_response(pending)
        return json_response(request, body, 202, headers)
    error = unavailable("PostgreSQL does not answer")
    return json_response(request, error.body, error.status, error.headers)


def _allowed_methods(request: Request, routers: Sequence[APIRouter]) -> str:
    """List all methods of a path: the router names only those of its first route, and HEAD is answered like GET."""
    routes = (route for router in routers for route in router.routes if isinstance(route, Route))
    matching_methods = (route.methods or () for route in routes if route.matches(request.scope)[0] != Match.NONE)
    methods = {method for methods in matching_methods for method in methods}
    return ", ".join(sorted(methods | {"HEAD"} if "GET" in methods else methods))
