"""Converts the OpenAPI document to comparable contracts: the requests and responses of each operation."""

from collections.abc import Iterator
from typing import Any

Json = dict[str, Any]
METHODS = ("get", "put", "post", "delete", "patch")


def extract_contracts(document: Json) -> dict[str, Json]:
    """Return schemas of requests (``http-request/METHOD path``) and responses (``http-answer/METHOD path STATUS``)."""
    schemas = document["components"]["schemas"]
    contracts: dict[str, Json] = {}
    for path, item in document["paths"].items():
        for method in METHODS:
            if method in item:
                operation = f"{method.upper()} {path}"
                contracts[f"http-request/{operation}"] = {"$defs": schemas, **_request_schema(item[method])}
                for status, response_schema in _response_schemas(item[method]):
                    contracts[f"http-answer/{operation} {status}"] = {"$defs": schemas, **response_schema}
    return contracts


def _request_schema(operation: Json) -> Json:
    """Combine parameters and JSON body to one schema, which allows further parameters."""
    parameters = operation.get("parameters", [])
    properties = {f"{parameter['in']} {parameter['name']}": parameter.get("schema", {}) for parameter in parameters}
    required = [f"{parameter['in']} {parameter['name']}" for parameter in parameters if parameter.get("required")]
    body = operation.get("requestBody", {})
    content = body.get("content", {}).get("application/json")
    if content is not None:
        properties["body"] = content.get("schema", {})
        required += ["body"] if body.get("required") else []
    return {"type": "object", "properties": properties, "required": required}


def _response_schemas(operation: Json) -> Iterator[tuple[str, Json]]:
    for status, response in operation["responses"].items():
        content = response.get("content", {}).get("application/json")
        if content is not None:
            yield status, content.get("schema", {})
