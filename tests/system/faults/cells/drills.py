"""Drills: a counted number of commands through one fault after the other, each to have exactly one verdict."""

from functools import partial

from schemas.topics import count_lanes
from tests.system.faults.cells import cell
from tests.system.faults.cells.brokers import kill_broker
from tests.system.faults.cells.postgres import fail_over
from tests.system.faults.cells.processes import stop_and_start
from tests.system.faults.counted_load import CountedLoad
from tests.system.faults.fault_run import ACTIVE_METRIC, FaultRun
from tests.system.faults.installation import is_ready, wait_until

COMMANDS, RATE = 600, 10
GAP_SECONDS_MAX = 60
"""For a busy machine; the report states the gap itself."""


@cell(weight=0)
def six_hundred_commands(run: FaultRun) -> None:
    """600 commands or more pass a broker's death, a move of lanes, restarts of all handlers and a promotion."""
    counted = CountedLoad(run.load, COMMANDS, RATE, run.chance)
    counted.begin("no fault")
    counted.start()
    for stage, inject in (
        ("broker killed", kill_broker),
        ("lanes moved", _move_lanes),
        ("handlers restarted", _roll_handlers),
        ("standby promoted", fail_over),
    ):
        seen = counted.count_verdicts().total()
        wait_until(partial(_has_more_verdicts, counted, seen), "verdicts arrive")
        counted.begin(stage)
        inject(run)
    counted.finish()
    verdicts, gaps = counted.count_verdicts(), counted.longest_gaps()
    doubled = [command_id for command_id, number in verdicts.items() if number > 1]
    longest = max(gaps.values())
    run.note(
        f"{len(counted.command_ids)} commands, {verdicts.total()} verdicts, {len(doubled)} doubled; longest gap between"
        f" two verdicts {longest:.1f} s ({', '.join(f'{stage} {seconds:.1f}' for stage, seconds in gaps.items())})"
    )
    if doubled or verdicts.total() != len(counted.command_ids):
        run.fail(f"not one verdict for each command; doubled: {doubled[:3]}")
    if longest > GAP_SECONDS_MAX:
        run.fail(f"no verdict for {longest:.1f} s")


def _has_more_verdicts(counted: CountedLoad, seen: int) -> bool:
    return counted.count_verdicts().total() > seen


def _move_lanes(run: FaultRun) -> None:
    """Kill a relay, so that another one takes all lanes; start it again, so that they are shared again."""
    leaving = run.active_relay()
    others = [relay for relay in run.installation.of("relay") if relay is not leaving]
    run.injected("lanes moved")
    run.installation.kill(leaving)
    wait_until(lambda: sum(relay.get_metric(ACTIVE_METRIC) for relay in others) == count_lanes(), "all lanes moved")
    leaving.start()
    wait_until(lambda: is_ready(leaving) and leaving.get_metric(ACTIVE_METRIC) >= 1, "lanes moved back")
    run.recovered()


def _roll_handlers(run: FaultRun) -> None:
    for handler in run.installation.of("handler"):
        stop_and_start(run, handler)
