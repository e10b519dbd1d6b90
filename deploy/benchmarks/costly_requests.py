"""CPU time of a gateway for the costliest requests of a caller without write permission, and for ordinary reads."""

import json
from dataclasses import dataclass, field
from typing import Any

import httpx

from deploy.benchmarks.backlog import KEYS_FOLDER, TOKEN_LIFETIME_SECONDS, require_token_settings
from deploy.benchmarks.environment import BenchServers
from deploy.benchmarks.in_process import create_graded_courses
from deploy.benchmarks.latency import run_handler_and_relay
from deploy.benchmarks.processes import RunningProcess, processor_seconds
from deploy.benchmarks.results import Measurement, Scale, Target, measurement, ratio
from deploy.benchmarks.workload import FINAL_GRADER, FIRST_STUDENT
from services.auth.signer import TokenSigner
from services.gateway.rails_params import SMALL_BODY_BYTES_MAX, SMALL_FIELDS_MAX

FORM = {"content-type": "application/x-www-form-urlencoded"}
JSON = {"content-type": "application/json"}
ORDINARY_READ = "submission, read by the moderator"
WORST_TARGET = Target(5, at_most=True)
"""An ordinary read takes at most 4 ms of processor time, so that no request of a student takes 20."""


@dataclass(frozen=True, slots=True)
class CostlyRequest:
    """A request: its user, and what httpx sends."""

    name: str
    user_id: int
    method: str
    path: str
    headers: dict[str, str] = field(default_factory=dict)
    content: bytes = b""


def build_requests(assignment_path: str) -> list[CostlyRequest]:
    """Build an ordinary read first, then a student's requests at each limit."""
    own = f"{assignment_path}/submissions/{FIRST_STUDENT}"
    users = f"{assignment_path.rpartition('/assignments')[0]}/users"
    student = FIRST_STUDENT
    names = b"&".join(b"a%d[b][c][]=1" % number for number in range(SMALL_FIELDS_MAX))
    nested = b"[" * 30 + b"]" * 30
    value = b'{"submission":{"posted_grade":[' + b",".join([nested] * (SMALL_BODY_BYTES_MAX // 62)) + b"]}}"
    assert json.loads(value)
    assert max(len(names), len(value)) <= SMALL_BODY_BYTES_MAX
    return [
        CostlyRequest(ORDINARY_READ, FINAL_GRADER, "GET", f"{own}?include[]=provisional_grades"),
        CostlyRequest("form of one repeated name", student, "PUT", own, FORM, b"x&" * (SMALL_FIELDS_MAX - 1)),
        CostlyRequest("form of nested names", student, "PUT", own, FORM, names),
        CostlyRequest("JSON of nested lists", student, "PUT", own, JSON, value),
        CostlyRequest("body over the limit", student, "PUT", own, FORM, b"x&" * SMALL_BODY_BYTES_MAX),
        CostlyRequest("query of one repeated name", student, "GET", f"{own}?{'x&' * (SMALL_FIELDS_MAX - 1)}"),
        CostlyRequest("query over the limit", student, "GET", f"{own}?{'x&' * 12_000}"),
        CostlyRequest("many headers", student, "GET", own, {f"x{number}": "1" for number in range(150)}),
        CostlyRequest("page of submissions", student, "GET", f"{assignment_path}/submissions?per_page=100"),
        CostlyRequest("search of users", student, "GET", f"{users}?search_term=a"),
    ]  # fmt: skip


async def costly_requests(bench_servers: BenchServers, scale: Scale) -> list[Measurement]:
    """Measure each request in turn, in rounds; the assignment has 1,000 students."""
    url = bench_servers.new_database()
    (course,) = await create_graded_courses(url, [1_001], scale.choose(1_000, 20))
    (assignment,) = course.stream_numbers
    requests = build_requests(f"/api/v1/courses/{course.course_id}/assignments/{assignment}")
    require_token_settings()
    signer = TokenSigner(KEYS_FOLDER / "issuer.key")
    async with run_handler_and_relay(bench_servers, url) as installation:
        gateway = RunningProcess("services.gateway", installation.environment)
        gateway.environment |= {
            "GATEWAY_PORT": str(gateway.port),
            "GATEWAY_URL": gateway.url,
            "LMS_URL": "http://canvas.example",
            "JWKS": str(KEYS_FOLDER / "users.jwks"),
            "REQUESTS_PER_MINUTE": "1000000",
        }
        with gateway:
            await gateway.wait_until_ready()
            async with httpx.AsyncClient(base_url=gateway.url, timeout=30, trust_env=False) as client:
                values: dict[str, list[float]] = {request.name: [] for request in requests}
                for number in range(scale.choose(6, 2)):
                    for request in requests:
                        token = signer.issue_token(request.user_id, 1, TOKEN_LIFETIME_SECONDS)
                        value = await _measure(client, gateway.pid, request, token, scale.choose(200, 20))
                        if number:
                            values[request.name].append(value)
    worst = [max(each) for each in zip(*(values[request.name] for request in requests[1:]), strict=True)]
    return [
        *(measurement(name, "ms of processor time", each) for name, each in values.items()),
        ratio(
            "the costliest of a student's, to the ordinary read", "times", worst, values[ORDINARY_READ], WORST_TARGET
        ),
    ]


async def _measure(client: httpx.AsyncClient, pid: int, request: CostlyRequest, token: str, count: int) -> float:
    """Return the milliseconds of CPU time for a request. Raises RuntimeError if the response is 5xx."""
    started_at = processor_seconds(pid)
    options: dict[str, Any] = {"content": request.content} if request.content else {}
    for _ in range(count):
        headers = {"authorization": f"Bearer {token}", **request.headers}
        response = await client.request(request.method, request.path, headers=headers, **options)
        if response.status_code >= 500:
            raise RuntimeError(f"{request.name}: {response.status_code} {response.text[:200]}")
    # The CPU clock of a process ticks every 10 ms.
    return max((processor_seconds(pid) - started_at) * 1_000 / count, 0.01)
