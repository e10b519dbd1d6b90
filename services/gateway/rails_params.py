"""Parses parameters like Rails: query, form, multipart and JSON, with bracketed names."""

import itertools
import json
import re
from collections.abc import AsyncGenerator, Iterable
from typing import Any
from urllib.parse import parse_qsl

import orjson
from fastapi import Request
from python_multipart.multipart import parse_options_header
from starlette.formparsers import MultiPartException, MultiPartParser

from schemas.fields import NESTING_MAX
from services.gateway.responses import ApiError, bad_request
from services.runtime.http_limits import QUERY_FIELDS_MAX

Params = dict[str, Any]
BODY_BYTES_MAX = 1 << 20
FIELDS_MAX = 20_000
SMALL_BODY_BYTES_MAX = 16 << 10
SMALL_FIELDS_MAX = QUERY_FIELDS_MAX
"""Limits for a query, for the body of a read, and for callers who may not change anything."""
NAME_CHARACTERS_MAX = 60
_BRACKETED_NAME = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])*)")


async def parse_params(request: Request, *, allow_large_body: bool = False) -> Params:
    """Parse query and body. Raises ApiError (400, 413, 415) if they are malformed or hold two values for one name.

    ``allow_large_body``: up to BODY_BYTES_MAX and FIELDS_MAX, for callers who may send lists of a whole class.
    """
    params: Params = {}
    _put_all(params, _parse_pairs(request.url.query.encode("ascii", "replace"), "the query", SMALL_FIELDS_MAX))
    bytes_max, fields_max = (
        (BODY_BYTES_MAX, FIELDS_MAX) if allow_large_body else (SMALL_BODY_BYTES_MAX, SMALL_FIELDS_MAX)
    )
    body = await _read_body(request, bytes_max)
    if not body:
        return params
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type == "application/json" or content_type.endswith("+json"):
        _put_all(params, _parse_json_object(body).items())
    elif content_type == "multipart/form-data":
        _put_all(params, await _parse_multipart(request, body, fields_max))
    elif content_type in ("application/x-www-form-urlencoded", ""):
        _put_all(params, _parse_pairs(body, "the form", fields_max))
    else:
        remedy = "send application/json, application/x-www-form-urlencoded or multipart/form-data"
        raise ApiError(415, {"message": f"this content type is not supported: {remedy}"})
    return params


async def _read_body(request: Request, bytes_max: int) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > bytes_max:
            raise ApiError(
                413,
                {"message": f"the body is larger than {bytes_max} bytes; nothing was changed: send less at once"},
                {"Connection": "close"},
            )
    return bytes(body)


def _parse_pairs(text: bytes, source: str, fields_max: int) -> list[tuple[str, str]]:
    try:
        pairs = parse_qsl(
            text.decode("ascii", "strict"), keep_blank_values=True, errors="strict", max_num_fields=fields_max
        )
    except UnicodeDecodeError:
        raise bad_request(f"{source} is not percent-encoded UTF-8") from None
    except ValueError:
        raise bad_request(f"{source} has more than {fields_max} fields") from None
    return pairs


def _parse_json_object(body: bytes) -> Params:
    try:
        document = orjson.loads(body)
        # orjson keeps the last of duplicate keys.
        _STRICT_DECODER.decode(body.decode())
    except (orjson.JSONDecodeError, RecursionError):
        raise bad_request("the body is not valid JSON in UTF-8") from None
    if not isinstance(document, dict):
        raise bad_request("the body is not a JSON object")
    return document


def _reject_duplicate_keys(pairs: list[tuple[str, Any]]) -> None:
    names: set[str] = set()
    for name, _ in pairs:
        if name in names:
            raise bad_request(f"the body holds the key {name[:NAME_CHARACTERS_MAX]} twice: send it once")
        names.add(name)


_STRICT_DECODER = json.JSONDecoder(object_pairs_hook=_reject_duplicate_keys, parse_int=str, parse_float=str)


async def _parse_multipart(request: Request, body: bytes, fields_max: int) -> list[tuple[str, Any]]:
    async def stream() -> AsyncGenerator[bytes, None]:
        yield body

    parser = MultiPartParser(
        request.headers, stream(), max_files=0, max_fields=fields_max, max_part_size=BODY_BYTES_MAX
    )
    try:
        # The parser accepts a truncated body, whose last field would be lost silently.
        boundary = parse_options_header(request.headers["content-type"])[1][b"boundary"]
        if b"--" + boundary + b"--" not in body:
            raise ValueError
        return list((await parser.parse()).multi_items())
    except (MultiPartException, UnicodeDecodeError, KeyError, ValueError):
        raise bad_request(
            "the body is not multipart/form-data with text fields in UTF-8 (files are not accepted)"
        ) from None


def _put_all(params: Params, pairs: Iterable[tuple[str, Any]]) -> None:
    seen_names: set[str] = set()
    repeated_names: set[str] = set()
    for name, value in pairs:
        if not name:
            continue
        match = _BRACKETED_NAME.fullmatch(name)
        path = [name] if match is None else [match[1], *re.findall(r"\[([^\[\]]*)\]", match[2])]
        if len(path) > NESTING_MAX:
            raise bad_request(f"nest names no deeper than {NESTING_MAX} levels")
        if any(key == next_key == "" for key, next_key in itertools.pairwise(path)):
            raise bad_request(f"{path[0]} is sent with [][]: a list of lists cannot be sent as a form, send JSON")
        if len(path) == 1 and name in seen_names:
            # Rack keeps only the last value. Clients that repeat a name mean a list.
            if name in repeated_names:
                params[name].append(value)
                continue
            previous_value = params.pop(name)
            # A list from the query or from a[] fields was not made by this repetition: copy it first.
            value = [*previous_value, value] if isinstance(previous_value, list) else [previous_value, value]
            repeated_names.add(name)
        seen_names.add(name)
        _put(params, path, value)


def _put(node: Any, path: list[str], value: Any) -> None:
    """Set a value like Rack's parser: ``a[]`` appends, ``a[b]`` nests, ``a[][b]`` starts a new object if b is set.

    Rack keeps the last of two values for one name; here two different values are rejected.
    """
    for step, key in enumerate(path):
        is_last, child_is_list = step == len(path) - 1, step + 1 < len(path) and path[step + 1] == ""
        if key == "":
            if is_last:
                node.append(value)
                return
            if not node or not isinstance(node[-1], dict) or (step == len(path) - 2 and path[-1] in node[-1]):
                node.append({})
            node = node[-1]
        elif is_last:
            _put_value(node, key, value, path)
        else:
            node = node.setdefault(key, [] if child_is_list else {})
            if not isinstance(node, list if child_is_list else dict):
                raise bad_request(f"{path[0]} is sent both as a text and as a list or object: send it once")


def _put_value(node: Params, key: str, value: Any, path: list[str]) -> None:
    present = node.get(key)
    if isinstance(present, dict) and isinstance(value, dict):
        for name, part in value.items():
            _put_value(present, name, part, [*path, name])
    elif key in node and present != value:
        raise bad_request(f"{_format_name(path)} is sent twice with different values: send it once")
    else:
        node[key] = value


def _format_name(path: list[str]) -> str:
    return path[0] + "".join(f"[{part}]" for part in path[1:])
