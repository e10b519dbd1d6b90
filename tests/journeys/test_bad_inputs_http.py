"""Bad requests: the statuses that the corpus expects, and nothing broken for who asks next."""

import asyncio
import json
import socket
import time
from typing import Any

import pytest

from services.gateway.openapi import OPENAPI_FILE
from tests.cases.bad_inputs import DOCUMENT
from tests.conftest import LMS_URL, System
from tests.processes.client import Client
from tests.processes.running import DEADLINE_SECONDS, until

Json = dict[str, Any]
MODERATOR, NOBODY = 11, 990
# Kafka is away in P054: it stands with the faults.
ENTRIES = [e for e in DOCUMENT["entries"] if e["target"] == "http" and e["id"] != "P054"]
GRADE = {"submission[posted_grade]": "7", "submission[provisional]": "true"}


def authorization(gateway: Client, name: str) -> str:
    if name.startswith("raw:"):
        return f"Bearer {name[4:]}"
    return f"Bearer {gateway.issuer.named(name, MODERATOR if name == 'moderator' else NOBODY)}"


async def status_of(entry: Json, gateway: Client) -> int:
    asked = entry["http"]
    headers = {**asked.get("headers", {}), "authorization": authorization(gateway, asked["token"])}
    if entry.get("generator", {}).get("name") == "big_http_headers":
        headers["x-big"] = "x" * entry["generator"]["args"][0]
        return await asyncio.to_thread(raw_status, gateway, asked["path"], headers)
    if entry.get("generator", {}).get("name") == "burst":
        burst = [gateway.ask("PUT", asked["path"], headers=headers, data=GRADE) for _ in range(200)]
        statuses = {answer.status_code for answer in await asyncio.gather(*burst)}
        assert len(statuses) == 1, statuses
        return statuses.pop()
    answer = await gateway.ask(asked["method"], asked["path"], headers=headers)
    assert "evil.example" not in answer.text + str(answer.headers)
    assert "access-control-allow-origin" not in answer.headers
    return answer.status_code


def raw_status(gateway: Client, path: str, headers: Json) -> int:
    """Status of a request that no well-behaved client sends; 431 too where the connection ends."""
    host, _, port = gateway.url.removeprefix("http://").partition(":")
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    with socket.create_connection((host, int(port)), timeout=DEADLINE_SECONDS) as connection:
        try:
            connection.sendall(f"GET {path} HTTP/1.1\r\nhost: x\r\n{lines}\r\n".encode())
            return int(connection.recv(64).split()[1])
        except (ConnectionResetError, BrokenPipeError, IndexError):
            return 431


@pytest.mark.parametrize("entry", ENTRIES, ids=[f"{e['id']}-{e['description']}" for e in ENTRIES])
async def test_a_bad_request_has_the_status_that_the_corpus_expects(
    entry: Json, seeded: System, gateway: Client
) -> None:
    status = await status_of(entry, gateway)
    assert str(status) in [entry["expected"], *entry.get("also_ok", ())]
    good = await gateway.ask("GET", f"{PATH}/moderated_students", MODERATOR)
    assert good.status_code == 200


PATH = "/api/v1/courses/1001/assignments/2001"


async def test_who_is_not_known_learns_nothing(seeded: System, gateway: Client) -> None:
    missing = await gateway.ask("GET", f"{PATH}/moderated_students")
    assert missing.status_code == 401
    assert missing.json()["errors"][0]["message"] == "user authorization required"
    assert missing.json()["status"] == "unauthenticated"
    assert missing.headers["www-authenticate"] == 'Bearer realm="canvas-lms"'
    other = gateway.issuer.token(MODERATOR, root_account_id="2")
    found, unknown = [
        await gateway.ask("GET", f"/api/v1/courses/{course}/assignments/2001/moderated_students",
                          headers={"authorization": f"Bearer {other}"})
        for course in (1001, 4040)
    ]  # fmt: skip
    assert (found.status_code, found.content) == (404, unknown.content)


@pytest.mark.parametrize("claims", [{"exp": 1}, {"nbf": 9_999_999_999}, {"sub": "x"}, {"root_account_id": None}])
async def test_a_token_that_does_not_hold_is_refused(claims: Json, seeded: System, gateway: Client) -> None:
    token = gateway.issuer.token(MODERATOR, **claims)
    answer = await gateway.ask("GET", f"{PATH}/moderated_students", headers={"authorization": f"Bearer {token}"})
    assert answer.status_code == 401
    assert token not in answer.text


@pytest.mark.parametrize(
    ("method", "path", "options", "status", "said"),
    [
        ("PUT", "submissions/31", {"data": {"submission[posted_grade]": "7"}}, 403, "user not authorized"),
        ("PUT", "submissions/31", {"data": {**GRADE, "submission[posted_grade]": "7" * 256}}, 400, "posted_grade"),
        ("PUT", "submissions/31", {"data": {**GRADE, "submission[excuse]": "true"}}, 400, "simultaneously"),
        ("PUT", "submissions/31", {"json": {"submission": "x"}}, 400, "send submission as an object"),
        ("PUT", "submissions/31", {"data": {"submission[score]": "much"}}, 400, "plain number"),
        ("PUT", "submissions/31", {"data": {"submission[score]": "7"}}, 403, "user not authorized"),
        ("PUT", "submissions/31", {"data": {"comment[text_comment]": "x"}}, 400, "submission[provisional]=true"),
        ("PUT", "submissions/31", {"json": {"submission": {"posted_grade": True}}}, 400, "posted_grade"),
        ("PUT", "submissions/99999", {"data": GRADE}, 400, "enrolled"),
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
async def test_a_wrong_request_is_told_what_is_wrong(
    method: str, path: str, options: Json, status: int, said: str, seeded: System, gateway: Client
) -> None:
    answer = await gateway.ask(method, f"{PATH}/{path}", MODERATOR, **options)
    assert (answer.status_code, said in answer.text) == (status, True), answer.text
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    if status == 400 and path.startswith("submissions"):
        assert list(answer.json()) == ["error"]


async def test_a_method_that_a_path_does_not_know_is_told_which_it_does(seeded: System, gateway: Client) -> None:
    for path, methods in (("moderated_students", "GET, POST"), ("submissions/31", "GET, PUT"), ("submissions", "GET")):
        answer = await gateway.ask("PATCH", f"{PATH}/{path}", MODERATOR)
        assert (answer.status_code, answer.headers["allow"]) == (405, methods)


async def test_answers_have_canvas_manners(seeded: System, gateway: Client) -> None:
    listed = await gateway.ask("GET", f"{PATH}/moderated_students?per_page=2&page=2", MODERATOR)
    assert [user["id"] for user in listed.json()] == [33, 34]
    assert list(listed.links) == ["current", "next", "prev", "first", "last"]
    assert listed.links["next"]["url"] == f"{gateway.url}{PATH}/moderated_students?page=3&per_page=2"
    assert {"x-request-cost", "x-rate-limit-remaining", "x-request-context-id"} <= set(listed.headers)
    beyond = await gateway.ask("GET", f"{PATH}/moderated_students?page=1000", MODERATOR)
    assert (beyond.status_code, beyond.json()) == (200, [])

    as_strings = {"accept": "application/json+canvas-string-ids"}
    listed = await gateway.ask("GET", f"{PATH}/moderated_students", MODERATOR, headers=as_strings)
    assert [user["id"] for user in listed.json()[:2]] == ["31", "32"]
    graded = await gateway.ask("PUT", f"{PATH}/submissions/35", MODERATOR, data=GRADE, headers=as_strings)
    assert graded.json()["provisional_grades"][0]["scorer_id"] == str(MODERATOR)
    assert graded.json()["provisional_grades"][0]["speedgrader_url"].startswith(LMS_URL)
    assert graded.json()["all_submissions"][0]["id"] == graded.json()["id"]


async def test_the_same_grade_arrives_in_every_encoding(seeded: System, gateway: Client) -> None:
    path = f"{PATH}/submissions/36"
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
    answers = [await gateway.ask("PUT", path, MODERATOR, **options) for options in sent]
    for number, answer in enumerate(answers, 1):
        assert answer.status_code == 200, answer.text
        (grade,) = answer.json()["provisional_grades"]
        assert (grade["score"], grade["grade"]) == (7, "7")
        assert [comment["comment"] for comment in grade["submission_comments"]] == ["Grüße & more"] * number


async def test_a_score_is_taken_as_a_grade_is(seeded: System, gateway: Client) -> None:
    sent = {"submission[score]": "6.50", "submission[provisional]": "true"}
    graded = await gateway.ask("PUT", f"{PATH}/submissions/38", MODERATOR, data=sent)
    assert [(grade["score"], grade["grade"]) for grade in graded.json()["provisional_grades"]] == [(6.5, "6.5")]


async def test_a_user_who_asks_too_much_waits_and_others_do_not(running: System, gateway: Client) -> None:
    process = running.gateway(gateway.issuer, REQUESTS_PER_MINUTE="5")
    process.start()
    await process.ready()
    narrow = Client(process.url, gateway.issuer)
    try:
        # What is asked is counted by the minutes of the clock: it must not turn meanwhile.
        await until(lambda: time.time() % 60 < 50, "a minute that has time left")
        answers = [await narrow.ask("GET", f"{PATH}/moderated_students", 71) for _ in range(7)]
        assert [answer.status_code for answer in answers] == [answers[0].status_code] * 5 + [429] * 2
        assert [answer.headers["x-rate-limit-remaining"] for answer in answers] == list("4321000")
        assert int(answers[-1].headers["retry-after"]) >= 1
        assert answers[-1].json() == {"errors": [{"message": "Rate Limit Exceeded"}]}
        assert (await narrow.ask("GET", f"{PATH}/moderated_students", 72)).status_code != 429
    finally:
        await narrow.http.aclose()
        process.stop()


async def test_the_openapi_document_is_the_one_that_is_checked_in(gateway: Client) -> None:
    served = (await gateway.ask("GET", "/openapi.json")).json()
    assert served["openapi"].startswith("3.1")
    assert served == json.loads(OPENAPI_FILE.read_text()), "run python -m services.gateway.openapi"
