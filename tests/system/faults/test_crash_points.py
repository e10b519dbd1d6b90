"""A handler, relay or scheduler that crashes before and after any call to a server loses and repeats nothing.

One installation lives through all crashes, on one broker and one PostgreSQL. For each boundary a process starts with a
failpoint, gets commands until it has crashed there, and is followed by the one of the next boundary, which has to go on
from there. At the end all processes run, and the checker reads everything that was sent, decided and published, and the
states that a gateway serves.
"""

import contextlib
import json
import signal
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from services.runtime.failpoints import BOUNDARIES
from tests.fixtures.process_runner import Process
from tests.system.faults.checker import check
from tests.system.faults.checker.inputs import find_missing_inputs
from tests.system.faults.collect import collect
from tests.system.faults.course_load import FIRST_STUDENT, SECRET, TEACHER, CourseLoad
from tests.system.faults.http_load import HttpLoad
from tests.system.faults.installation import Installation, is_ready, opened, wait_until
from tests.system.faults.load import Load

CRASH_SECONDS_MAX = 60
"""A boundary that is not reached by then is reached by nothing that is sent here."""
SENDING_SECONDS = 0.5
SETTLE_SECONDS_MAX = 240
SOON, LATER = timedelta(seconds=2), timedelta(hours=20)
SETTINGS = {
    "handler": {"HANDLER_SNAPSHOT_EVENTS": "5"},
    "relay": {"RELAY_TAKEOVER_SECONDS": "2"},
    "scheduler": dict[str, str](),
}
MONITORED = {"monitor.postgresql": "scheduler", "monitor.kafka": "handler", "monitor.dead_letters": "relay"}
FAILING_LANE = "relay.producer.begin_transaction.before=raise@1"
FIRST_FAILURES = {
    # Two subscribers decide commands of the same courses at the same time: one of them must decide again, under locks.
    "handler.log.lock": "handler.log.append.before=delay(0.7)",
    # After a fetch that failed, the places of all partitions are verified.
    "handler.consumer.beginning_offsets": "handler.consumer.getmany.after=raise@10",
    "relay.leases.leave": FAILING_LANE,
    "relay.leases.unlock": FAILING_LANE,
    "relay.producer.stop": FAILING_LANE,
    "scheduler.producer.stop": "scheduler.producer.send_and_wait.before=raise@1",
}
"""By boundary: what has to fail first for a process to come there."""


class CrashingInstallation:
    """A handler, a relay and a scheduler, the commands that bring them to every boundary, and a waiting schedule."""

    def __init__(self, installation: Installation) -> None:
        self.installation = installation
        self.processes = {name: installation.add(name, **settings) for name, settings in SETTINGS.items()}
        self.load = Load(installation, 1, 1)
        self.courses = self.load.courses
        self._person = TEACHER + 1_000

    def begin(self) -> None:
        """Start all processes; create the courses, and a publication that is scheduled for much later."""
        for process in self.processes.values():
            process.start()
        for course in self.courses:
            for fact in course.facts():
                self.load.send(fact)
        self.waiting = self.courses[0], self._configure(self.courses[0])
        self.load.send(self.waiting[0].schedule(self.waiting[1], datetime.now(UTC) + LATER))
        self.load.probe()
        self.installation.take_snapshot("before the first crash")

    def _configure(self, course: CourseLoad) -> int:
        assignment = course.base + 10_000 + len(course.assignments)
        self.load.send(course.configure(assignment))
        self.load.send(course.grade(assignment, FIRST_STUDENT))
        return assignment

    def send(self) -> None:
        """Send a new person, unreadable and repeated records, a publication, and one that is scheduled for soon."""
        for course in self.courses[:2]:
            self._person += 1
            person = {"user_id": str(course.base + self._person), "name": SECRET}
            self.load.send(course.command("upsert_users", {"users": [person]}))
            for _ in range(2):
                # Without keys, so that both subscribers get records of the course.
                self.load.send(course.command("upsert_course", {"name": "Again"}), keyless=True)
            self.load.send({"course_id": str(course.course)}, b'{"command_id": "unreadable')
            publish = course.command("publish_provisional_grades", {}, self._configure(course), TEACHER)
            self.load.send(publish)
            self.load.send(publish)
            self.load.send(course.schedule(self._configure(course), datetime.now(UTC) + SOON))
        self.load.producer.flush(1)

    def crash(self, point: str) -> None:
        """Start the point's process anew, and send commands until it has crashed there."""
        boundary = point.rpartition(".")[0]
        process = self.processes[MONITORED.get(boundary, boundary.partition(".")[0])]
        self._start_ended_but(process)
        process.kill()
        written = process.log.stat().st_size
        failures = [FIRST_FAILURES[boundary]] if boundary in FIRST_FAILURES else []
        with self._hanging_relay() if boundary == "relay.leases.end_session" else contextlib.nullcontext():
            start_with(process, ",".join([*failures, f"{point}=crash@1"]))
            assert process.popen is not None
            deadline = time.monotonic() + CRASH_SECONDS_MAX
            while process.popen.poll() is None:
                assert time.monotonic() < deadline, f"{process.name} does not come to {point}"
                self.send()
                with contextlib.suppress(TimeoutError):
                    wait_until(has_ended(process), "it has crashed", SENDING_SECONDS)
        assert process.popen.returncode == -signal.SIGKILL
        messages = [json.loads(line)["message"] for line in process.log.read_bytes()[written:].splitlines()]
        assert f"{point}: crash at pass 1" in messages
        self.installation.take_snapshot(f"crashed {point}")

    def _start_ended_but(self, excepted: Process | None) -> None:
        for process in self.processes.values():
            if process is not excepted and has_ended(process)():
                start_with(process, "")

    @contextlib.contextmanager
    def _hanging_relay(self) -> Iterator[None]:
        """Let another relay hang with all lanes during the block: whoever takes them over has to end its session."""
        other = self.installation.add("relay")
        other.start()
        wait_until(lambda: is_ready(other), "the other relay has the lanes")
        self.load.probe()
        other.signal(signal.SIGSTOP)
        try:
            yield
        finally:
            other.kill()

    def end(self) -> None:
        """Let all processes and a gateway run, cancel what is due much later, and wait until all is published."""
        self._start_ended_but(None)
        self.installation.add("gateway").start()
        course, assignment = self.waiting
        self.load.send(course.command("cancel_scheduled_publication", {}, assignment, TEACHER))
        self.installation.wait_until_ready()
        self.load.probe()
        self.load.wait_until_acknowledged()
        wait_until(self.installation.is_settled, "all is decided and published", SETTLE_SECONDS_MAX)


def start_with(process: Process, failpoints: str) -> None:
    process.environment["FAILPOINTS"] = failpoints
    process.start()


def has_ended(process: Process) -> Callable[[], Any]:
    return lambda: process.popen is not None and process.popen.poll() is not None


@pytest.fixture(scope="module")
def crashing(
    bootstrap: str, new_database: Callable[[], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[CrashingInstallation]:
    folder = tmp_path_factory.mktemp("crashing")
    with opened(Installation("crashing", bootstrap, new_database(), folder), is_supervised=False) as installation:
        created = CrashingInstallation(installation)
        created.begin()
        yield created


@pytest.mark.parametrize("point", [f"{name}.{moment}" for name in BOUNDARIES for moment in ("before", "after")])
def test_process_crashes_at_the_point(point: str, crashing: CrashingInstallation) -> None:
    crashing.crash(point)


def test_everything_sent_around_the_crashes_is_decided_and_published_once(crashing: CrashingInstallation) -> None:
    crashing.end()
    run = collect(crashing.installation, HttpLoad(crashing.load, 1))
    assert [str(violation) for violation in check(run)] == []
    # Grades over HTTP, redelivery on purpose, and samples of resources belong to fault runs.
    assert [text.partition(":")[0] for text in find_missing_inputs(run)] == ["I1, I2, I11 over HTTP", "I12", "I16"]
