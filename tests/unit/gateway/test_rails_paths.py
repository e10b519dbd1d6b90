"""Paths as Rails reads them, and HEAD wherever there is GET."""

import asyncio
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from services.gateway.path_ids import parse_sis_id
from services.gateway.rails_paths import RailsPathMiddleware
from services.runtime.http import HeadMiddleware


async def show(request: Request) -> Response:
    return JSONResponse({"course": request.path_params["course"]}, headers={"link": "<x>"})


async def stream(request: Request) -> Response:
    async def forever() -> Any:
        while True:
            yield b"again"
            await asyncio.sleep(0)

    return StreamingResponse(forever())


ROUTES = [
    Route("/api/v1/courses/{course}", show, methods=["GET"]),
    Route("/openapi.json", stream, methods=["GET"]),
    Route("/api/v1/publish", show, methods=["POST"]),
]
APP = HeadMiddleware(RailsPathMiddleware(Starlette(routes=ROUTES)))


async def send(method: str, path: str) -> httpx.Response:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(APP), base_url="http://gateway") as client:
        return await client.request(method, path)


@pytest.mark.parametrize(
    ("sent", "course"),
    [
        ("7", "7"),
        ("7.json", "7"),
        ("7/", "7"),
        ("sis_course_id:my-course.json", "sis_course_id:my-course"),
        ("sis_course_id:CS%2F101%2E11%C3%A9", "sis_course_id:CS%2F101.11é"),
        ("sis_course_id:50%25%2f2", "sis_course_id:50%25%2F2"),
    ],
)
async def test_path_ends_in_a_format_or_slash_and_keeps_encoded_slashes(sent: str, course: str) -> None:
    answer = await send("GET", f"/api/v1/courses/{sent}")
    assert (answer.status_code, answer.json()["course"]) == (200, course)


@pytest.mark.parametrize(
    ("segment", "sis_id"),
    [("sis_course_id:CS%2F101.11é", "CS/101.11é"), ("sis_course_id:50%25%2F2", "50%/2"), ("sis_course_id:50%", "50%"),
     ("hex:sis_course_id:43532f31", "CS/1")],
)  # fmt: skip
def test_sis_id_may_hold_slashes_and_percent_signs(segment: str, sis_id: str) -> None:
    assert parse_sis_id(segment) == ("sis_course_id", sis_id)


async def test_head_has_the_headers_of_get_and_no_body() -> None:
    got, head = [await send(method, "/api/v1/courses/7") for method in ("GET", "HEAD")]
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers == got.headers
    assert (await send("HEAD", "/api/v1/publish")).status_code == 405


async def test_head_of_an_endless_stream_ends() -> None:
    async with asyncio.timeout(30):
        assert (await send("HEAD", "/openapi.json")).status_code == 200
