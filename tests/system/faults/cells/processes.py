"""Our own processes: killed, paused, restarted, in pairs."""

import re
import signal
from functools import partial

from schemas.topics import count_lanes
from services.runtime.failpoints import BOUNDARIES
from tests.fixtures.process_runner import Process
from tests.system.faults.cells import cell
from tests.system.faults.course_load import Json
from tests.system.faults.fault_run import ACTIVE_METRIC, RETIRED, FaultRun
from tests.system.faults.installation import wait_until

SESSION_SECONDS = 10
"""After which a handler that is paused has lost its partitions."""

ASSIGNED = re.compile(r"is assigned partitions \d")
POINTS_MAX, PASSED_SECONDS_MAX = 10, 6


def log_length(process: Process) -> int:
    """Return the length of a process's log (bytes), for new_log."""
    return process.log.stat().st_size if process.log.exists() else 0


def new_log(process: Process, length: int) -> str:
    """Return what a process has logged after its log had a length."""
    return process.log.read_bytes()[length:].decode(errors="replace")


def kill_and_start(run: FaultRun, *processes: Process) -> None:
    """SIGKILL, and start again at once or after a moment, as a supervisor does."""
    for process in processes:
        run.injected(f"{process.name} killed")
        run.installation.kill(process)
    run.hold(0, 0.5)
    for process in processes:
        process.start()
    measure_recovery(run, *processes)


def measure_recovery(run: FaultRun, *processes: Process) -> None:
    """Measure how long one gateway, or any other processes, take to give verdicts again."""
    if [process.name for process in processes] == ["gateway"]:
        run.recovered(probe=partial(run.http.probe, *processes))
    else:
        run.recovered()


def stop_and_start(run: FaultRun, process: Process) -> None:
    run.injected(f"{process.name} restarted")
    code = run.installation.stop(process)
    if code != 0:
        run.fail(f"{process.log.stem} ended with code {code} after SIGTERM")
    process.start()
    measure_recovery(run, process)


@cell(weight=12)
def kill_handler(run: FaultRun) -> None:
    """A handler is killed and started again, three times."""
    for _ in range(3):
        run.hold(0, 1)
        kill_and_start(run, run.choose("handler"))


@cell(weight=5)
def kill_relay(run: FaultRun) -> None:
    """A relay is killed and started again, twice: the other one takes its lanes over."""
    for _ in range(2):
        run.hold(0, 1)
        kill_and_start(run, run.active_relay())


@cell(weight=2)
def kill_gateway(run: FaultRun) -> None:
    """A gateway is killed while a request waits for its verdict; the client repeats it with its Idempotency-Key."""
    wait_until(lambda: run.http.asked, "grades are sent over HTTP")
    handlers = run.installation.of("handler")
    for handler in handlers:
        handler.signal(signal.SIGSTOP)
    try:
        # The client has one request at a time: by now it waits for a verdict, which nobody decides.
        run.hold(2, 4)
        gateway, answered = run.http.asked, len(_http_attempts(run))
        assert gateway is not None
        run.injected("gateway killed")
        run.installation.kill(gateway)
    finally:
        for handler in handlers:
            handler.signal(signal.SIGCONT)
    gateway.start()
    cut_off = wait_until(lambda: _http_attempts(run)[answered:], "the request ends")[0]
    if (cut_off["status"], cut_off["gateway"]) != (0, gateway.log.stem):
        run.fail(f"no request was cut off by the death of {gateway.log.stem}: {cut_off}")
    measure_recovery(run, gateway)


def _http_attempts(run: FaultRun) -> list[Json]:
    return [line for line in list(run.installation.history.lines) if line["kind"] == "http_attempt"]


@cell(weight=3)
def kill_pair(run: FaultRun) -> None:
    """Two processes are killed at the same time: two handlers, both relays, or one of each."""
    processes = run.installation.of("handler") + run.installation.of("relay")
    kill_and_start(run, *run.chance.sample(processes, 2))


@cell()
def kill_all(run: FaultRun) -> None:
    """Every process of the installation is killed at the same time; at the end each gateway accepts a grade."""
    kill_and_start(run, *(process for process in run.installation.processes if process.name != RETIRED))
    run.ask_gateways()


@cell(weight=2)
def pause_handler(run: FaultRun) -> None:
    """A handler stands still for longer than its session, loses its partitions, and goes on."""
    handler = run.choose("handler")
    run.injected("handler paused")
    run.pause(handler, SESSION_SECONDS + run.chance.uniform(1, 4))
    run.recovered()


@cell(weight=2)
def pause_relay(run: FaultRun) -> None:
    """A relay stands still for up to 20 s, perhaps inside a transaction, and goes on."""
    relay = run.active_relay()
    run.injected("relay paused")
    run.pause(relay, run.chance.uniform(2, 20))
    run.recovered()


@cell()
def hang_relay(run: FaultRun) -> None:
    """A relay hangs with its lanes: the other one takes them over within seconds, and the first is fenced."""
    hanging = run.active_relay()
    others = [relay for relay in run.installation.of("relay") if relay is not hanging]
    run.injected("relay hung")
    hanging.signal(signal.SIGSTOP)
    try:
        wait_until(
            lambda: sum(relay.get_metric(ACTIVE_METRIC) for relay in others) == count_lanes(),
            "all lanes are taken over",
        )
        run.recovered()
    finally:
        hanging.signal(signal.SIGCONT)
    wait_until(lambda: hanging.get_metric(ACTIVE_METRIC) >= 1, "the relay takes its share again")


@cell(weight=2)
def restart_handler(run: FaultRun) -> None:
    """A handler is stopped gracefully and started again."""
    stop_and_start(run, run.choose("handler"))


@cell(weight=2)
def restart_relay(run: FaultRun) -> None:
    """A relay is stopped gracefully and started again."""
    stop_and_start(run, run.active_relay())


@cell()
def restart_gateway(run: FaultRun) -> None:
    """A gateway is stopped gracefully and started again."""
    stop_and_start(run, run.choose("gateway"))


@cell(weight=2)
def rebalance(run: FaultRun) -> None:
    """One more handler joins, gets partitions, and leaves, four times while batches run."""
    extra = run.installation.add("handler", HANDLER_INSTANCE="")
    try:
        for _ in range(4):
            length = log_length(extra)
            extra.start()
            wait_until(lambda length=length: ASSIGNED.search(new_log(extra, length)), "it gets partitions")  # type: ignore[misc]
            run.injected("rebalance")
            run.hold(0, 2)
            run.installation.stop(extra) if run.chance.random() < 0.5 else run.installation.kill(extra)
    finally:
        run.installation.kill(extra)
        extra.name = RETIRED
    run.recovered()


@cell(weight=3)
def crash_at_boundary(run: FaultRun) -> None:
    """A handler, relay or scheduler ends at a random boundary to a server: just before a call, or just after it."""
    process = run.chance.choice([run.choose("handler"), run.active_relay(), run.choose("scheduler")])
    names = [name for name in BOUNDARIES if name.startswith(f"{process.name}.")]
    for name in run.chance.sample(names, min(len(names), POINTS_MAX)):
        point = f"{name}.{run.chance.choice(['before', 'after'])}"
        # Some points are passed again and again, some once in each start, and some in no run like this one.
        for time_ in (run.chance.randrange(2, 20), 1):
            if _crash_at(run, process, point, time_):
                run.recovered()
                return
    process.start()
    run.fail(f"a {process.name} passed none of {POINTS_MAX} points")


def _crash_at(run: FaultRun, process: Process, point: str, time_: int) -> bool:
    """Let a process crash when it passes a point for that time; return whether it did, within some seconds."""
    run.installation.kill(process)
    length = log_length(process)
    with run.installation.expecting_exit(process):
        process.environment["FAILPOINTS"] = f"{point}=crash@{time_}"
        process.start()
        process.environment["FAILPOINTS"] = ""
        crashing = process.popen
        try:
            wait_until(
                lambda: f"{point}: crash at pass {time_}" in new_log(process, length),
                "the point is passed",
                PASSED_SECONDS_MAX,
            )
        except TimeoutError:
            run.installation.kill(process)
            return False
        run.injected(f"{process.name} crashed at a boundary")
        wait_until(lambda: process.popen is not crashing, "it is started again")
    return True
