"""``deploy/faults``: inject faults into a cluster under load, and check that nothing was lost, doubled or reordered."""

import argparse
import itertools
import random
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from deploy.local.paths import STATE
from tests.system.faults import release_goals
from tests.system.faults.cells import CELLS, Cell, list_cells, load_cells
from tests.system.faults.evidence import new_folder
from tests.system.faults.fault_run import FaultRun
from tests.system.faults.outcome import say
from tests.system.faults.report import BEGIN, END, format_report, has_report, replace_report
from tests.system.faults.servers import started_servers


def schedule(cells: Sequence[Cell], minutes: float | None, chance: random.Random) -> Iterator[Cell]:
    """Yield each drill, then each cell once in random order; then, until the time is up, further ones by weight.

    The time begins after the drills.
    """
    yield from (cell for cell in cells if cell.weight == 0)
    weighted = [cell for cell in cells if cell.weight]
    deadline = time.monotonic() + 60 * (minutes or 0)
    yield from (
        cell for cell in chance.sample(weighted, len(weighted)) if minutes is None or time.monotonic() < deadline
    )
    while weighted and time.monotonic() < deadline:
        yield chance.choices(weighted, [cell.weight for cell in weighted])[0]


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="deploy/faults", description=__doc__.split(": ", 1)[1])
    parser.add_argument("cells", nargs="*", metavar="CELL", help="cells or kinds of cells; all of them if none")
    parser.add_argument("--minutes", type=float, help="how long faults are injected; with --release, at most")
    parser.add_argument("--release", action="store_true", help="as many kills and commands as a release needs")
    parser.add_argument("--seed", type=int, help="repeat the faults and the load of an earlier run")
    parser.add_argument("--report", type=Path, help="a page whose report is replaced by this run's")
    parser.add_argument("--list", action="store_true", help="list the cells")
    options = parser.parse_args(arguments)
    cells = load_cells()
    unknown = [name for name in options.cells if name not in cells and name not in {c.kind for c in cells.values()}]
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; nothing was started. deploy/faults --list names the cells")
    if options.release and options.cells:
        parser.error("--release chooses the cells itself; nothing was started. Leave CELL out")
    if options.report is not None and not has_report(options.report):
        parser.error(f"--report: {options.report} is no page with the lines {BEGIN} and {END}; nothing was started")
    return options


def main(arguments: Sequence[str]) -> int:
    """Run; return 1 if there was a violation or failure."""
    options = parse_arguments(arguments)
    # If it is ended from outside, it still ends the servers that it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if options.list:
        say("\n".join(list_cells()))
        return 0
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(10**6)
    extent = [] if options.minutes is None else ["--minutes", f"{options.minutes:g}"]
    extent += ["--release"] if options.release else []
    command = " ".join(["deploy/faults", *extent, "--seed", str(seed), *options.cells])
    folder = new_folder(STATE / "faults" / str(seed))
    say(f"▸ {command}: histories in {folder}")
    cells = [c for c in CELLS.values() if not options.cells or c.name in options.cells or c.kind in options.cells]
    with started_servers() as servers:
        run, chance = FaultRun(servers, folder, seed), random.Random(seed)
        with run.under_load():
            names: set[str] = set()
            chosen = schedule(cells, None if options.release else options.minutes, chance)
            if options.release:
                minutes = release_goals.MINUTES_MAX if options.minutes is None else options.minutes
                more = release_goals.until_goals_are_met(cells, run.outcome.faults, run.count_commands, chance, minutes)
                chosen = itertools.chain(chosen, more)
            for cell in chosen:
                with (folder / "script.txt").open("a") as script:
                    script.write(f"{cell.name}\n")
                with run.noting_failures():
                    run.installation.keep_snapshot_if_due()
                run.inject(cell.name, cell.inject)
                names.add(cell.name)
        if options.release:
            run.outcome.errors += release_goals.describe_missed(run.outcome, run.count_commands(), CELLS, names)
        if not run.outcome.is_clean:
            servers.copy_logs(folder / "servers")
    report = format_report(run.outcome, command)
    (folder / "report.md").write_text(report)
    if options.report is not None:
        replace_report(options.report, report)
    say(f"\n{report}")
    if run.outcome.is_clean:
        return 0
    say(f"What was observed is in {folder}. To run it again: {command}")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
