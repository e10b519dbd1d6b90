"""What a refusal or failure of the gateway says about the command that was sent."""

import uuid

import httpx2
import pytest
from fastapi import Request

from services.console.gateway_client import GatewayUnavailable, read_answer, request_gateway
from services.console.web.moderation_commands import build_request_headers

UNKNOWN = "The command may still be decided"


async def test_gateway_that_does_not_answer_received_nothing_and_its_url_is_not_shown() -> None:
    with pytest.raises(GatewayUnavailable, match="does not answer .*: nothing was changed, try again$") as refused:
        await request_gateway("http://127.0.0.1:1", "token", "POST", "/", headers={})
    assert "127.0.0.1" not in str(refused.value)


@pytest.mark.parametrize(
    ("method", "response", "message"),
    [
        (
            "POST",
            httpx2.Response(
                503, json={"message": "Kafka does not answer: nothing was changed, send the request again"}
            ),
            "Kafka does not answer: nothing was changed, send the request again",
        ),
        ("POST", httpx2.Response(503, text="<html>"), f"the gateway answered with status 503. {UNKNOWN}"),
        ("POST", httpx2.Response(500, json={"message": "Internal error"}), f"Internal error. {UNKNOWN}"),
        ("GET", httpx2.Response(500, json={"message": "Internal error"}), "Internal error"),
    ],
)
def test_outcome_is_called_unknown_only_if_it_is(method: str, response: httpx2.Response, message: str) -> None:
    with pytest.raises(GatewayUnavailable) as failed:
        read_answer(method, response)
    assert str(failed.value).partition(":" if UNKNOWN in message else "\n")[0] == message


def test_command_without_a_verdict_is_named() -> None:
    with pytest.raises(GatewayUnavailable, match=f"no verdict of command c1 yet. {UNKNOWN}") as pending:
        read_answer("POST", httpx2.Response(202, json={"command_id": "c1"}))
    assert pending.value.command_id == "c1"


def test_refusal_has_all_texts_of_its_errors() -> None:
    errors = [{"message": "Invalid access token."}, {"message": "the token has expired: get a new one"}]
    answer = read_answer("POST", httpx2.Response(401, json={"status": "unauthenticated", "errors": errors}))
    assert answer.message == "Invalid access token; the token has expired: get a new one"


def test_headers_of_a_browser_are_sent_in_ascii() -> None:
    sent = [(b"user-agent", b"a browser, 2\xe9")]
    request = Request({"type": "http", "headers": sent, "client": ("203.0.113.9", 1)})
    action = uuid.uuid4()
    assert build_request_headers(request, action) == {
        "Idempotency-Key": str(action),
        "User-Agent": "a browser, 2?",
        "X-Forwarded-For": "203.0.113.9",
    }
