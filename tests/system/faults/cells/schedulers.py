"""Schedulers: killed, paused, doubled, without Kafka and with another clock, each while publications are due."""

import contextlib
import itertools
import signal
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from deploy.local.paths import database_folder
from deploy.local.postgres import PostgresServer, create_database
from tests.fixtures.process_runner import Process
from tests.system.faults.cells import cell
from tests.system.faults.cells.brokers import start_brokers
from tests.system.faults.cells.clocks import clock_settings, find_library
from tests.system.faults.course_load import CourseLoad
from tests.system.faults.fault_run import RETIRED, FaultRun
from tests.system.faults.installation import is_ready, wait_until
from tests.system.faults.load import Load
from tests.system.faults.schedules import count_publications, schedule_publications

NUMBERS = itertools.count(800)
PUBLICATIONS = 6
LEAD_SECONDS = 8
"""Until the first is due: a busy machine has decided the schedules by then."""
PUBLISHED_SECONDS_MAX = 90
SENT_METRIC = "moderation_scheduled_publications_sent_total"
CLOCK_LEAD_SECONDS = 15
JUMPS = ("+40m", "-2h", "+1m")
"""The last is small enough for handlers to go on; the times of their decisions stay ahead until it has passed."""
NOTICED_SECONDS = 2
"""After that a server has seen the jump of its clock, and our processes the server's."""


def sleep_until(time_: datetime) -> None:
    time.sleep(max((time_ - datetime.now(UTC)).total_seconds(), 0))


class DuePublications:
    """Publications that are scheduled for ``times``, in order, of a course of their own."""

    def __init__(self, run: FaultRun, load: Load, lead_seconds: float, every_seconds: float) -> None:
        self._installation = load.installation
        self._course = CourseLoad(next(NUMBERS), run.chance, load.installation.verdicts)
        scheduled = schedule_publications(load, self._course, PUBLICATIONS, lead_seconds, every_seconds)
        if not scheduled:
            raise TimeoutError(f"no schedule was decided within {lead_seconds} s")
        self.times = sorted(scheduled.values())

    def count_made(self) -> int:
        return len(count_publications(self._installation, self._course))


@contextlib.contextmanager
def due_publications(
    run: FaultRun, load: Load, lead_seconds: float = LEAD_SECONDS, every_seconds: float = 1
) -> Iterator[DuePublications]:
    """Schedule publications for times in the block, and wait for all of them after it. Raises TimeoutError."""
    due = DuePublications(run, load, lead_seconds, every_seconds)
    yield due
    wait_until(lambda: due.count_made() == len(due.times), "every scheduled publication is made", PUBLISHED_SECONDS_MAX)


@cell(weight=3)
def kill_scheduler(run: FaultRun) -> None:
    """A scheduler is killed and started again, each time just before or after a publication is due."""
    with due_publications(run, run.load, every_seconds=2) as due:
        for time_ in due.times:
            sleep_until(time_ + timedelta(seconds=run.chance.uniform(-0.05, 0.15)))
            scheduler = run.choose("scheduler")
            run.injected("scheduler killed")
            run.installation.kill(scheduler)
            run.hold(0, 0.5)
            scheduler.start()
    run.recovered()


@cell(weight=2)
def pause_schedulers(run: FaultRun) -> None:
    """One scheduler or all stand still while publications are due, and go on when those are overdue."""
    schedulers = run.installation.of("scheduler")
    paused = schedulers if run.chance.random() < 0.5 else [run.chance.choice(schedulers)]
    with due_publications(run, run.load) as due:
        sleep_until(due.times[0] - timedelta(seconds=1))
        for scheduler in paused:
            run.injected("scheduler paused")
            scheduler.signal(signal.SIGSTOP)
        try:
            sleep_until(due.times[-1] + timedelta(seconds=1))
        finally:
            for scheduler in paused:
                scheduler.signal(signal.SIGCONT)
    run.recovered()


@cell()
def double_schedulers(run: FaultRun) -> None:
    """Twice as many schedulers send the same due publications, while every handler is down: each is decided once."""
    handlers = run.installation.of("handler")
    extra = [run.installation.add("scheduler") for _ in run.installation.of("scheduler")]
    try:
        with due_publications(run, run.load) as due:
            for handler in handlers:
                run.installation.kill(handler)
            for scheduler in extra:
                run.injected("scheduler added")
                scheduler.start()
            sleep_until(due.times[-1])
            for scheduler in extra:
                wait_until(partial(_has_sent, scheduler, len(due.times)), "each scheduler has sent them")
            for handler in handlers:
                handler.start()
        run.recovered()
    finally:
        for scheduler in extra:
            run.installation.kill(scheduler)
            scheduler.name = RETIRED


def _has_sent(scheduler: Process, count: int) -> bool:
    return is_ready(scheduler) and scheduler.get_metric(SENT_METRIC) >= count


@cell(weight=2)
def lose_kafka_when_due(run: FaultRun) -> None:
    """Below min.insync.replicas no publication can be sent when it is due; all are when the brokers are back."""
    run.servers.wait_until_in_sync()
    numbers = run.chance.sample(range(len(run.servers.kafka.brokers)), 2)
    with due_publications(run, run.load, every_seconds=0.5) as due:
        sleep_until(due.times[0] - timedelta(seconds=1))
        run.injected("below min.insync.replicas")
        for number in numbers:
            run.servers.kafka.brokers[number].kill()
        sleep_until(due.times[-1])
        run.hold(1, 5)
        server_seconds = start_brokers(run, *numbers)
    run.recovered(server_seconds)


@cell(shared=False)
def jump_postgres_clock(run: FaultRun) -> None:
    """PostgreSQL's clock jumps across due times and back: what only that clock takes for due is held back."""
    with (
        _clocked_postgres(run) as (server, set_clock),
        run.opened("clock", create_database(server.address, "clock")) as installation,
    ):
        installation.start(handlers=1, relays=1, gateways=0, schedulers=2)
        with run.loaded(installation, 20) as load:
            for jump in JUMPS:
                with due_publications(run, load, CLOCK_LEAD_SECONDS, every_seconds=0.5) as due:
                    run.injected("clock of PostgreSQL jumps")
                    set_clock(jump)
                    time.sleep(NOTICED_SECONDS)
                    installation.keep_snapshot(f"while the clock is off by {jump}")
                    is_ahead = jump.startswith("+")
                    sleep_until(due.times[0] - timedelta(seconds=3) if is_ahead else due.times[-1])
                    if made := due.count_made():
                        run.fail(f"{made} publications were made while PostgreSQL's clock was off by {jump}")
                    set_clock("+0")
            load.probe()
        run.judge(installation, load)


@contextlib.contextmanager
def _clocked_postgres(run: FaultRun) -> Iterator[tuple[PostgresServer, Callable[[str], None]]]:
    """Start a server whose clock can be set to an offset. Raises Skipped."""
    library = find_library()
    folder = database_folder(f"{run.servers.folder.name}-clock")
    folder.parent.mkdir(parents=True, exist_ok=True)
    offset = Path(f"{folder}-offset")

    def set_clock(text: str) -> None:
        offset.write_text(f"{text}\n")

    set_clock("+0")
    server = PostgresServer(folder, environment=clock_settings(library, offset))
    server.start()
    try:
        yield server, set_clock
    finally:
        server.kill()
        server.remove()
        offset.unlink()
