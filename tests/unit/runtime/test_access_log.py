"""Refusals and reads of education records are one log line each, with ids only."""

import logging
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, HTTPException, Request

from services.runtime.access_log import AccessLogMiddleware

BASE = "http://gateway.example"


@pytest.fixture
def app() -> FastAPI:
    application = FastAPI()
    application.add_middleware(AccessLogMiddleware, shows_records=lambda template: "/assignments/" in template)

    @application.get("/courses/{course_id}/assignments/{assignment_id}/submissions/{user_id}")
    async def submission(request: Request, user_id: str) -> dict[str, str]:
        request.state.caller = SimpleNamespace(root_account_id=1, user_id=21)
        if user_id == "99":
            raise HTTPException(403)
        return {"name": "Ada"}

    @application.get("/health/live")
    async def live() -> dict[str, str]:
        return {}

    return application


async def get(app: FastAPI, path: str, caplog: pytest.LogCaptureFixture) -> list[Any]:
    """Return the access fields of the log lines of a request."""
    caplog.clear()
    with caplog.at_level(logging.INFO, "access"):
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=BASE) as client:
            await client.get(path)
    return [record.access for record in caplog.records if record.name == "access"]  # type: ignore[attr-defined]


async def test_read_of_a_submission_names_caller_route_and_ids(app: FastAPI, caplog: pytest.LogCaptureFixture) -> None:
    [access] = await get(app, "/courses/9001/assignments/9101/submissions/12?search_term=Ada", caplog)
    assert access == {
        "what": "read",
        "status": 200,
        "method": "GET",
        "route": "/courses/{course_id}/assignments/{assignment_id}/submissions/{user_id}",
        "ids": {"course_id": "9001", "assignment_id": "9101", "user_id": "12"},
        "root_account_id": 1,
        "user_id": 21,
        "client": "127.0.0.1",
    }


async def test_refusal_is_logged_without_ids_from_the_path(app: FastAPI, caplog: pytest.LogCaptureFixture) -> None:
    [refused] = await get(app, "/courses/9001/assignments/9101/submissions/99", caplog)
    [named] = await get(app, "/courses/9001/assignments/9101/submissions/sis_login_id:ada@uni.example", caplog)
    assert (refused["what"], refused["status"], refused["user_id"]) == ("refused", 403, 21)
    assert named["ids"] == {"course_id": "9001", "assignment_id": "9101"}
    assert "ada@" not in str(named)


async def test_requests_without_education_records_are_not_logged(
    app: FastAPI, caplog: pytest.LogCaptureFixture
) -> None:
    assert await get(app, "/health/live", caplog) == []
    assert await get(app, "/nowhere", caplog) == []
