"""Random tokens, requests and commands: no server error, no leak, no stall.

``--fuzz-seconds`` sets the duration of each, ``--seed`` the random numbers; a failure shows what was sent.
"""

import base64
import json
import random
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from tests.fixtures.bad_inputs import BAD_INPUTS
from tests.fixtures.canvas.adapter import World
from tests.fixtures.canvas.course_client import CourseClient, moderated_course_commands
from tests.fixtures.curious_grader import find_words
from tests.fixtures.gateway_client import GatewayClient
from tests.fixtures.openapi_requests import Operation, load_operations
from tests.fixtures.system import System

Json = dict[str, Any]
STRANGER = "a stranger"
ANSWER_SECONDS_MAX = 30
"""A request that takes longer stalls the gateway; machines of tests may be slow."""
ODD_TEXTS = (
    "", "0", "-1", "1e3", "9223372036854775807", "9223372036854775808", "self", "sis_user_id:", "hex:sis_user_id:zz",
    "%00", "%2F", "..", "\u202e", "\uff11\uff12", "null", "true", "[]", "{}", "a" * 300, "'; drop table event; --",
    "<script>", "\U0001f4a9",
)  # fmt: skip
ODD_VALUES: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    1.5,
    1e308,
    2**63,
    [],
    {},
    [[]],
    {"a": {"b": []}},
    ["1"] * 600,
    *ODD_TEXTS,
)
BODY_TYPES = (
    "application/json",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "text/xml",
    "",
)


@pytest.fixture
def seconds(pytestconfig: pytest.Config) -> float:
    return float(pytestconfig.getoption("--fuzz-seconds"))


@pytest.fixture
def chance(pytestconfig: pytest.Config) -> random.Random:
    return random.Random(int(pytestconfig.getoption("--seed")))


@pytest.fixture(scope="module")
async def course_client(running_system: System, gateway: GatewayClient) -> CourseClient:
    client = CourseClient(World(), running_system, gateway)
    await client.send_accepted(*moderated_course_commands(client.world))
    return client


def until(seconds: float) -> Iterator[int]:
    """Count until the time is up, at least to a hundred."""
    deadline, number = time.monotonic() + seconds, 0
    while number < 100 or time.monotonic() < deadline:
        yield number
        number += 1


async def check_answer(sent: object, answer: httpx.Response) -> None:
    assert answer.status_code < 500 or answer.status_code == 503, (sent, answer.text)
    assert answer.elapsed.total_seconds() < ANSWER_SECONDS_MAX, sent
    assert "Traceback" not in answer.text, (sent, answer.text)


def mutate(chance: random.Random, text: str) -> str:
    """Change, drop, repeat or swap some characters of a token."""
    place = chance.randrange(len(text))
    change: Callable[[], str] = chance.choice(
        [
            lambda: text[:place] + chance.choice("Aa0_-.=~") + text[place + 1 :],
            lambda: text[:place] + text[place + 1 :],
            lambda: text[:place] + text[place] + text[place:],
            lambda: text[:place],
            lambda: ".".join(chance.sample(text.split("."), 3)),
        ]
    )
    return change()


def forge(chance: random.Random, good: str) -> str:
    """Return a token with changed claims or header under the valid token's signature."""
    head, claims, signature = good.split(".")
    parts = [json.loads(base64.urlsafe_b64decode(part + "==")) for part in (head, claims)]
    part = chance.choice(parts)
    part[chance.choice([*part, "jku", "jwk", "crit", "command_sha256", "aud"])] = chance.choice(ODD_VALUES)
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts]
    return ".".join([*encoded, chance.choice([signature, "", "AAAA"])])


async def test_random_tokens_are_refused(course_client: CourseClient, chance: random.Random, seconds: float) -> None:
    gateway, world = course_client.gateway, course_client.world
    path = f"/api/v1/courses/{world.course_id}"
    good = gateway.bearer(int(world.user_id("fg"))).removeprefix("Bearer ")
    for _ in until(seconds):
        token = forge(chance, good) if chance.random() < 0.5 else mutate(chance, good)
        answer = await gateway.request("GET", path, headers={"authorization": f"Bearer {token}".strip().encode()})
        await check_answer(token, answer)
        same_bytes = [part.rstrip("=") for part in token.split(".")[:2]] == good.split(".")[:2]
        assert answer.status_code == 401 or (same_bytes and answer.status_code == 200), (token, answer.text)


def random_request(chance: random.Random, operation: Operation, values: Json) -> tuple[str, str, Json]:
    """Build a request to an operation, with known and unusual values in path, query, headers and body."""

    def pick(name: str) -> Any:
        return chance.choice(values[name]) if name in values and chance.random() < 0.6 else chance.choice(ODD_TEXTS)

    path = "/".join(
        httpx.URL("http://x").copy_with(path="/" + str(pick(part.strip("{}")))).raw_path.decode()[1:]
        if part.startswith("{")
        else part
        for part in operation.path.split("/")
    )
    params = [(name, str(pick(name))) for name in operation.query if chance.random() < 0.4]
    options: Json = {"params": params, "headers": {"content-type": chance.choice(BODY_TYPES)}}
    if not operation.is_read or chance.random() < 0.1:
        body = {name: chance.choice([pick(name), chance.choice(ODD_VALUES)]) for name in operation.fields}
        content = json.dumps(body, allow_nan=False)
        options["content"] = content.encode() if chance.random() < 0.8 else chance.randbytes(40)
    return operation.method, path, options


async def test_random_requests_neither_fail_nor_leak(
    course_client: CourseClient, chance: random.Random, seconds: float
) -> None:
    gateway, world = course_client.gateway, course_client.world
    values: Json = {
        "course_id": [world.course_id],
        "assignment_id": [world.assignment_id("a1")],
        "user_id": [world.user_id("s1"), "sis_login_id:s1@x.org"],
        "student_id": [world.user_id("s1")],
        "student_ids": [[world.user_id("s1")]],
    }
    operations = [one for one in load_operations() if one.operation_id != "publish_provisional_grades"]
    personal = [f"Named s{number}" for number in range(6)] + [f"s{number}@x.org" for number in range(6)]
    for number in until(seconds):
        method, path, options = random_request(chance, chance.choice(operations), values)
        caller = chance.choice([STRANGER, "s2", "ta1", "fg"])
        sent = (caller, method, path, options)
        answer = await gateway.request(method, path, int(world.user_id(caller)), **options)
        await check_answer(sent, answer)
        asked = f"{path} {options}"
        if caller == STRANGER:
            assert [word for word in find_words(personal, answer.text) if word not in asked] == [], (sent, answer.text)
        if number % 50 == 0:
            live = await gateway.request("GET", "/health/live")
            assert live.status_code == 200
            await check_answer("live", live)


def random_command(chance: random.Random, world: World) -> bytes:
    """Build a command of the contract with one or two errors, or a value that is not a command."""
    base: Json = json.loads(json.dumps(chance.choice(list(BAD_INPUTS["bases"].values()))))
    base |= {"command_id": str(uuid.UUID(int=chance.getrandbits(128), version=4)), "course_id": str(world.course_id)}
    for _ in range(chance.randint(0, 2)):
        data = base.get("data")
        target = chance.choice([base, data]) if isinstance(data, dict) and data else base
        target[chance.choice([*target, "more"])] = chance.choice(ODD_VALUES)
    value = json.dumps(base).encode()
    if chance.random() < 0.3:
        place = chance.randrange(len(value))
        value = value[:place] + chance.randbytes(chance.randint(0, 8)) + value[place + chance.randint(0, 8) :]
    return value


async def test_random_commands_stop_no_handler(running_system: System, chance: random.Random, seconds: float) -> None:
    world = World()
    running = [process for process in running_system.processes if process.popen is not None]
    logged = {process.log: process.log.stat().st_size for process in running}
    for number in until(seconds):
        headers = [("authorization", chance.randbytes(20))] if chance.random() < 0.2 else []
        await running_system.client.send_raw(random_command(chance, world), str(world.course_id).encode(), headers)
        if number % 100 == 99:
            last = world.command("upsert_course", {"name": f"after {number}"})
            assert (await running_system.client.send_and_wait(last))["status"] in ("accepted", "rejected")
    last = world.command("upsert_course", {"name": "the last"})
    assert (await running_system.client.send_and_wait(last))["status"] == "accepted"
    for process in running:
        assert process.get_readiness() == (200, "ready"), process.name
        assert b"Traceback" not in process.log.read_bytes()[logged[process.log] :], process.name
