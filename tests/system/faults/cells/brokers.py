"""Kafka: brokers killed, paused and restarted, alone, below min.insync.replicas, and together with our processes."""

import os
import signal
import time

from tests.system.faults.cells import cell
from tests.system.faults.cells.processes import kill_and_start
from tests.system.faults.fault_run import FaultRun


def choose_broker(run: FaultRun) -> int:
    """Choose a broker for a fault, once the others can do without it."""
    run.servers.wait_until_in_sync()
    return run.chance.randrange(len(run.servers.kafka.brokers))


def start_brokers(run: FaultRun, *numbers: int) -> float:
    """Start brokers and wait until all are registered; return the seconds."""
    for number in numbers:
        process = run.servers.kafka.brokers[number].launch()
        if process is not None:
            process.returncode = 0
    return max(run.servers.wait_for_broker(number) for number in numbers)


@cell(weight=5)
def kill_broker(run: FaultRun) -> None:
    """A broker is killed; the measured time begins at its death: others take its partitions over."""
    number = choose_broker(run)
    run.injected("broker killed")
    run.servers.kafka.brokers[number].kill()
    run.recovered(until_acknowledged=True)
    start_brokers(run, number)


@cell(weight=2)
def restart_broker(run: FaultRun) -> None:
    """A broker is stopped gracefully and started again."""
    number = choose_broker(run)
    run.injected("broker restarted")
    run.servers.kafka.brokers[number].stop()
    run.recovered(start_brokers(run, number))


@cell(weight=2)
def pause_broker(run: FaultRun) -> None:
    """A broker stands still for longer than its session (2.5 s), and goes on as a former leader."""
    pid = run.servers.kafka.brokers[choose_broker(run)].pid()
    assert pid is not None
    run.injected("broker paused")
    os.kill(pid, signal.SIGSTOP)
    try:
        run.hold(4, 8)
    finally:
        os.kill(pid, signal.SIGCONT)
    run.recovered()


@cell()
def lose_brokers(run: FaultRun) -> None:
    """Two of three brokers are killed: below min.insync.replicas nothing is acknowledged; both come back."""
    run.servers.wait_until_in_sync()
    numbers = run.chance.sample(range(len(run.servers.kafka.brokers)), 2)
    run.injected("below min.insync.replicas")
    for number in numbers:
        run.servers.kafka.brokers[number].kill()
    run.hold(5, 15)
    run.recovered(start_brokers(run, *numbers))


@cell(weight=2)
def kill_broker_and_process(run: FaultRun) -> None:
    """A broker and the active relay or a handler are killed at the same time."""
    number = choose_broker(run)
    run.injected("broker killed")
    run.servers.kafka.brokers[number].kill()
    kill_and_start(run, run.chance.choice([run.active_relay(), run.choose("handler")]))
    start_brokers(run, number)


@cell()
def roll_brokers(run: FaultRun) -> None:
    """All brokers are restarted one after the other, as an upgrade does."""
    started_at = time.monotonic()
    for number in range(len(run.servers.kafka.brokers)):
        run.servers.wait_until_in_sync()
        run.injected("broker restarted")
        run.servers.kafka.brokers[number].stop()
        start_brokers(run, number)
    run.recovered(time.monotonic() - started_at)
