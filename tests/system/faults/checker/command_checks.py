"""I1 no command is lost, I2 one outcome, I3 verdict and events agree, I5 decided in the order of offsets, I12."""

from collections import Counter, defaultdict
from collections.abc import Iterator

from tests.system.faults.checker.observations import LogVerdict, Place, Run, Violation, read_command

NOT_SETTLING = ("command_id_reused", "unauthenticated")
"""Reasons of refusals after which a command id is still open, or was settled by another content."""


def check_no_command_lost(run: Run) -> Iterator[Violation]:
    """I1: each acknowledged record has its own verdict, or a dead letter; verdicts on the topic are in the log.

    Only a record that nobody can read may become a dead letter: its line in the history has no command id.
    """
    verdicts = {row.place: row for row in run.verdicts}
    dead_letters = {row.place for row in run.dead_letters}
    known = {row.command_id: row for row in run.verdicts}
    sent: dict[Place, tuple[str, str]] = {}
    for record in run.commands:
        place = (record.source, record.partition, record.offset)
        sent[place] = (read_command(record).get("command_id", ""), "on the topic")
    for line in run.lines("acknowledged"):
        place = (line.get("source", 1), line["partition"], line["offset"])
        if line["offset"] is not None:
            sent[place] = (line["command_id"], "acknowledged")
        # A broker acknowledges a retry of what it already has without the offset; unreadable records have no id.
        elif line["command_id"] and line["command_id"] not in known:
            yield Violation("I1", "acknowledged and without an outcome", f"commands {place}", line["command_id"])
    for place, (command_id, how) in sent.items():
        wrong = _describe_wrong_outcome(command_id, verdicts.get(place), is_dead_letter=place in dead_letters)
        if wrong is not None:
            yield Violation("I1", f"{how} and {wrong}", f"commands {place}", command_id)
    for line in run.lines("verdict_seen"):
        if line["command_id"] not in known:
            yield Violation("I1", "a verdict was published that the log does not have", command_id=line["command_id"])


def _describe_wrong_outcome(command_id: str, verdict: LogVerdict | None, *, is_dead_letter: bool) -> str | None:
    """Describe what is wrong with the outcome of a command, or ("") of an unreadable record; None if nothing is."""
    if verdict is None and not is_dead_letter:
        return "without an outcome"
    if verdict is not None and verdict.command_id != command_id:
        return f"its place has the verdict of {verdict.command_id}"
    if command_id and verdict is None:
        return "a dead letter, though it is a command"
    return None


def check_one_outcome(run: Run) -> Iterator[Violation]:
    """I2: a record has one verdict or one dead letter, a command id is settled once, repeats get the first verdict."""
    for place, count in Counter(row.place for row in run.outcomes()).items():
        if count > 1:
            yield Violation("I2", f"{count} outcomes of one record", f"commands {place}")
    settled: dict[tuple[int, str], list[LogVerdict]] = defaultdict(list)
    for row in run.verdicts:
        if not row.body["duplicate"] and row.body["reason"] not in NOT_SETTLING and row.root_account:
            settled[row.root_account, row.command_id].append(row)
    for (_, command_id), rows in settled.items():
        if len(rows) > 1:
            numbers = ", ".join(f"verdict {row.shard}/{row.number}" for row in rows)
            yield Violation("I2", f"settled {len(rows)} times: {numbers}", command_id=command_id)
    for row in run.verdicts:
        wrong = _describe_wrong_body(row, settled.get((row.root_account, row.command_id), []))
        if wrong is not None:
            yield Violation("I2", wrong, f"verdict {row.shard}/{row.number}", row.command_id)


def _describe_wrong_body(row: LogVerdict, settling: list[LogVerdict]) -> str | None:
    """Describe how a body is not its command's, or a duplicate's not the first one again; None if neither."""
    if row.body["command_id"] != row.command_id:
        return f"its body is that of {row.body['command_id']}"
    if not row.body["duplicate"]:
        return None
    if not settling:
        return "a duplicate of a command that was never settled"
    first = settling[0]
    different = sorted(
        name
        for name in (row.body.keys() | first.body.keys()) - {"duplicate"}
        if row.body.get(name) != first.body.get(name)
    )
    return f"a duplicate with another {', '.join(different)} than {first.shard}/{first.number}" if different else None


def check_verdicts_have_their_events(run: Run) -> Iterator[Violation]:
    """I3: an accepted command has exactly its events, in its verdict's transaction; any other verdict has none."""
    events = defaultdict(list)
    for event in run.events:
        events[event.command_id].append(event)
    accepted = {}
    for row in run.verdicts:
        if row.body["status"] == "accepted" and not row.body["duplicate"]:
            accepted[row.command_id] = row
    for command_id, row in accepted.items():
        own = events.get(command_id, [])
        if len(own) != row.body["events"]:
            evidence = f"the verdict says {row.body['events']} events, the log has {len(own)}"
            yield Violation("I3", evidence, f"verdict {row.shard}/{row.number}", command_id)
        elif any(event.transaction != row.transaction for event in own):
            yield Violation("I3", "verdict and events were committed apart", command_id=command_id)
    for command_id, own in events.items():
        if command_id not in accepted:
            yield Violation("I3", f"{len(own)} events of a command that was not accepted", command_id=command_id)


def check_decided_in_order(run: Run) -> Iterator[Violation]:
    """I5: decisions follow the order of offsets in each partition."""
    last: dict[tuple[int, int, int], int] = {}
    for row in sorted(run.verdicts, key=lambda row: (row.shard, row.number)):
        feed = (row.shard, row.source, row.partition)
        if row.offset < last.get(feed, -1):
            evidence = f"offset {row.offset} was decided after {last[feed]}"
            yield Violation("I5", evidence, f"verdict {row.shard}/{row.number}", row.command_id)
        last[feed] = max(row.offset, last.get(feed, -1))


def check_redelivery_is_silent(run: Run) -> Iterator[Violation]:
    """I12: records that are delivered again change no row and emit no record."""
    snapshots = {snapshot.name: snapshot for snapshot in run.snapshots}
    for line in run.lines("redelivered"):
        before, after = snapshots[line["before"]], snapshots[line["after"]]
        for table in sorted(before.rows.keys() | after.rows.keys()):
            if before.rows.get(table, []) != after.rows.get(table, []):
                yield Violation("I12", f"a redelivery changed {table}", line["after"])
        for topic, end in line["ends_before"].items():
            if line["ends_after"][topic] != end:
                evidence = f"a redelivery emitted {line['ends_after'][topic] - end} records"
                yield Violation("I12", evidence, topic)


def check_removed_stay_undecided(run: Run) -> Iterator[Violation]:
    """I1: a record that was removed from the topic before it was decided has no outcome: nobody can know it."""
    outcomes = {row.place for row in run.outcomes()}
    for line in run.lines("removed"):
        place = (line["source"], line["partition"], line["offset"])
        if place in outcomes:
            yield Violation("I1", "removed before it was decided, and has an outcome", f"commands {place}")
