"""Logs are lines of JSON without any content of a command."""

import json
import logging
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from services.eventlog.store import EventStore
from services.handler.app import FRAMEWORK_LOGGER
from services.kafka.topics import TopicConfigError
from services.telemetry.json_logging import JsonFormatter
from tests.fixtures.bad_inputs import BAD_INPUTS
from tests.fixtures.gateway_client import GatewayClient
from tests.fixtures.process_runner import Json, Process
from tests.fixtures.system import System

NAME, COMMENT, TOKEN = "Canaria Serinus", "sings before dawn, 3/10", "eyJjYW5hcnkiOiJ0b2tlbiJ9"
CANARIES = (NAME, COMMENT, TOKEN)
FIELDS = {"time", "level", "process", "logger", "message"}
TEXTS = {"name", "sortable_name", "display_name", "comment", "text_comment", "token"}
CASES = Path(__file__).parents[2] / "fixtures"


def format_error(error: BaseException, message: str, *values: object) -> Json:
    record = logging.LogRecord("faststream", logging.ERROR, "", 0, message, values, (type(error), error, None))
    text = JsonFormatter("handler").format(record)
    assert "\n" not in text
    line: Json = json.loads(text)
    return line


async def test_log_omits_row_values_from_postgresql_errors(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    log = EventStore(connection)
    await log.start_incarnation(NAME, "first")
    await connection.execute("create unique index on source (topic)")
    try:
        with pytest.raises(asyncpg.UniqueViolationError) as caught:
            await log.start_incarnation(NAME, "second")
    finally:
        await connection.close()
    error = caught.value
    assert NAME in str(error)

    line = format_error(error, f"UniqueViolationError: {error}")

    assert line["exception"]["type"] == "asyncpg.exceptions.UniqueViolationError"
    assert line["message"].startswith("UniqueViolationError: ")
    assert NAME not in json.dumps(line)


def test_framework_logger_propagates_to_the_json_formatter() -> None:
    assert (FRAMEWORK_LOGGER.handlers, FRAMEWORK_LOGGER.propagate) == ([], True)


def test_service_exceptions_keep_their_message_in_the_log() -> None:
    remedy = "topic moderation.events does not exist:\nrun moderated-grading admin create-topics"
    assert format_error(TopicConfigError(remedy), "ended")["exception"]["message"] == remedy


def lines(process: Process) -> list[str]:
    return process.log.read_text().splitlines()


def assert_no_content_logged(processes: list[Process], secrets: set[str]) -> None:
    """Check that every line is JSON with the common fields, and that none contains content of a command."""
    for process in processes:
        found = lines(process)
        assert all({"time", "level", "process", "logger", "message"} <= json.loads(line).keys() for line in found), (
            found
        )
        assert [(text, line) for line in found for text in secrets if text in line] == []


def texts(part: Any, under: str = "") -> Iterator[str]:
    """Yield names, comments and tokens anywhere in a document."""
    if isinstance(part, dict):
        for key, value in part.items():
            yield from texts(value, key)
    elif isinstance(part, list):
        for value in part:
            yield from texts(value, under)
    elif isinstance(part, str) and under in TEXTS:
        yield part


async def test_logs_contain_no_command_content(seeded: System, gateway: GatewayClient) -> None:
    bases, outside = BAD_INPUTS["bases"], seeded.client

    def command(base: str, **changes: Any) -> Json:
        return {**bases[base], "command_id": str(uuid.uuid4()), **changes}

    user = {"user_id": "902", "name": NAME}
    good = [
        command("upsert_users", data={"users": [user]}),
        command("comment", data={"student_id": "31", "comment": COMMENT}),
    ]
    refused = [
        command("comment", assignment_id="999", data={"student_id": "31", "comment": COMMENT}),
        command("upsert_users", data={"users": [{**user, NAME: COMMENT}]}),
        command("comment", data={"student_id": COMMENT, "comment": NAME}),
    ]
    for each in (*good, *refused):
        status = (await outside.send_and_wait(each))["status"]
        assert status == ("accepted" if each in good else "rejected")
    headers = [("authorization", f"Bearer {TOKEN}".encode()), (NAME, COMMENT.encode())]
    last = command("upsert_users", data={"users": [user]})
    await outside.send_raw(f'{{"name": "{NAME}", "comment": "{COMMENT}"'.encode(), NAME.encode(), headers)
    await outside.send_raw(json.dumps(last).encode(), NAME.encode(), headers)
    await outside.wait_for_verdict(last["command_id"])
    path = "/api/v1/courses/1001/assignments/2001/submissions/31"
    for token in (TOKEN, gateway.bearer(21).removeprefix("Bearer ")):
        bearer = {"authorization": f"Bearer {token}"}
        body = {"comment[text_comment]": COMMENT, "submission[provisional]": "true"}
        await gateway.request("PUT", path, headers=bearer, data=body)
        await gateway.request("PUT", path, headers=bearer, content=f'{{"comment": "{COMMENT}'.encode())
        await gateway.request("GET", f"/api/v1/courses/{NAME}?comment={COMMENT}", headers=bearer)

    corpus = {text for file in CASES.glob("*.json") for text in texts(json.loads(file.read_text())) if len(text) > 5}
    assert_no_content_logged(seeded.processes, {*CANARIES, *corpus, gateway.bearer(21).removeprefix("Bearer "), "eyJ"})
