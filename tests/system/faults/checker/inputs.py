"""What a run has for each invariant: one without any input is not checked, however few violations there are."""

from collections.abc import Callable, Iterator, Mapping

from tests.system.faults.checker.observations import Run


def find_missing_inputs(run: Run) -> list[str]:
    """Return each invariant, or part of one, for which there is nothing to check, with what is missing."""
    return [text for text, has_input in INPUTS.items() if not has_input(run)]


def _has_records(run: Run) -> bool:
    return any(records for topics in run.readers.values() for records in topics.values())


def _reads_after_verdicts(run: Run) -> Iterator[str]:
    seen: dict[str, float] = {}
    for line in run.lines("verdict_seen"):
        seen.setdefault(line["assignment"], line["at"])
    for kind in ("state", "state_not_served"):
        for line in run.lines(kind):
            if seen.get(line["assignment"], float("inf")) < line["started_at"]:
                yield line["assignment"]


INPUTS: Mapping[str, Callable[[Run], bool]] = {
    "I1-I3, I5, I6, I11: no verdict in the log": lambda run: bool(run.verdicts),
    "I1, I2, I4-I7, I14 on topics: no record": _has_records,
    "I1, I2, I11 over HTTP: no request": lambda run: any(run.lines("http_attempt")),
    "I8: no two snapshots": lambda run: len(run.snapshots) > 1,
    "I10: no state": lambda run: bool(run.states),
    "I12: nothing was delivered again on purpose": lambda run: any(run.lines("redelivered")),
    "I13: no state was read after a verdict": lambda run: any(_reads_after_verdicts(run)),
    "I15: no log or metric": lambda run: bool(run.texts),
    "I16: no sample": lambda run: any(run.lines("sample")),
    "I17: no schedule": lambda run: bool(run.schedules),
}
