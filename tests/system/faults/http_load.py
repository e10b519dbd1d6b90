"""The HTTP half of the load: grades through the gateways, retried with their Idempotency-Key until they are answered,
and reads of states after verdicts."""

import itertools
import json
import random
import threading
import time
from collections.abc import Iterator

import httpx

from tests.fixtures.process_runner import Process
from tests.system.faults.course_load import AUDITOR, FIRST_STUDENT, SECOND_TA, STUDENTS, CourseLoad, Json
from tests.system.faults.installation import Installation
from tests.system.faults.load import PROBE_SECONDS_MAX, Load

PAUSE_SECONDS, PROBE_PAUSE_SECONDS = 0.4, 0.05
TIMEOUT_SECONDS = 20
TOKEN_SECONDS = 80_000
HTTP_ASSIGNMENT = 20_000


class HttpLoad:
    """Grades an assignment of each course through alternating gateways, and reads states in between."""

    def __init__(self, load: Load, seed: int) -> None:
        self.installation: Installation = load.installation
        self.load = load
        self.answered = 0
        self._chance = random.Random(f"{seed} http")
        self._ended, self._running, self._busy = threading.Event(), threading.Event(), threading.Lock()
        self._tokens: dict[tuple[int, int], str] = {}
        self._awaited: set[str] = set()
        self._numbers = itertools.count(1)
        self._thread = threading.Thread(target=self._work, daemon=True)

    def start(self) -> None:
        """Send the assignments that are graded over HTTP, then start; they are graded once they exist."""
        for course in self.load.courses:
            assignment = course.configure(course.base + HTTP_ASSIGNMENT)
            self._awaited.add(assignment["command_id"])
            self.load.send(assignment)
        self._running.set()
        self._thread.start()

    def pause(self) -> None:
        """Start no new request, and wait until the current one is answered."""
        self._running.clear()
        with self._busy:
            pass

    def resume(self) -> None:
        self._running.set()

    def stop(self) -> None:
        """Start no new request; abandon an unanswered one."""
        self._ended.set()
        self._running.set()
        self._thread.join(TIMEOUT_SECONDS + 5)

    def _work(self) -> None:
        while not self._awaited <= self.installation.verdicts.keys():
            if self._ended.wait(PAUSE_SECONDS):
                return
        with httpx.Client(timeout=TIMEOUT_SECONDS) as client:
            while not self._ended.wait(PAUSE_SECONDS):
                self._running.wait()
                with self._busy:
                    course = self._chance.choice(self.load.courses)
                    self._grade(client, course, self._gateways())
                    self.read_state(client, course, self._chance.choice(course.assignments))

    def _gateways(self) -> Iterator[Process]:
        gateways = self.installation.of("gateway")
        return itertools.cycle(self._chance.sample(gateways, len(gateways)))

    def probe(self, gateway: Process) -> float:
        """Grade through one gateway until it answers; return the seconds that it took. Raises TimeoutError."""
        started_at = time.monotonic()

        def until_late() -> Iterator[Process]:
            while time.monotonic() < started_at + PROBE_SECONDS_MAX:
                yield gateway
            raise TimeoutError(f"not within {PROBE_SECONDS_MAX} s: an answer of {gateway.log.stem}")

        with httpx.Client(timeout=TIMEOUT_SECONDS) as client:
            self._grade(client, self.load.courses[0], until_late(), PROBE_PAUSE_SECONDS)
        return time.monotonic() - started_at

    def _grade(
        self, client: httpx.Client, course: CourseLoad, gateways: Iterator[Process], pause: float = PAUSE_SECONDS
    ) -> None:
        number = next(self._numbers)
        student = course.base + self._chance.randrange(FIRST_STUDENT, FIRST_STUDENT + STUDENTS)
        path = f"/api/v1/courses/{course.course}/assignments/{course.base + HTTP_ASSIGNMENT}/submissions/{student}"
        form = {"submission[posted_grade]": str(self._chance.randrange(21)), "submission[provisional]": "true"}
        headers = {"idempotency-key": f"grade {number}"}
        for gateway in gateways:
            status, body = self._request(client, gateway, "PUT", path, course, SECOND_TA, headers=headers, data=form)
            self.installation.history.add("http_attempt", number=number, status=status, gateway=gateway.log.stem)
            if status not in (0, 202, 502, 503):
                self.answered += 1
                self.installation.history.add("http", number=number, status=status, body=body[:300])
                return
            if self._ended.wait(pause):
                return

    def read_state(self, client: httpx.Client, course: CourseLoad, assignment: int) -> Json | None:
        """Read a state as an auditor and note its version; None if it does not exist yet, or no gateway answers."""
        gateway = next(self._gateways())
        line = self.installation.history.add("state_requested", assignment=f"{course.root_account}/{assignment}")
        path = f"/api/moderation/v1/assignments/{assignment}/state"
        status, body = self._request(client, gateway, "GET", path, course, AUDITOR)
        if status != 200:
            return None
        document: Json = json.loads(body)
        seen = {"started_at": line["at"], "version": document["version"]}
        self.installation.history.add("state", assignment=line["assignment"], **seen)
        return document

    def _request(
        self, client: httpx.Client, gateway: Process, method: str, path: str, course: CourseLoad, user: int,
        headers: dict[str, str] | None = None, data: dict[str, str] | None = None,
    ) -> tuple[int, str]:  # fmt: skip
        """Return status and text of the answer; 0 if there was none."""
        key = (course.base + user, course.root_account)
        if key not in self._tokens:
            self._tokens[key] = self.installation.issuer.token(
                key[0], root_account_id=str(key[1]), exp=int(time.time()) + TOKEN_SECONDS
            )
        try:
            response = client.request(
                method,
                gateway.url + path,
                headers={"authorization": f"Bearer {self._tokens[key]}", **(headers or {})},
                data=data,
            )
        except httpx.HTTPError as error:
            return 0, type(error).__name__
        return response.status_code, response.text
