"""Request parsing: Rails's parameters in all encodings, pages, ids as strings."""

import re
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from fastapi import Request

from services.gateway.authentication import Caller
from services.gateway.command_client import build_command_id
from services.gateway.pagination import Page, link_header, parse_page
from services.gateway.rails_params import BODY_BYTES_MAX, SMALL_BODY_BYTES_MAX, SMALL_FIELDS_MAX, parse_params
from services.gateway.rails_values import get_count, get_ids, get_number, get_object, get_text, parse_bool
from services.gateway.responses import ApiError, stringify_ids

Json = dict[str, Any]


def request(query: str = "", body: bytes = b"", kind: str = "", **headers: str) -> Request:
    named = {**headers, **({"content-type": kind} if kind else {})}
    scope: MutableMapping[str, Any] = {
        "type": "http",
        "method": "PUT",
        "path": "/api/v1/courses/1",
        "raw_path": b"/api/v1/courses/1",
        "query_string": query.encode(),
        "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in named.items()],
        "server": ("evil.example", 80),
        "scheme": "http",
    }
    sent = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def receive() -> MutableMapping[str, Any]:
        return next(sent)

    receiving: Callable[[], Awaitable[MutableMapping[str, Any]]] = receive
    return Request(scope, receiving)


FORM = "application/x-www-form-urlencoded"


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        ("a=1&b=x%20y", {"a": "1", "b": "x y"}),
        ("a[]=1&a[]=2", {"a": ["1", "2"]}),
        ("a=1&a=2", {"a": ["1", "2"]}),
        ("a[b]=1&a[b]=1&a[c]=3", {"a": {"b": "1", "c": "3"}}),
        ("a[b][]=1&a[b][]=2", {"a": {"b": ["1", "2"]}}),
        ("a[][b]=1&a[][c]=2&a[][b]=3", {"a": [{"b": "1", "c": "2"}, {"b": "3"}]}),
        ("a[_1][points]=2.5&a[_1][comments]=%C3%BC", {"a": {"_1": {"points": "2.5", "comments": "ü"}}}),
        ("a=&b[c]=", {"a": "", "b": {"c": ""}}),
        ("a[=1", {"a[": "1"}),
        ("=1&a=2&=3&a%00=x", {"a": "2", "a\0": "x"}),
        ("", {}),
    ],
)
async def test_bracketed_names_are_parsed_as_in_rails(sent: str, read: Json) -> None:
    assert await parse_params(request(body=sent.encode(), kind=FORM)) == read
    assert await parse_params(request(query=sent)) == read


async def test_all_body_encodings_parse_to_the_same_params() -> None:
    said = {"submission": {"posted_grade": "8"}, "student_ids": ["1", "2"]}
    flat = [("submission[posted_grade]", "8"), ("student_ids[]", "1"), ("student_ids[]", "2")]
    multipart = httpx.Request("POST", "http://x", files=[(name, (None, value)) for name, value in flat])
    bodies = [
        (urlencode(flat).encode(), FORM),
        (urlencode(flat).encode(), ""),
        (b'{"submission": {"posted_grade": "8"}, "student_ids": ["1", "2"]}', "application/json; charset=utf-8"),
        (b'{"submission[posted_grade]": "8", "student_ids": ["1", "2"]}', "application/json"),
        (multipart.read(), multipart.headers["content-type"]),
    ]
    for body, kind in bodies:
        assert await parse_params(request(body=body, kind=kind)) == said, kind


async def test_query_and_body_are_read_together() -> None:
    read = {"a": "3", "b": "2", "s": {"c": "1", "d": "4"}}
    assert await parse_params(request("a=3&b=2&s[c]=1", b"a=3&s[d]=4", FORM)) == read
    assert await parse_params(request("b=2&s[c]=1", b'{"a": "3", "s": {"d": "4"}}', "application/json")) == read


@pytest.mark.parametrize(
    ("query", "body", "kind", "name"),
    [
        ("", b'{"s": {"g": "10", "g": "100"}}', "application/json", "g"),
        ("", b'{"s": {"g": "10"}, "s": {}}', "application/json", "s"),
        ("", b'{"s": {"g": "10"}, "s[g]": "100"}', "application/json", "s[g]"),
        ("", b"s[g]=10&s[g]=100", FORM, "s[g]"),
        ("a=1", b"a=2", FORM, "a"),
        ("s[g]=1", b"s[g]=2", FORM, "s[g]"),
        ("s[g]=1", b'{"s": {"g": "2"}}', "application/json", "s[g]"),
        ("s=1", b'{"s": {"g": "2"}}', "application/json", "s"),
    ],
)
async def test_parameter_with_two_values_is_rejected_by_name(query: str, body: bytes, kind: str, name: str) -> None:
    with pytest.raises(ApiError) as refused:
        await parse_params(request(query, body, kind))
    assert (refused.value.status, f" {name} " in f" {refused.value.body['message']}") == (400, True)


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"{", "application/json", 400),
        (b"[1]", "application/json", 400),
        (b'{"a": NaN}', "application/json", 400),
        (b"[" * 100_000, "application/json", 400),
        (b'{"a":' * 1_010 + b"1" + b"}" * 1_010, "application/json", 400),
        (b"a=\xff", FORM, 400),
        (b"a=%ff", FORM, 400),
        (b"a" + b"[x]" * 40 + b"=1", FORM, 400),
        (b"a=1&a[b]=2", FORM, 400),
        (b"a[][]=1", FORM, 400),
        (b"a[][x]=1&a[][][b]=2", FORM, 400),
        (b"&".join([b"a=1"] * 20_001), FORM, 400),
        (b"--x\r\nbroken", "multipart/form-data; boundary=x", 400),
        (b"x", "multipart/form-data", 400),
        (b'--x\r\ncontent-disposition: form-data; name="f"; filename="f"\r\n\r\n1\r\n--x--\r\n',
         "multipart/form-data; boundary=x", 400),
        (b"<a/>", "text/xml", 415),
        (b"x" * (BODY_BYTES_MAX + 1), FORM, 413),
    ],
)  # fmt: skip
async def test_malformed_body_is_rejected(body: bytes, kind: str, status: int) -> None:
    with pytest.raises(ApiError) as refused:
        await parse_params(request(body=body, kind=kind), allow_large_body=True)
    assert (refused.value.status, bool(refused.value.body["message"])) == (status, True)


def test_values_are_converted_to_the_requested_type() -> None:
    assert get_ids({"a": ["1", 2, "", 7.0]}, "a") == [1, 2, 7]
    assert (get_ids({"a": "7"}, "a"), get_ids({}, "a")) == ([7], None)
    yes: list[Any] = ["true", "1", "on", 1, True]
    no: list[Any] = ["0", "no", 2, None, [], 1.5]
    assert [parse_bool(value) for value in yes + no] == [True] * len(yes) + [False] * len(no)
    assert (get_text({"a": 8.5}, "a", "a"), get_text({"a": 8}, "a", "a"), get_text({}, "a", "a")) == ("8.5", "8", None)
    no_ids: list[Json] = [
        {"a": ["x"]},
        {"a": [0]},
        {"a": [True]},
        {"a": ["9223372036854775808"]},
        {"a": {}},
        {"a": [7.5]},
    ]
    for wrong in no_ids:
        with pytest.raises(ApiError):
            get_ids(wrong, "a")
    assert [get_number({"a": sent}, "a", "a") for sent in ("7.50", -3, "")] == [7.5, -3, None]
    no_numbers: list[Json] = [{"a": "x"}, {"a": "1e3"}, {"a": "nan"}, {"a": True}, {"a": " 7"}, {"a": "7." + 21 * "1"}]
    for wrong in no_numbers:
        with pytest.raises(ApiError):
            get_number(wrong, "a", "a")
    no_texts: list[Json] = [{"a": True}, {"a": []}, {"a": {}}]
    for wrong in no_texts:
        with pytest.raises(ApiError):
            get_text(wrong, "a", "a")
        with pytest.raises(ApiError):
            get_object({"a": [1]}, "a")


@pytest.mark.parametrize(
    "sent", [3.3333333333333335, 0.6666666666666666, 0.30000000000000004, 1e-05, -2.5e-07, 7, -0.1, 1e9, 123456789.123]
)
def test_number_of_a_json_body_is_taken_as_it_is_and_written_in_plain_digits(sent: float) -> None:
    assert get_number({"a": sent}, "a", "a") == sent
    text = get_text({"a": sent}, "a", "a")
    assert text is not None
    assert re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", text)
    assert float(text) == sent
    assert get_number({"a": text}, "a", "a") == sent


def test_count_is_a_whole_number_that_a_command_can_hold() -> None:
    assert [get_count({"a": sent}, "a") for sent in ("3", 3, 3.0, "")] == [3, 3, 3, None]
    no_counts: list[Json] = [{"a": 1.5}, {"a": "1.5"}, {"a": 1e308}, {"a": 2**63}]
    for wrong in no_counts:
        with pytest.raises(ApiError):
            get_count(wrong, "a")


@pytest.mark.parametrize(
    ("query", "page"),
    [
        ("", Page(1, 10)),
        ("page=2&per_page=100", Page(2, 100)),
        ("per_page=1000", Page(1, 100)),
        ("per_page=0", Page(1, 1)),
        ("per_page=-1", Page(1, 1)),
        ("per_page=x", Page(1, 10)),
        ("per_page=" + "9" * 5_000, Page(1, 100)),
    ],
)
def test_page_size_is_clamped(query: str, page: Page) -> None:
    assert parse_page(request(query)) == page


@pytest.mark.parametrize("number", ["0", "-1", "x", "", "1.5", "٣", "9" * 5_000])
def test_invalid_page_number_returns_404(number: str) -> None:
    with pytest.raises(ApiError) as refused:
        parse_page(request(f"page={number}"))
    assert refused.value.status == 404


@pytest.mark.parametrize(
    ("number", "relations"),
    [
        (1, ["current", "next", "first", "last"]),
        (2, ["current", "next", "prev", "first", "last"]),
        (3, ["current", "prev", "first", "last"]),
        (9, ["current", "prev", "first", "last"]),
    ],
)
def test_page_links_use_the_configured_url_and_keep_other_params(number: int, relations: list[str]) -> None:
    asked = request(f"page={number}&per_page=5&include[]=a&access_token=secret&x=%20")
    header = link_header(asked, "https://grades.example", Page(number, 5), 12)["Link"]
    links = header.split(",")
    assert [link.rpartition("rel=")[2].strip('"') for link in links] == relations
    query = f"include%5B%5D=a&x=+&page={number}&per_page=5"
    assert links[0] == f'<https://grades.example/api/v1/courses/1?{query}>; rel="current"'
    assert "page=3&per_page=5" in links[-1]


def test_ids_are_converted_to_strings() -> None:
    body = [{"id": 1, "scorer_id": None, "student_ids": [1, 2], "score": 3, "inner": {"user_id": 4, "x_id": True}}]
    wanted = {"id": "1", "scorer_id": None, "student_ids": ["1", "2"], "score": 3}
    assert stringify_ids(body) == [{**wanted, "inner": {"user_id": "4", "x_id": True}}]


def test_idempotency_key_yields_one_command_id_per_user() -> None:
    one, other = Caller(1, 1), Caller(2, 1)
    keyed = request(idempotency_key="k-1")
    assert build_command_id(keyed, one) == build_command_id(request(idempotency_key="k-1"), one)
    assert build_command_id(keyed, one)[14] == "8"
    assert build_command_id(keyed, one)[19] in "89ab"
    differing = {build_command_id(keyed, one), build_command_id(keyed, other), build_command_id(keyed, Caller(1, 2))}
    assert len(differing | {build_command_id(request(idempotency_key="k-2"), one)}) == 4
    unkeyed = [build_command_id(request(), one) for _ in range(100)]
    assert (unkeyed[0][14], len(set(unkeyed))) == ("7", 100)
    for wrong in ("", " ", "x" * 256, "ü"):
        with pytest.raises(ApiError):
            build_command_id(request(idempotency_key=wrong), one)


@pytest.mark.parametrize(
    ("query", "body", "status"),
    [
        (b"", b"a=" + b"x" * SMALL_BODY_BYTES_MAX, 413),
        (b"", b"&".join([b"a=1"] * (SMALL_FIELDS_MAX + 1)), 400),
        (b"&".join([b"a=1"] * (SMALL_FIELDS_MAX + 1)), b"", 400),
    ],
)
async def test_only_small_bodies_are_accepted_unless_large_ones_are_allowed(
    query: bytes, body: bytes, status: int
) -> None:
    with pytest.raises(ApiError) as refused:
        await parse_params(request(query=query.decode(), body=body, kind=FORM))
    assert refused.value.status == status


async def test_repeated_parameter_names_take_no_longer_than_distinct_ones() -> None:
    async def cpu_seconds(body: bytes) -> float:
        started_at = time.process_time()
        await parse_params(request(body=body, kind=FORM), allow_large_body=True)
        return time.process_time() - started_at

    repeated = b"&".join([b"x="] * 19_999)
    distinct = b"&".join(b"%d=" % number for number in range(19_999))
    assert (await parse_params(request(body=repeated, kind=FORM), allow_large_body=True))["x"] == [""] * 19_999
    assert await cpu_seconds(repeated) < 5 * await cpu_seconds(distinct)


async def test_repeated_parameter_name_extends_the_existing_list() -> None:
    params = await parse_params(request(body=b"a[]=1&b=2&a[]=3&b=4&b=5&b[]=6&b=7", kind=FORM))
    assert params == {"a": ["1", "3"], "b": ["2", "4", "5", "6", "7"]}
