"""The OpenAPI document as contracts that can be compared: what each operation asks for, and what it answers."""

from collections.abc import Iterator
from typing import Any

Json = dict[str, Any]
METHODS = ("get", "put", "post", "delete", "patch")


def extract_contracts(document: Json) -> dict[str, Json]:
    """By ``http-request/METHOD path`` what a client sends, by ``http-answer/METHOD path STATUS`` what it is sent."""
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
    """Parameters and JSON body as one object. Others than those named may be sent: they are passed over."""
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
