"""Latency of the gateway: writes, and reads of a large assignment; open loop, as in ``latency``."""

import asyncio
import itertools
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import httpx

from deploy.benchmarks.backlog import KEYS_FOLDER, TOKEN_LIFETIME_SECONDS, require_token_settings
from deploy.benchmarks.environment import BenchServers
from deploy.benchmarks.in_process import create_graded_courses
from deploy.benchmarks.latency import PERCENTILES, run_handler_and_relay
from deploy.benchmarks.processes import RunningProcess
from deploy.benchmarks.results import Measurement, Scale, measurement, percentile
from deploy.benchmarks.workload import FINAL_GRADER, FIRST_STUDENT, SECOND_GRADER, SELECTED_SHARE, Course
from services.auth.signer import TokenSigner
from services.moderation.ids import IDS_PER_ASSIGNMENT

REQUESTS_PER_SECOND = 50
PAGE_PARAMETERS = {"include[]": "provisional_grades", "per_page": "50"}


class BenchRequest(NamedTuple):
    """A request: its user, and what httpx sends."""

    name: str
    user_id: int
    method: str
    path: str
    arguments: dict[str, Any]


async def http(bench_servers: BenchServers, scale: Scale) -> list[Measurement]:
    """Measure 50 requests per second: writes, then reads of each kind, on an assignment of 5,000 students."""
    url = bench_servers.new_database()
    (course,) = await create_graded_courses(url, [1_001], scale.choose(5_000, 20))
    keys = require_token_settings()
    async with run_handler_and_relay(bench_servers, url, **keys) as installation:
        gateway = RunningProcess("services.gateway", installation.environment)
        gateway.environment |= {
            "GATEWAY_PORT": str(gateway.port),
            "GATEWAY_URL": gateway.url,
            "LMS_URL": "http://canvas.example",
            "JWKS": str(KEYS_FOLDER / "users.jwks"),
            "COMMAND_KEY": str(KEYS_FOLDER / "gateway.key"),
            "REQUESTS_PER_MINUTE": "1000000",
        }
        signer = TokenSigner(KEYS_FOLDER / "issuer.key")
        tokens = {user: signer.issue_token(user, 1, TOKEN_LIFETIME_SECONDS) for user in (FINAL_GRADER, SECOND_GRADER)}
        with gateway:
            await gateway.wait_until_ready()
            async with httpx.AsyncClient(base_url=gateway.url, timeout=30, trust_env=False) as client:
                await _send_requests(client, tokens, [*_write_requests(course, 5), *_read_requests(course, 10)])
                waits_by_kind: dict[str, list[dict[str, list[float]]]] = {"write": [], "read": []}
                for number in range(scale.choose(3, 1)):
                    count = REQUESTS_PER_SECOND * scale.choose(15, 1)
                    waits_by_kind["write"].append(
                        await _send_requests(client, tokens, _write_requests(course, count, number * count))
                    )
                    waits_by_kind["read"].append(await _send_requests(client, tokens, _read_requests(course, count)))
    return [
        measurement(
            f"{kind}: {name}, p{share * 100:.0f}",
            "ms",
            [percentile(waits[name], share) * 1_000 for waits in rounds],
        )
        for kind, rounds in waits_by_kind.items()
        for name in rounds[0]
        for share in PERCENTILES
    ]


async def _send_requests(
    client: httpx.AsyncClient, tokens: dict[int, str], requests: Sequence[BenchRequest]
) -> dict[str, list[float]]:
    """Return the seconds from each request's due time to its response, by name. RuntimeError unless all are 2xx."""
    waits: dict[str, list[float]] = {request.name: [] for request in requests}
    started_at = time.monotonic() + 0.05

    async def send_when_due(number: int, request: BenchRequest) -> None:
        due_at = started_at + number / REQUESTS_PER_SECOND
        await asyncio.sleep(due_at - time.monotonic())
        headers = {"Authorization": f"Bearer {tokens[request.user_id]}"}
        response = await client.request(request.method, request.path, headers=headers, **request.arguments)
        waits[request.name].append(time.monotonic() - due_at)
        if response.status_code not in (200, 201):
            raise RuntimeError(f"{request.method} {request.path}: {response.status_code} {response.text[:200]}")

    async with asyncio.TaskGroup() as task_group:
        for number, request in enumerate(requests):
            task_group.create_task(send_when_due(number, request))
    return waits


def _write_requests(course: Course, count: int, first: int = 0) -> list[BenchRequest]:
    """Build grades, and one selection in four; of different students, because a selected grade cannot change."""
    ((assignment, number),) = course.stream_numbers.items()
    base = f"/api/v1/courses/{course.course_id}/assignments/{assignment}"
    graded = course.students - course.students // SELECTED_SHARE
    requests = []
    for n in range(first, first + count):
        if n % 4 == 3:
            provisional_grade_id = number * IDS_PER_ASSIGNMENT + graded + n % (course.students - graded) + 1
            requests.append(
                BenchRequest(
                    "selection", FINAL_GRADER, "PUT", f"{base}/provisional_grades/{provisional_grade_id}/select", {}
                )
            )
        else:
            form = {"submission[posted_grade]": str(n % 101), "submission[provisional]": "true"}
            path = f"{base}/submissions/{FIRST_STUDENT + n % graded}"
            requests.append(BenchRequest("grade", SECOND_GRADER, "PUT", path, {"data": form}))
    return requests


def _read_requests(course: Course, count: int) -> list[BenchRequest]:
    """Build reads of each kind in turn, by the moderator, each of another page or student."""
    (assignment,) = course.stream_numbers
    base = f"/api/v1/courses/{course.course_id}/assignments/{assignment}"
    pages = max(1, course.students // int(PAGE_PARAMETERS["per_page"]))
    kinds: Sequence[tuple[str, Callable[[int], tuple[str, dict[str, str]]]]] = (
        ("page of submissions", lambda n: ("submissions", {**PAGE_PARAMETERS, "page": str(1 + n % pages)})),
        (
            "page of gradeable students",
            lambda n: ("gradeable_students", {**PAGE_PARAMETERS, "page": str(1 + n % pages)}),
        ),
        ("page of the moderation set", lambda n: ("moderated_students", {"page": str(1 + n % pages)})),
        ("submission", lambda n: (f"submissions/{FIRST_STUDENT + n % course.students}", PAGE_PARAMETERS)),
        (
            "status of a provisional grade",
            lambda n: ("provisional_grades/status", {"student_id": str(FIRST_STUDENT + n % course.students)}),
        ),
    )
    requests = []
    for n, (name, build_path) in zip(range(count), itertools.cycle(kinds), strict=False):
        path, params = build_path(n * 7)
        requests.append(BenchRequest(name, FINAL_GRADER, "GET", f"{base}/{path}", {"params": params}))
    return requests
