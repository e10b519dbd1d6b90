"""The gateway's page of its API shows every operation, with what a newcomer needs to try it."""

import html
from typing import Any

import httpx
import jsonschema_rs
import pytest

from services.gateway.app import create_fastapi_app
from tests.fixtures.schema_descriptions import find_undescribed

Json = dict[str, Any]


APP = create_fastapi_app()


@pytest.fixture(scope="module")
def document() -> Json:
    return APP.openapi()


def operations(document: Json) -> list[tuple[str, str, Json]]:
    return [(path, method, each) for path, methods in document["paths"].items() for method, each in methods.items()]


def browser() -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(APP), base_url="http://gateway")


async def test_root_leads_to_the_page_and_the_page_to_its_style_and_script() -> None:
    async with browser() as client:
        page = await client.get("/", follow_redirects=True)
        assert page.url.path == "/docs"
        assert page.status_code == 200
        for name, media_type in (("page.css", "text/css"), ("page.js", "text/javascript")):
            assert f"docs/{name}" in page.text
            answer = await client.get(f"/docs/{name}")
            assert (answer.status_code, answer.headers["content-type"].split(";")[0]) == (200, media_type)
        assert (await client.get("/docs/page.html")).status_code == 404


async def test_page_loads_nothing_from_elsewhere_and_runs_no_inline_script() -> None:
    async with browser() as client:
        page = await client.get("/docs")
    assert "script-src 'self';" in page.headers["content-security-policy"]
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "http://" not in page.text
    assert "https://" not in page.text


async def test_page_shows_every_operation_with_its_parameters_and_a_curl_line(document: Json) -> None:
    async with browser() as client:
        text = html.unescape((await client.get("/docs")).text)
    for path, method, operation in operations(document):
        assert f'data-method="{method.upper()}" data-path="{path}"' in text, path
        assert f'"$GATEWAY_URL{path}"' in text, path
        for parameter in operation.get("parameters", ()):
            assert f'name="{parameter["name"]}"' in text, path


def test_every_operation_has_a_tag_and_every_parameter_a_meaning(document: Json) -> None:
    tags = {tag["name"] for tag in document["tags"]}
    for path, method, operation in operations(document):
        assert len(set(operation["tags"]) & tags) == 1, (method, path)
        for parameter in operation.get("parameters", ()):
            assert parameter.get("description"), (method, path, parameter["name"])


def test_every_field_of_requests_and_responses_is_described(document: Json) -> None:
    assert list(find_undescribed(document)) == []


def test_every_response_header_is_described(document: Json) -> None:
    headers = [
        (
            path,
            method,
            name,
            header | document["components"]["headers"].get(header.get("$ref", "").rpartition("/")[2], {}),
        )
        for path, method, operation in operations(document)
        for response in operation["responses"].values()
        for name, header in response.get("headers", {}).items()
    ]
    assert len(headers) > 10
    assert [place for *place, header in headers if not header.get("description")] == []


def test_every_body_has_an_example_that_its_schema_accepts(document: Json) -> None:
    examples = 0
    for path, _, operation in operations(document):
        content = operation.get("requestBody", {}).get("content", {})
        if "application/json" in content:
            examples += 1
            validator = jsonschema_rs.validator_for(content["application/json"]["schema"])
            assert list(validator.iter_errors(content["application/json"]["example"])) == [], path
    assert examples >= 10
