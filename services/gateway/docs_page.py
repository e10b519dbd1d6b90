"""The page of the HTTP API at /docs: every operation of the OpenAPI document, with a request to try."""

import json
from functools import cache
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from services.gateway.responses import not_found

Document = dict[str, Any]
FOLDER = Path(__file__).parent / "docs"
MEDIA_TYPES = {"page.css": "text/css", "page.js": "text/javascript"}
HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
}

router = APIRouter(include_in_schema=False)


@router.get("/")
async def root() -> Response:
    """Lead to the page."""
    return RedirectResponse("docs", 303)


@router.get("/docs")
async def docs(request: Request) -> Response:
    """Show the page. It needs no token: its requests do."""
    environment = Environment(loader=FileSystemLoader(FOLDER), autoescape=True, undefined=StrictUndefined)
    document = request.app.openapi()
    page = environment.get_template("page.html").render(
        description=document["info"]["description"], groups=build_groups(document)
    )
    return Response(page, media_type="text/html", headers=HEADERS)


@router.get("/docs/{name}")
async def docs_file(name: str) -> Response:
    """Return the page's style sheet or script."""
    if name not in MEDIA_TYPES:
        raise not_found()
    return Response(_read_file(name), media_type=MEDIA_TYPES[name])


@cache
def _read_file(name: str) -> str:
    return (FOLDER / name).read_text()


def build_groups(document: Document) -> list[Document]:
    """Return the operations by tag, as the template shows them."""
    groups: dict[str, Document] = {
        tag["name"]: {**tag, "anchor": tag["name"].lower().replace(" ", "-"), "operations": []}
        for tag in document["tags"]
    }
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            groups[operation["tags"][0]]["operations"].append(_build_operation(path, method.upper(), operation))
    return list(groups.values())


def _build_operation(path: str, method: str, operation: Document) -> Document:
    content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    properties = content.get("schema", {}).get("properties", {})
    example = json.dumps(content["example"]) if "example" in content else ""
    return {
        "id": operation["operationId"],
        "path": path,
        "method": method,
        "summary": str(operation.get("description", operation["summary"])).splitlines()[0],
        "parameters": [
            {"description": "", "required": False, **parameter} for parameter in operation.get("parameters", ())
        ],
        "fields": [{"name": name, "description": schema.get("description", "")} for name, schema in properties.items()],
        "example": example,
        "curl": _build_curl(path, method, example),
        "responses": [
            {"status": status, "description": response["description"]}
            for status, response in sorted(operation["responses"].items())
        ],
    }


def _build_curl(path: str, method: str, example: str) -> str:
    line = 'curl -g -H "Authorization: Bearer $TOKEN"'
    if method != "GET":
        line += f" -X {method}"
    if example:
        line += f" --json '{example}'"
    return f'{line} "$GATEWAY_URL{path}"'
