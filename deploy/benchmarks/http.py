"""The gateway: writes from request to answer, and reads of a large assignment; open loop, as in latency."""

import asyncio
import itertools
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import httpx

from deploy.benchmarks.backlog import KEYS, TOKEN_SECONDS, require_tokens
from deploy.benchmarks.environment import Site
from deploy.benchmarks.in_process import set_up
from deploy.benchmarks.latency import PERCENTILES, working
from deploy.benchmarks.processes import Running
from deploy.benchmarks.results import Figure, Scale, Target, figure, percentile
from deploy.benchmarks.workload import FINAL_GRADER, FIRST_STUDENT, SECOND_GRADER, SELECTED_SHARE, Course
from services.auth.signer import Signer
from services.moderation.assignment import IDS_PER_ASSIGNMENT

PER_SECOND = 50
TARGETS = {
    ("write", 0.5): Target(60, at_most=True),
    ("write", 0.99): Target(200, at_most=True),
    ("read", 0.99): Target(30, at_most=True),
}
PAGE = {"include[]": "provisional_grades", "per_page": "50"}


class Ask(NamedTuple):
    """A request: who sends it, and what httpx is to make of it."""

    name: str
    user: int
    method: str
    path: str
    arguments: dict[str, Any]


async def http(site: Site, scale: Scale) -> list[Figure]:
    """50 requests a second: writes, then reads of each kind, on an assignment of 5,000 students."""
    url = site.database()
    (course,) = await set_up(url, [1_001], scale.of(5_000, 20))
    keys = require_tokens()
    async with working(site, url, **keys) as installation:
        gateway = Running("services.gateway", installation.environment)
        gateway.environment |= {
            "GATEWAY_PORT": str(gateway.port),
            "GATEWAY_URL": gateway.url,
            "LMS_URL": "http://canvas.example",
            "JWKS": str(KEYS / "users.jwks"),
            "COMMAND_KEY": str(KEYS / "gateway.key"),
            "REQUESTS_PER_MINUTE": "1000000",
        }
        signer = Signer(KEYS / "issuer.key")
        tokens = {user: signer.token(user, 1, TOKEN_SECONDS) for user in (FINAL_GRADER, SECOND_GRADER)}
        with gateway:
            await gateway.ready()
            async with httpx.AsyncClient(base_url=gateway.url, timeout=30, trust_env=False) as client:
                await _asked(client, tokens, [*_writes(course, 5), *_reads(course, 10)])
                found: dict[str, list[dict[str, list[float]]]] = {"write": [], "read": []}
                for number in range(scale.of(3, 1)):
                    count = PER_SECOND * scale.of(15, 1)
                    found["write"].append(await _asked(client, tokens, _writes(course, count, number * count)))
                    found["read"].append(await _asked(client, tokens, _reads(course, count)))
    return [
        figure(
            f"{kind}: {name}, p{share * 100:.0f}",
            "ms",
            [percentile(waits[name], share) * 1_000 for waits in rounds],
            TARGETS.get((kind, share)),
        )
        for kind, rounds in found.items()
        for name in rounds[0]
        for share in PERCENTILES
    ]


async def _asked(client: httpx.AsyncClient, tokens: dict[int, str], asks: Sequence[Ask]) -> dict[str, list[float]]:
    """Seconds from when each request was due to its answer, by name. RuntimeError where an answer is not 2xx."""
    waits: dict[str, list[float]] = {ask.name: [] for ask in asks}
    begun = time.monotonic() + 0.05

    async def ask_when_due(number: int, ask: Ask) -> None:
        due = begun + number / PER_SECOND
        await asyncio.sleep(due - time.monotonic())
        headers = {"Authorization": f"Bearer {tokens[ask.user]}"}
        answer = await client.request(ask.method, ask.path, headers=headers, **ask.arguments)
        waits[ask.name].append(time.monotonic() - due)
        if answer.status_code not in (200, 201):
            raise RuntimeError(f"{ask.method} {ask.path}: {answer.status_code} {answer.text[:200]}")

    async with asyncio.TaskGroup() as asking:
        for number, ask in enumerate(asks):
            asking.create_task(ask_when_due(number, ask))
    return waits


def _writes(course: Course, count: int, first: int = 0) -> list[Ask]:
    """Grades, and one selection in four; of students of their own, because a selected grade changes no more."""
    ((assignment, number),) = course.numbers.items()
    base = f"/api/v1/courses/{course.course_id}/assignments/{assignment}"
    graded = course.students - course.students // SELECTED_SHARE
    asks = []
    for n in range(first, first + count):
        if n % 4 == 3:
            chosen = number * IDS_PER_ASSIGNMENT + graded + n % (course.students - graded) + 1
            asks.append(Ask("selection", FINAL_GRADER, "PUT", f"{base}/provisional_grades/{chosen}/select", {}))
        else:
            sent = {"submission[posted_grade]": str(n % 101), "submission[provisional]": "true"}
            path = f"{base}/submissions/{FIRST_STUDENT + n % graded}"
            asks.append(Ask("grade", SECOND_GRADER, "PUT", path, {"data": sent}))
    return asks


def _reads(course: Course, count: int) -> list[Ask]:
    """Each kind in turn, by the moderator, on another page or student each time."""
    (assignment,) = course.numbers
    base = f"/api/v1/courses/{course.course_id}/assignments/{assignment}"
    pages = max(1, course.students // int(PAGE["per_page"]))
    kinds: Sequence[tuple[str, Callable[[int], tuple[str, dict[str, str]]]]] = (
        ("page of submissions", lambda n: ("submissions", {**PAGE, "page": str(1 + n % pages)})),
        ("page of gradeable students", lambda n: ("gradeable_students", {**PAGE, "page": str(1 + n % pages)})),
        ("page of the moderation set", lambda n: ("moderated_students", {"page": str(1 + n % pages)})),
        ("submission", lambda n: (f"submissions/{FIRST_STUDENT + n % course.students}", PAGE)),
        (
            "status of a provisional grade",
            lambda n: ("provisional_grades/status", {"student_id": str(FIRST_STUDENT + n % course.students)}),
        ),
    )
    asks = []
    for n, (name, of) in zip(range(count), itertools.cycle(kinds), strict=False):
        path, params = of(n * 7)
        asks.append(Ask(name, FINAL_GRADER, "GET", f"{base}/{path}", {"params": params}))
    return asks
