"""The HTTP half of the load: grades through the gateways, retried with their Idempotency-Key until they are answered,
and reads of states after verdicts."""

import itertools
import json
import random
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

import httpx

from tests.fixtures.process_runner import Process
from tests.system.faults.course_load import AUDITOR, FIRST_STUDENT, SECOND_TA, STUDENTS, CourseLoad, Json
from tests.system.faults.installation import Installation
from tests.system.faults.load import PROBE_SECONDS_MAX, Load

PAUSE_SECONDS, PROBE_PAUSE_SECONDS = 0.4, 0.05
TIMEOUT_SECONDS = 20
TOKEN_SECONDS = 80_000
HTTP_ASSIGNMENT = 20_000
PROBED_STUDENT = FIRST_STUDENT + STUDENTS - 1
"""Only probes grade this student: two grades at once of the same one would let an answer have the score of either."""
NO_ANSWER, OK, PENDING, UNAVAILABLE = 0, 200, 202, 503
SENT_AGAIN = (NO_ANSWER, PENDING, UNAVAILABLE)
"""After these a client sends its request again; all other answers are final."""


@dataclass(frozen=True)
class Answer:
    """``request_id``: the gateway's own, which is the correlation id of the command that it sent, if any."""

    status: int
    body: str
    request_id: str | None = None


def read_score(body: str) -> float | None:
    """Return the score of the grader's own provisional grade in the answer to a grade; None if it has none."""
    try:
        (grade,) = json.loads(body)["provisional_grades"]
        score: float | None = grade["score"]
    except (LookupError, TypeError, ValueError):
        return None
    return score


class HttpLoad:
    """Grades an assignment of each course through alternating gateways, and reads states in between.

    ``asked``: the gateway of the last request. ``failure``: why it ended by itself, None if it did not.
    """

    def __init__(self, load: Load, seed: int) -> None:
        self.installation: Installation = load.installation
        self.load = load
        self.answered = 0
        self.asked: Process | None = None
        self._chance = random.Random(f"{seed} http")
        self._ended, self._running, self._busy = threading.Event(), threading.Event(), threading.Lock()
        self._tokens: dict[tuple[int, int], str] = {}
        self._awaited: set[str] = set()
        self._numbers = itertools.count(1)
        self._thread = threading.Thread(target=self._work, daemon=True)
        self.failure: str | None = None

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
        try:
            self._send_all()
        except Exception as error:
            self.failure = repr(error)
            raise

    def _send_all(self) -> None:
        while not self._awaited <= self.installation.verdicts.keys():
            if self._ended.wait(PAUSE_SECONDS):
                return
        with httpx.Client(timeout=TIMEOUT_SECONDS) as client:
            while not self._ended.wait(PAUSE_SECONDS):
                self._running.wait()
                with self._busy:
                    course = self._chance.choice(self.load.courses)
                    student = self._chance.randrange(FIRST_STUDENT, PROBED_STUDENT)
                    self._grade(client, course, student, self._gateways())
                    self.read_state(client, course, self._chance.choice(course.assignments))

    def _gateways(self) -> Iterator[Process]:
        gateways = self.installation.of("gateway")
        for gateway in itertools.cycle(self._chance.sample(gateways, len(gateways))):
            self.asked = gateway
            yield gateway

    def probe(self, gateway: Process) -> float:
        """Grade through one gateway until it answers; return the seconds that it took.

        Raises TimeoutError, or RuntimeError if the grade was not accepted.
        """
        started_at = time.monotonic()

        def until_late() -> Iterator[Process]:
            while time.monotonic() < started_at + PROBE_SECONDS_MAX:
                yield gateway
            raise TimeoutError(f"not within {PROBE_SECONDS_MAX} s: an answer of {gateway.log.stem}")

        with httpx.Client(timeout=TIMEOUT_SECONDS) as client:
            status = self._grade(client, self.load.courses[0], PROBED_STUDENT, until_late(), PROBE_PAUSE_SECONDS)
        if status != OK:
            raise RuntimeError(f"{gateway.log.stem} did not accept a grade: status {status}")
        return time.monotonic() - started_at

    def _grade(
        self,
        client: httpx.Client,
        course: CourseLoad,
        student: int,
        gateways: Iterator[Process],
        pause: float = PAUSE_SECONDS,
    ) -> int | None:
        """Send a grade until it is answered; return the status, None if the load ended before.

        Its score is the number of the request, which tells its commands.
        """
        number, assignment = next(self._numbers), course.base + HTTP_ASSIGNMENT
        path = f"/api/v1/courses/{course.course}/assignments/{assignment}/submissions/{course.base + student}"
        form = {"submission[posted_grade]": str(number), "submission[provisional]": "true"}
        headers = {"idempotency-key": f"grade {number}"}
        for gateway in gateways:
            answer = self._request(client, gateway, "PUT", path, course, SECOND_TA, headers=headers, data=form)
            status = answer.status
            command_id = json.loads(answer.body)["command_id"] if status == PENDING else None
            seen = {"number": number, "status": status, "request_id": answer.request_id, "gateway": gateway.log.stem}
            self.installation.history.add("http_attempt", **seen, command_id=command_id)
            if status not in SENT_AGAIN:
                self.answered += status == OK
                graded = {"assignment": f"{course.root_account}/{assignment}", "score": read_score(answer.body)}
                self.installation.history.add("http", **seen, **graded, body=answer.body[:300])
                return status
            if self._ended.wait(pause):
                return None
        return None

    def read_state(self, client: httpx.Client, course: CourseLoad, assignment: int) -> Json | None:
        """Read a state as an auditor and note its version, or the status of another answer (None)."""
        gateway = next(self._gateways())
        line = self.installation.history.add("state_requested", assignment=f"{course.root_account}/{assignment}")
        path = f"/api/moderation/v1/assignments/{assignment}/state"
        answer = self._request(client, gateway, "GET", path, course, AUDITOR)
        seen = {"started_at": line["at"], "assignment": line["assignment"]}
        if answer.status != OK:
            refused = {"status": answer.status, "body": answer.body[:300], "gateway": gateway.log.stem}
            self.installation.history.add("state_not_served", **seen, **refused)
            return None
        document: Json = json.loads(answer.body)
        self.installation.history.add("state", **seen, version=document["version"])
        return document

    def _request(
        self, client: httpx.Client, gateway: Process, method: str, path: str, course: CourseLoad, user: int,
        headers: dict[str, str] | None = None, data: dict[str, str] | None = None,
    ) -> Answer:  # fmt: skip
        """Return the answer; of status 0 if there was none."""
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
            return Answer(NO_ANSWER, type(error).__name__)
        return Answer(response.status_code, response.text, response.headers.get("x-request-context-id"))
