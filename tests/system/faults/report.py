"""The report of a fault run, in Markdown."""

import statistics
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.system.faults.outcome import Outcome, Recovery
from tests.system.faults.release_goals import RECOVERED_SHARE, SECONDS_MAX, percentile

BEGIN, END = "<!-- report: deploy/faults -->", "<!-- end of report -->"
SHOWN_MAX = 20


def format_report(outcome: Outcome, command: str) -> str:
    """Format the injected faults, their recovery times, and every violation."""
    return "\n".join(_lines(outcome, command)) + "\n"


def _lines(outcome: Outcome, command: str) -> Iterator[str]:
    faults = sum(outcome.faults.values())
    yield f"`{command}`: {faults} faults in {outcome.seconds / 60:.0f} minutes,"
    yield f"{outcome.commands:,} commands over Kafka, {outcome.requests:,} grades over HTTP. **{_verdict(outcome)}.**"
    yield ""
    yield "| fault | times |\n|---|---:|"
    yield from (f"| {fault} | {count} |" for fault, count in sorted(outcome.faults.items()))
    yield ""
    yield "Recovery: seconds from the end of the fault (of a broker that is killed: from its death) until a new command"
    yield "of each of the 12 shards is decided and its verdict read from the topic; of a single gateway, until a grade"
    yield "over HTTP through it is answered with its verdict. The ratio is to the time that the servers themselves"
    yield "took until they served again. A release fails if the p95 of a cell exceeds its target."
    yield ""
    yield "| cell | n | target | p50 | p95 | max | server p50 | ratio p50 |\n|---|---:|---:|---:|---:|---:|---:|---:|"
    by_cell: dict[str, list[Recovery]] = defaultdict(list)
    for recovery in outcome.recoveries:
        by_cell[recovery.cell].append(recovery)
    yield from (_recovery_row(name, recoveries) for name, recoveries in sorted(by_cell.items()))
    for title, lines in (
        ("Drills", outcome.notes),
        ("Violations", [str(violation) for violation in outcome.violations]),
        ("Errors", outcome.errors),
        ("Not checked", outcome.unchecked),
        ("Skipped", outcome.skipped),
        ("Nothing to check, by the cell of the installation", list(_describe_missing_inputs(outcome))),
    ):
        if lines:
            yield ""
            yield f"{title}:"
            yield ""
            yield from (f"- {line}" for line in lines[:SHOWN_MAX])
            if len(lines) > SHOWN_MAX:
                yield f"- and {len(lines) - SHOWN_MAX} more"


def _describe_missing_inputs(outcome: Outcome) -> Iterator[str]:
    """Name the cells that lack the same inputs together."""
    cells: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for cell, missing in sorted(outcome.missing_inputs.items()):
        if missing:
            cells[tuple(missing)].append(cell)
    yield from (f"{', '.join(names)}: {'; '.join(missing)}" for missing, names in cells.items())


def _verdict(outcome: Outcome) -> str:
    """Return a sentence that promises no more than was checked."""
    counts = ("violation", len(outcome.violations)), ("error", len(outcome.errors))
    found = [f"{count} {noun}{'s' * (count > 1)}" for noun, count in counts if count]
    if outcome.unchecked:
        return ", ".join([f"Not checked: {len(outcome.unchecked)} of the installations", *found])
    return ", ".join(found if outcome.violations else ["No violation", *found])


def _recovery_row(name: str, recoveries: Sequence[Recovery]) -> str:
    seconds = [recovery.seconds for recovery in recoveries]
    servers = [recovery.server_seconds for recovery in recoveries if recovery.server_seconds is not None]
    slow = percentile(seconds, RECOVERED_SHARE)
    columns = [name, str(len(seconds)), f"≤ {SECONDS_MAX[name]}" if name in SECONDS_MAX else ""]
    columns += [f"{value:.1f}" for value in (statistics.median(seconds), slow, max(seconds))]
    if servers:
        ratios = [r.seconds / max(r.server_seconds, 0.1) for r in recoveries if r.server_seconds is not None]
        columns += [f"{statistics.median(servers):.1f}", f"{statistics.median(ratios):.1f}"]
    else:
        columns += ["", ""]
    return f"| {' | '.join(columns)} |"


def has_report(page: Path) -> bool:
    """Return whether a page exists and has the markers between which a report stands."""
    return page.is_file() and all(marker in page.read_text() for marker in (BEGIN, END))


def replace_report(page: Path, report: str) -> None:
    """Put a report between the markers of a page."""
    text = page.read_text()
    before, after = text.partition(BEGIN)[0], text.partition(END)[2]
    page.write_text(f"{before}{BEGIN}\n\n{report}\n{END}{after}")
