"""I6 the log's numbers are dense, I8 it only grows, I10 served states are the fold of the published events."""

from collections import defaultdict
from collections.abc import Iterator

from tests.system.faults.checker.fold import FoldedAssignment, describe_difference, fold
from tests.system.faults.checker.observations import Run, Violation

SNAPSHOT_SECONDS_MAX = 300
"""They are taken each minute, but between faults; some take minutes."""


def check_log_dense(run: Run) -> Iterator[Violation]:
    """I6: positions, live numbers, verdict and dead letter numbers count 1, 2, 3 … per shard, versions per stream."""
    numbers: dict[str, list[int]] = defaultdict(list)
    for event in sorted(run.events, key=lambda event: (event.shard, event.position)):
        numbers[f"event.position of shard {event.shard}"].append(event.position)
        numbers[f"version of stream {event.stream}"].append(event.version)
        if event.live_number is not None:
            numbers[f"event.live_number of shard {event.shard}"].append(event.live_number)
    for row in sorted(run.verdicts, key=lambda row: (row.shard, row.number)):
        numbers[f"verdict.number of shard {row.shard}"].append(row.number)
    for letter in sorted(run.dead_letters, key=lambda row: (row.shard, row.number)):
        numbers[f"dead_letter.number of shard {letter.shard}"].append(letter.number)
    for name, found in numbers.items():
        for expected, number in enumerate(found, 1):
            if number != expected:
                yield Violation("I6", f"{name}: {number} stands where {expected} belongs")
                break


def check_log_grows(run: Run) -> Iterator[Violation]:
    """I8: an earlier snapshot of the log is a prefix of a later one, byte for byte, and there are enough of them."""
    for earlier, later in zip(run.snapshots, run.snapshots[1:], strict=False):
        for table, rows in earlier.rows.items():
            found = later.rows.get(table, [])
            if found[: len(rows)] == rows:
                continue
            place = next((i for i, row in enumerate(rows) if i >= len(found) or found[i] != row), 0)
            what = "is gone" if place >= len(found) else "was changed"
            yield Violation("I8", f"row {place + 1} of {table} {what} between {earlier.name} and {later.name}")
    for watched in run.lines("watched"):
        seconds = run.history[-1]["at"] - watched["at"]
        required = 2 + int(seconds / SNAPSHOT_SECONDS_MAX)
        if len(run.snapshots) < required:
            yield Violation(
                "I8", f"{len(run.snapshots)} snapshots in {seconds:.0f} s, at least {required} are necessary"
            )


def check_served_states(run: Run) -> Iterator[Violation]:
    """I10: each state document that a gateway serves is the fold of the events topic; gateways do serve them."""
    for assignment in sorted({line["assignment"] for line in run.lines("http")} - run.states.keys()):
        yield Violation("I10", "graded over HTTP, but its state was not read at the end", f"assignment {assignment}")
    after = run.readers.get("after") or next(iter(run.readers.values()), {})
    folded = fold(after.get("events", []))
    for assignment, document in run.states.items():
        if document is None:
            yield Violation("I10", "no gateway served it at the end", f"assignment {assignment}")
            continue
        difference = describe_difference(folded.get(assignment, FoldedAssignment()), document)
        if difference is not None:
            yield Violation("I10", difference, f"assignment {assignment}")
