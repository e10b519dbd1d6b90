"""I4 published once, I5 in the order of the log, I6 without gaps, I7 under the same ids: each topic against the log."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from tests.system.faults.checker.observations import Run, TopicRecord, Violation

OUTPUTS = ("verdicts", "events", "live-events", "caliper")
"""Topics whose records carry CloudEvents headers. Dead letters are compared by the place of their record."""
ONCE = {"verdicts": "I2", "events": "I4", "live-events": "I4", "caliper": "I4"}
Ids = dict[tuple[int, int], tuple[str, str]]
"""By shard and sequence number: the ce_id of the record that belongs there, and the command that caused it."""


def log_ids(run: Run) -> dict[str, Ids]:
    """Return the ids that each topic should have according to the log."""
    ids: dict[str, Ids] = {output: {} for output in OUTPUTS}
    for row in run.verdicts:
        ids["verdicts"][row.shard, row.number] = (row.ce_id, row.command_id)
    for event in run.events:
        ids["events"][event.shard, event.position] = (event.ce_id, event.command_id)
        if event.live_number is not None:
            ids["live-events"][event.shard, event.live_number] = (event.live_id or "", event.command_id)
            ids["caliper"][event.shard, event.live_number] = (event.caliper_id or "", event.command_id)
    return ids


def check_published_once(run: Run) -> Iterator[Violation]:
    """I4: a student's grade is published once in the log; no record is on a topic twice, none is missing."""
    published = Counter((e.assignment, e.student) for e in run.events if e.type == "grade_published")
    for (assignment, student), count in published.items():
        if count > 1:
            yield Violation("I4", f"published {count} times", f"assignment {assignment} student {student}")
    for output, ids in log_ids(run).items():
        for reader, topics in run.readers.items():
            records = [record for record in topics.get(output, []) if not record.is_replay]
            yield from _check_once(output, reader, records)
            yield from _check_complete(output, reader, topics.get(output, []), ids)
    yield from _check_dead_letters(run)


def _check_once(output: str, reader: str, records: list[TopicRecord]) -> Iterator[Violation]:
    seen: dict[str, TopicRecord] = {}
    for record in records:
        if (first := seen.setdefault(record.ce_id, record)) is not record:
            evidence = f"{reader} read it twice, first {first}"
            yield Violation(ONCE[output], evidence, str(record), record.headers["ce_causationid"])


def _check_complete(output: str, reader: str, records: list[TopicRecord], ids: Ids) -> Iterator[Violation]:
    read = {record.ce_id for record in records}
    missing = Counter(command_id for ce_id, command_id in ids.values() if ce_id not in read)
    expected = Counter(command_id for _, command_id in ids.values())
    for command_id, count in missing.items():
        invariant = "I1" if output == "verdicts" else "I4"
        yield Violation(invariant, f"{reader} misses {count} of {expected[command_id]} records", output, command_id)


def _check_dead_letters(run: Run) -> Iterator[Violation]:
    expected = Counter((row.partition, row.offset) for row in run.dead_letters)
    for reader, topics in run.readers.items():
        read: Counter[tuple[int, int]] = Counter()
        for record in topics.get("dead-letters", []):
            if not record.is_replay:
                read[int(record.headers["original_partition"]), int(record.headers["original_offset"])] += 1
        for place in expected.keys() | read.keys():
            if read[place] != expected[place]:
                evidence = f"{reader} read {read[place]} dead letters of it, the log has {expected[place]}"
                yield Violation("I2", evidence, f"commands {place}")


def check_sequences(run: Run) -> Iterator[Violation]:
    """I5, I6, I7: sequence numbers are 1, 2, 3 … for every reader, and each number has the id that the log has."""
    for output, ids in log_ids(run).items():
        in_log = {ce_id for ce_id, _ in ids.values()}
        for reader, topics in run.readers.items():
            last_sequence: Counter[int] = Counter()
            last_offset: dict[int, int] = {}
            seen: set[str] = set()
            for record in topics.get(output, []):
                if record.offset <= last_offset.get(record.partition, -1):
                    yield Violation("I6", f"{reader} was given offset {record.offset} again", str(record))
                last_offset[record.partition] = record.offset
                expected_id = ids.get((record.partition, record.sequence), ("", ""))[0]
                if record.ce_id not in in_log:
                    evidence = f"{reader} read a record whose id {record.ce_id} the log does not have"
                    yield Violation("I7", evidence, str(record), record.headers["ce_causationid"])
                elif record.ce_id != expected_id:
                    is_order = record.ce_id not in seen
                    evidence = f"number {record.sequence} has the id of another number"
                    yield Violation("I5" if is_order else "I7", evidence, str(record))
                last = last_sequence[record.partition]
                # Replays repeat earlier records, or fill a recreated topic.
                if record.ce_id in seen or (record.is_replay and record.sequence <= last):
                    continue
                seen.add(record.ce_id)
                if record.sequence != last + 1:
                    evidence = f"{reader}: {record.sequence} follows {last}"
                    yield Violation("I6", evidence, str(record), record.headers["ce_causationid"])
                last_sequence[record.partition] = record.sequence


def check_committed_only(run: Run) -> Iterator[Violation]:
    """I7: records that a read_committed reader received are on the topic, with the same bytes; all readers agree."""
    for output, records in run.uncommitted.items():
        on_topic = {(record.partition, record.offset): record for record in records}
        for reader, topics in run.readers.items():
            for record in topics.get(output, []):
                found = on_topic.get((record.partition, record.offset))
                if found is None:
                    continue
                if (found.key, found.value, found.headers) != (record.key, record.value, record.headers):
                    yield Violation("I7", f"{reader} was given other bytes than the topic has", str(record))
    for output in (*OUTPUTS, "dead-letters"):
        by_reader: dict[str, set[Any]] = {
            reader: {(r.partition, r.offset) for r in topics.get(output, [])} for reader, topics in run.readers.items()
        }
        union = set().union(*by_reader.values()) if by_reader else set()
        for reader, read in by_reader.items():
            for partition, offset in sorted(union - read)[:10]:
                yield Violation(
                    "I7", f"{reader} was not given it, another reader was", f"{output} {partition} @ {offset}"
                )
