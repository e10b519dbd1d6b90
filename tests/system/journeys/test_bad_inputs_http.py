"""Invalid requests have the statuses of the corpus and do not affect the next request."""

import asyncio
import json
import socket
import time
from typing import Any

import pytest

from services.gateway.openapi_document import OPENAPI_FILE
from tests.fixtures.bad_inputs import BAD_INPUTS, allowed_outcomes
from tests.fixtures.gateway_client import GatewayClient
from tests.fixtures.process_runner import DEADLINE_SECONDS, wait_until
from tests.fixtures.system import LMS_URL, System

Json = dict[str, Any]
MODERATOR, STRANGER = 11, 990
# Kafka is unavailable in P054: a test of the gateway's outages replays it.
ENTRIES = [e for e in BAD_INPUTS["entries"] if e["target"] == "http" and e["id"] != "P054"]
GRADE = {"submission[posted_grade]": "7", "submission[provisional]": "true"}


def authorization_header(gateway: GatewayClient, name: str) -> str:
    if name.startswith("raw:"):
        return f"Bearer {name[4:]}"
    return f"Bearer {gateway.issuer.corpus_token(name, MODERATOR if name == 'moderator' else STRANGER)}"


async def send_entry(entry: Json, gateway: GatewayClient) -> int:
    entry_request = entry["http"]
    headers = {
        **entry_request.get("headers", {}),
        "authorization": authorization_header(gateway, entry_request["token"]),
    }
    if entry.get("generator", {}).get("name") == "big_http_headers":
        headers["x-big"] = "x" * entry["generator"]["args"][0]
        return await asyncio.to_thread(send_raw_request, gateway, entry_request["path"], headers)
    if entry.get("generator", {}).get("name") == "burst":
        requests = range(entry["generator"]["args"][0])
        burst = [gateway.request("PUT", entry_request["path"], headers=headers, data=GRADE) for _ in requests]
        statuses = {answer.status_code for answer in await asyncio.gather(*burst)}
        assert len(statuses) == 1, statuses
        return statuses.pop()
    answer = await gateway.request(entry_request["method"], entry_request["path"], headers=headers)
    assert "evil.example" not in answer.text + str(answer.headers)
    assert "access-control-allow-origin" not in answer.headers
    return answer.status_code


def send_raw_request(gateway: GatewayClient, path: str, headers: Json) -> int:
    """Send a raw request and return its status, 431 if the connection ends."""
    host, _, port = gateway.url.removeprefix("http://").partition(":")
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    with socket.create_connection((host, int(port)), timeout=DEADLINE_SECONDS) as connection:
        try:
            connection.sendall(f"GET {path} HTTP/1.1\r\nhost: x\r\n{lines}\r\n".encode())
            return int(connection.recv(64).split()[1])
        except (ConnectionResetError, BrokenPipeError, IndexError):
            return 431


@pytest.mark.cases("bad requests over HTTP")
@pytest.mark.parametrize("entry", ENTRIES, ids=[f"{e['id']}-{e['description']}" for e in ENTRIES])
async def test_bad_request_has_the_status_expected_by_the_corpus(
    entry: Json, seeded: System, gateway: GatewayClient
) -> None:
    status = await send_entry(entry, gateway)
    assert str(status) in allowed_outcomes(entry)
    good = await gateway.request("GET", f"{ASSIGNMENT_PATH}/moderated_students", MODERATOR)
    assert good.status_code == 200


ASSIGNMENT_PATH = "/api/v1/courses/1001/assignments/2001"


async def test_unauthenticated_caller_cannot_probe_for_resources(seeded: System, gateway: GatewayClient) -> None:
    missing = await gateway.request("GET", f"{ASSIGNMENT_PATH}/moderated_students")
    assert missing.status_code == 401
    assert missing.json()["errors"][0]["message"] == "user authorization required"
    assert missing.json()["status"] == "unauthenticated"
    assert missing.headers["www-authenticate"] == 'Bearer realm="canvas-lms"'
    other = gateway.issuer.token(MODERATOR, root_account_id="2")
    found, unknown = [
        await gateway.request("GET", f"/api/v1/courses/{course}/assignments/2001/moderated_students",
                          headers={"authorization": f"Bearer {other}"})
        for course in (1001, 4040)
    ]  # fmt: skip
    assert (found.status_code, found.content) == (404, unknown.content)


@pytest.mark.parametrize("claims", [{"exp": 1}, {"nbf": 9_999_999_999}, {"sub": "x"}, {"root_account_id": None}])
async def test_invalid_token_claims_are_rejected(claims: Json, seeded: System, gateway: GatewayClient) -> None:
    token = gateway.issuer.token(MODERATOR, **claims)
    answer = await gateway.request(
        "GET", f"{ASSIGNMENT_PATH}/moderated_students", headers={"authorization": f"Bearer {token}"}
    )
    assert answer.status_code == 401
    assert token not in answer.text


@pytest.mark.parametrize(
    ("method", "path", "options", "status", "expected_text"),
    [
        ("PUT", "submissions/31", {"data": {"submission[posted_grade]": "7"}}, 403, "user not authorized"),
        ("PUT", "submissions/31", {"data": {**GRADE, "submission[posted_grade]": "7" * 256}}, 400, "posted_grade"),
        ("PUT", "submissions/31", {"data": {**GRADE, "submission[excuse]": "true"}}, 400, "simultaneously"),
        ("PUT", "submissions/31", {"json": {"submission": "x"}}, 400, "send submission as an object"),
        ("PUT", "submissions/31", {"data": {"submission[score]": "much"}}, 400, "plain number"),
        ("PUT", "submissions/31", {"data": {"submission[score]": "7"}}, 403, "user not authorized"),
        ("PUT", "submissions/31", {"data": {"comment[text_comment]": "x"}}, 400, "submission[provisional]=true"),
        ("PUT", "submissions/31", {"json": {"submission": {"posted_grade": True}}}, 400, "posted_grade"),
        ("PUT", "submissions/99999", {"data": GRADE}, 404, "does not exist"),
        ("PUT", "submissions/31", {"data": {**GRADE, "submission[sticker]": "star"}}, 400, "submission[sticker]"),
        ("PUT", "submissions/31", {"data": {**GRADE, "comment[attempt]": "1"}}, 400, "comment[attempt]"),
        (
            "PUT",
            "submissions/31",
            {
                "content": '{"submission": {"posted_grade": "9", "posted_grade": "8"}}',
                "headers": {"content-type": "application/json"},
            },
            400,
            "posted_grade",
        ),
        ("PUT", "submissions/31?submission[posted_grade]=8", {"data": GRADE}, 400, "submission[posted_grade]"),
        ("PUT", "submissions/31?as_user_id=21", {"data": GRADE}, 400, "as_user_id"),
        ("GET", "submissions/31?as_user_id=21", {}, 400, "as_user_id"),
        ("POST", "moderated_students", {"data": {"student_id": "31"}}, 400, "student_ids"),
        ("POST", "provisional_grades/publish", {"json": {"assignment": 1}}, 400, "assignment"),
        ("PUT", "provisional_grades/bulk_select", {"json": {"ids": [1]}}, 400, "provisional_grade_ids"),
        ("PUT", "submissions/sis_user_id:nobody", {"data": GRADE}, 404, "does not exist"),
        ("PUT", "submissions/31", {"content": "<a/>", "headers": {"content-type": "text/xml"}}, 415, "content type"),
        ("PUT", "submissions/31", {"data": {**GRADE, "comment[text_comment]": "x" * (1 << 20)}}, 413, "larger"),
        ("POST", "moderated_students", {"data": {"student_ids[]": "x"}}, 400, "student_ids[]"),
        ("POST", "moderated_students", {}, 400, "[]"),
        ("PUT", "provisional_grades/bulk_select", {}, 400, "provisional_grade_ids[]"),
        ("PUT", "provisional_grades/x/select", {}, 404, "does not exist"),
        ("GET", "provisional_grades/status", {}, 400, "student_id"),
        ("GET", "moderated_students?page=0", {}, 404, "does not exist"),
        ("DELETE", "moderated_students", {}, 405, "Method Not Allowed"),
        ("GET", "nothing", {}, 404, "does not exist"),
    ],
)
async def test_invalid_request_returns_an_explanation(
    method: str, path: str, options: Json, status: int, expected_text: str, seeded: System, gateway: GatewayClient
) -> None:
    answer = await gateway.request(method, f"{ASSIGNMENT_PATH}/{path}", MODERATOR, **options)
    assert (answer.status_code, expected_text in answer.text) == (status, True), answer.text
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    if status == 400 and path.startswith("submissions") and "as_user_id" not in path:
        assert list(answer.json()) == ["error"]


async def test_unsupported_method_lists_the_allowed_methods(seeded: System, gateway: GatewayClient) -> None:
    for path, methods in (
        ("moderated_students", "GET, HEAD, POST"), ("submissions/31", "GET, HEAD, PUT"), ("submissions", "GET, HEAD"),
        ("provisional_grades/publish", "POST"),
    ):  # fmt: skip
        answer = await gateway.request("PATCH", f"{ASSIGNMENT_PATH}/{path}", MODERATOR)
        assert (answer.status_code, answer.headers["allow"]) == (405, methods)


async def test_responses_have_canvas_headers_pagination_and_string_ids(seeded: System, gateway: GatewayClient) -> None:
    listed = await gateway.request("GET", f"{ASSIGNMENT_PATH}/moderated_students?per_page=2&page=2", MODERATOR)
    assert [user["id"] for user in listed.json()] == [33, 34]
    assert list(listed.links) == ["current", "next", "prev", "first", "last"]
    assert listed.links["next"]["url"] == f"{gateway.url}{ASSIGNMENT_PATH}/moderated_students?page=3&per_page=2"
    assert {"x-request-cost", "x-rate-limit-remaining", "x-request-context-id"} <= set(listed.headers)
    beyond = await gateway.request("GET", f"{ASSIGNMENT_PATH}/moderated_students?page=1000", MODERATOR)
    assert (beyond.status_code, beyond.json()) == (200, [])

    as_strings = {"accept": "application/json+canvas-string-ids"}
    listed = await gateway.request("GET", f"{ASSIGNMENT_PATH}/moderated_students", MODERATOR, headers=as_strings)
    assert [user["id"] for user in listed.json()[:2]] == ["31", "32"]
    graded = await gateway.request(
        "PUT", f"{ASSIGNMENT_PATH}/submissions/35", MODERATOR, data=GRADE, headers=as_strings
    )
    assert graded.json()["provisional_grades"][0]["scorer_id"] == str(MODERATOR)
    assert graded.json()["provisional_grades"][0]["speedgrader_url"].startswith(LMS_URL)
    assert graded.json()["all_submissions"][0]["id"] == graded.json()["id"]


async def test_every_body_encoding_records_the_same_grade(seeded: System, gateway: GatewayClient) -> None:
    path = f"{ASSIGNMENT_PATH}/submissions/36"
    rubric = {"rubric_assessment[_1][points]": "3"}
    sent: list[Json] = [
        {"data": {**GRADE, "comment[text_comment]": "Grüße & more", **rubric}},
        {"files": {n: (None, v) for n, v in {**GRADE, "comment[text_comment]": "Grüße & more", **rubric}.items()}},
        {
            "json": {
                "submission": {"posted_grade": 7, "provisional": True},
                "comment": {"text_comment": "Grüße & more"},
                "rubric_assessment": {"_1": {"points": "3"}},
            }
        },
    ]
    answers = [await gateway.request("PUT", path, MODERATOR, **options) for options in sent]
    for number, answer in enumerate(answers, 1):
        assert answer.status_code == 200, answer.text
        (grade,) = answer.json()["provisional_grades"]
        assert (grade["score"], grade["grade"]) == (7, "7")
        assert [comment["comment"] for comment in grade["submission_comments"]] == ["Grüße & more"] * number


async def test_score_parameter_records_a_grade(seeded: System, gateway: GatewayClient) -> None:
    sent = {"submission[score]": "6.50", "submission[provisional]": "true"}
    graded = await gateway.request("PUT", f"{ASSIGNMENT_PATH}/submissions/38", MODERATOR, data=sent)
    assert [(grade["score"], grade["grade"]) for grade in graded.json()["provisional_grades"]] == [(6.5, "6.5")]


async def test_rate_limit_applies_per_user(running_system: System, gateway: GatewayClient) -> None:
    process = running_system.create_gateway(gateway.issuer, REQUESTS_PER_MINUTE="5")
    process.start()
    await process.wait_until_ready()
    narrow = GatewayClient(process.url, gateway.issuer)
    try:
        # Requests are counted per minute of the clock: the minute must not change during the test.
        await wait_until(lambda: time.time() % 60 < 50, "a minute that has time left")
        answers = [await narrow.request("GET", f"{ASSIGNMENT_PATH}/moderated_students", 71) for _ in range(7)]
        assert [answer.status_code for answer in answers] == [answers[0].status_code] * 5 + [429] * 2
        assert [answer.headers["x-rate-limit-remaining"] for answer in answers] == list("4321000")
        assert int(answers[-1].headers["retry-after"]) >= 1
        assert answers[-1].json() == {"errors": [{"message": "Rate Limit Exceeded"}]}
        assert (await narrow.request("GET", f"{ASSIGNMENT_PATH}/moderated_students", 72)).status_code != 429
    finally:
        await narrow.http.aclose()
        process.stop()


async def test_served_openapi_document_equals_the_committed_file(gateway: GatewayClient) -> None:
    served = (await gateway.request("GET", "/openapi.json")).json()
    assert served["openapi"].startswith("3.1")
    assert served == json.loads(OPENAPI_FILE.read_text()), "run python -m services.gateway.openapi"
