"""The OpenAPI document as contracts that can be compared: what each operation asks for, and what it answers."""

from collections.abc import Iterator
from typing import Any

Json = dict[str, Any]
METHODS = ("get", "put", "post", "delete", "patch")


def contracts_of(document: Json) -> dict[str, Json]:
    """By ``http-request/METHOD path`` what a client sends, by ``http-answer/METHOD path STATUS`` what it is sent."""
    schemas = document["components"]["schemas"]
    found: dict[str, Json] = {}
    for path, item in document["paths"].items():
        for method in METHODS:
            if method in item:
                operation = f"{method.upper()} {path}"
                found[f"http-request/{operation}"] = {"$defs": schemas, **_asked(item[method])}
                for status, answer in _answers(item[method]):
                    found[f"http-answer/{operation} {status}"] = {"$defs": schemas, **answer}
    return found


def _asked(operation: Json) -> Json:
    """Parameters and JSON body as one object. Others than those named may be sent: they are passed over."""
    parameters = operation.get("parameters", [])
    properties = {f"{each['in']} {each['name']}": each.get("schema", {}) for each in parameters}
    required = [f"{each['in']} {each['name']}" for each in parameters if each.get("required")]
    body = operation.get("requestBody", {})
    content = body.get("content", {}).get("application/json")
    if content is not None:
        properties["body"] = content.get("schema", {})
        required += ["body"] if body.get("required") else []
    return {"type": "object", "properties": properties, "required": required}


def _answers(operation: Json) -> Iterator[tuple[str, Json]]:
    for status, answer in operation["responses"].items():
        content = answer.get("content", {}).get("application/json")
        if content is not None:
            yield status, content.get("schema", {})
