"""The checker of fault runs finds each planted fault by its invariant, and no violation in a correct run."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.system.faults.checker import check
from tests.system.faults.checker.observations import LogSchedule, Run, Snapshot, TopicRecord
from tests.unit.faults.observed_run import SECRET, clean_run, find

Plant = Callable[[Run], None]
TOKEN = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiIyMSJ9.c2lnbmF0dXJl"  # noqa: S105


def of_readers(run: Run, topic: str, change: Callable[[list[TopicRecord]], list[TopicRecord]]) -> None:
    """Change the records of a topic that every reader received."""
    for topics in run.readers.values():
        topics[topic] = change(topics[topic])


def with_headers(record: TopicRecord, **headers: str) -> TopicRecord:
    return replace(record, headers={**record.headers, **headers})


def drop_a_record(run: Run) -> None:
    of_readers(run, "verdicts", lambda records: records[:2] + records[3:])


def repeat_a_record(run: Run) -> None:
    of_readers(run, "live-events", lambda records: [*records, replace(records[0], offset=records[-1].offset + 2)])


def repeat_a_verdict(run: Run) -> None:
    of_readers(run, "verdicts", lambda records: [*records[:4], replace(records[3], offset=9), *records[4:]])


def swap_two_records(run: Run) -> None:
    def swap(records: list[TopicRecord]) -> list[TopicRecord]:
        first, second = records[1], records[2]
        first_headers = {**first.headers, "ce_sequence": second.headers["ce_sequence"]}
        second_headers = {**second.headers, "ce_sequence": first.headers["ce_sequence"]}
        moved = [replace(second, offset=first.offset, headers=second_headers)]
        return [records[0], *moved, replace(first, offset=second.offset, headers=first_headers), *records[3:]]

    of_readers(run, "events", swap)
    run.uncommitted["events"] = []


def shift_a_sequence(run: Run) -> None:
    of_readers(run, "caliper", lambda rs: [*rs[:-1], with_headers(rs[-1], ce_sequence=f"{rs[-1].sequence + 1:020}")])
    run.uncommitted["caliper"] = []


def leak_an_aborted_record(run: Run) -> None:
    aborted = with_headers(run.readers["during"]["verdicts"][-1], ce_id="of an aborted transaction", ce_sequence="2")
    run.readers["during"]["verdicts"].append(replace(aborted, offset=99))


def publish_half(run: Run) -> None:
    of_readers(run, "live-events", lambda records: records[:1])


def change_a_byte_of_the_log(run: Run) -> None:
    last = run.snapshots[-1]
    rows = dict(last.rows)
    table = next(iter(rows))
    rows[table] = ["another digest", *rows[table][1:]]
    run.snapshots[-1] = Snapshot(last.name, rows)


def delete_the_tail(run: Run) -> None:
    last = run.snapshots[-1]
    middle = run.snapshots[1]
    run.snapshots[-1] = Snapshot(last.name, {table: rows[:-1] for table, rows in middle.rows.items()})


def change_an_id_in_a_replay(run: Run) -> None:
    def replay(records: list[TopicRecord]) -> list[TopicRecord]:
        again = with_headers(records[0], replay="true", ce_id="drawn again")
        return [*records, replace(again, offset=99)]

    of_readers(run, "events", replay)


def cross_the_tenants(run: Run) -> None:
    """The log has it, too."""
    data = run.events[-1].data.replace("of-2", "of-1")
    run.events[-1] = replace(run.events[-1], data=data)
    of_readers(run, "events", lambda rs: [*rs[:-1], replace(rs[-1], value=data)])
    run.uncommitted["events"] = []


def log_a_token(run: Run) -> None:
    run.texts["relay-1.log"] = [f"request with Bearer {TOKEN}"]


def the_schedule(run: Run) -> LogSchedule:
    return next(schedule for schedule in run.schedules if schedule.schedule_id == "schedule")


def change_the_schedule(run: Run, **changes: Any) -> None:
    run.schedules = [replace(s, **changes) if s.schedule_id == "schedule" else s for s in run.schedules]


def fire_early(run: Run) -> None:
    change_the_schedule(run, publish_at=the_schedule(run).publish_at + 10)


def fire_under_another_id(run: Run) -> None:
    run.commands = [replace(record, value=record.value.replace("fires", "another")) for record in run.commands]


def never_fire(run: Run) -> None:
    refused = next(schedule for schedule in run.schedules if schedule.schedule_id == "refused schedule")
    run.schedules.append(replace(refused, schedule_id="forgotten", publication_id="fires forgotten"))


def fire_after_cancelling(run: Run) -> None:
    change_the_schedule(run, ended_by="cancels", ended_as="publication_schedule_cancelled")


def fire_without_publishing(run: Run) -> None:
    change_the_schedule(run, ended_by=None, ended_as=None)


PLANTED = {
    drop_a_record: {"I1", "I6"},
    repeat_a_record: {"I4"},
    swap_two_records: {"I5"},
    shift_a_sequence: {"I6", "I5"},
    leak_an_aborted_record: {"I7"},
    publish_half: {"I4"},
    change_a_byte_of_the_log: {"I8"},
    delete_the_tail: {"I8"},
    change_an_id_in_a_replay: {"I7"},
    cross_the_tenants: {"I14"},
    log_a_token: {"I15"},
    fire_early: {"I17"},
    fire_under_another_id: {"I17"},
    never_fire: {"I17"},
    fire_after_cancelling: {"I17"},
    fire_without_publishing: {"I17"},
}


@pytest.mark.parametrize(("plant", "invariants"), PLANTED.items(), ids=lambda value: getattr(value, "__name__", ""))
def test_planted_fault_is_found_by_its_invariant(plant: Plant, invariants: set[str]) -> None:
    run = clean_run()
    plant(run)
    assert find(run) == invariants


def decide_twice(run: Run) -> None:
    run.verdicts.append(replace(run.verdicts[0], number=len(run.verdicts), ce_id="again", offset=50))


def commit_events_apart(run: Run) -> None:
    run.events[1] = replace(run.events[1], transaction="another")


def keep_events_of_a_refusal(run: Run) -> None:
    run.events[1] = replace(run.events[1], command_id="early")


def decide_in_another_order(run: Run) -> None:
    first, second = run.verdicts[1], run.verdicts[2]
    run.verdicts[1:3] = [replace(first, offset=second.offset), replace(second, offset=first.offset)]


def acknowledge_without_outcome(run: Run) -> None:
    run.history.append({"kind": "acknowledged", "at": 99, "command_id": "lost", "partition": 3, "offset": 99})


def the_acknowledgement(run: Run, command_id: str) -> dict[str, Any]:
    return next(line for line in run.lines("acknowledged") if line["command_id"] == command_id)


def take_the_place_of_a_command(run: Run) -> None:
    """Kafka loses an acknowledged record, and another one gets its offset."""
    the_acknowledgement(run, "grade 31")["command_id"] = "lost"


def bury_a_command(run: Run) -> None:
    """What PostgreSQL could not do for a moment is taken for the record's fault."""
    the_acknowledgement(run, "")["command_id"] = "valid"


def bury_an_unacknowledged_command(run: Run) -> None:
    letter = the_acknowledgement(run, "")
    run.history.remove(letter)
    place = (letter["partition"], letter["offset"])
    run.commands = [
        replace(record, value='{"command_id": "valid"}') if (record.partition, record.offset) == place else record
        for record in run.commands
    ]


def decide_what_was_removed(run: Run) -> None:
    run.history.append({"kind": "removed", "at": 99, "command_id": "cut", "source": 1, "partition": 3, "offset": 0})


def publish_a_grade_again(run: Run) -> None:
    (last,) = (event for event in run.events if event.student == 33 and event.type == "grade_published")
    run.events[run.events.index(last)] = replace(last, student=32)


def fire_twice(run: Run) -> None:
    (fired,) = (row for row in run.verdicts if row.command_id == "fires schedule")
    run.verdicts.append(replace(fired, number=99, ce_id="again", offset=50))


def post_grades_twice(run: Run) -> None:
    (posted,) = (event for event in run.events if event.command_id == "fires schedule")
    run.events.append(replace(posted, position=99, version=99, command_id="posts again"))


def take_one_snapshot(run: Run) -> None:
    run.snapshots = run.snapshots[-1:]


def take_no_snapshot_for_five_minutes(run: Run) -> None:
    run.snapshots = run.snapshots[1:]
    run.history.append({"kind": "recovery", "at": run.history[0]["at"] + 300})


def emit_on_redelivery(run: Run) -> None:
    ends = {"verdicts": 7}
    line = {"kind": "redelivered", "at": 99, "before": "end", "after": "end", "ends_before": ends}
    run.history.append({**line, "ends_after": {"verdicts": 8}})


def serve_an_old_version(run: Run) -> None:
    run.history.append({"kind": "state", "at": 99, "started_at": 98, "assignment": "1000", "version": 4})


def use_too_much_memory(run: Run) -> None:
    run.history.append({"kind": "sample", "at": 99, "process": "handler-1", "pid": 7, "memory_mib": 3_700})


def fence_again_and_again(run: Run) -> None:
    lines = ({"kind": "sample", "at": 100 + n, "process": "relay-1", "pid": 8, "fenced": 3 * n} for n in range(6))
    run.history.extend(lines)


def sample_nothing(run: Run) -> None:
    run.history = [line for line in run.history if line["kind"] != "sample"]


def sample_until_half_of_the_run(run: Run) -> None:
    samples = list(run.lines("sample"))
    run.history = [line for line in run.history if line not in samples[9:]]


def start_another_that_is_never_sampled(run: Run) -> None:
    run.history += [
        {"kind": "started", "at": 99, "process": "relay-2"},
        {"kind": "ended", "at": 199, "process": "relay-2"},
    ]


def answer_no_question_for_fencings(run: Run) -> None:
    start_another_that_is_never_sampled(run)
    sample = {"kind": "sample", "process": "relay-2", "pid": 9, "memory_mib": 90}
    run.history += [{**sample, "at": 99 + second} for second in range(100)]


def log_a_comment(run: Run) -> None:
    run.texts["handler-1.log"].append(f"cannot store {SECRET}")


def keep_the_token_of_a_dead_letter(run: Run) -> None:
    of_readers(run, "dead-letters", lambda records: [with_headers(records[0], authorization=f"Bearer {TOKEN}")])


def quote_a_comment_in_a_header(run: Run) -> None:
    of_readers(run, "dead-letters", lambda records: [with_headers(records[0], error=f"expected a number: {SECRET}")])


MORE = {
    repeat_a_verdict: "I2",
    decide_twice: "I2",
    commit_events_apart: "I3",
    keep_events_of_a_refusal: "I3",
    decide_in_another_order: "I5",
    acknowledge_without_outcome: "I1",
    take_the_place_of_a_command: "I1",
    bury_a_command: "I1",
    bury_an_unacknowledged_command: "I1",
    decide_what_was_removed: "I1",
    publish_a_grade_again: "I4",
    take_one_snapshot: "I8",
    take_no_snapshot_for_five_minutes: "I8",
    emit_on_redelivery: "I12",
    serve_an_old_version: "I13",
    log_a_comment: "I15",
    keep_the_token_of_a_dead_letter: "I15",
    quote_a_comment_in_a_header: "I15",
    use_too_much_memory: "I16",
    fence_again_and_again: "I16",
    sample_nothing: "I16",
    sample_until_half_of_the_run: "I16",
    start_another_that_is_never_sampled: "I16",
    answer_no_question_for_fencings: "I16",
    fire_twice: "I17",
    post_grades_twice: "I17",
}


@pytest.mark.parametrize(("plant", "invariant"), MORE.items(), ids=lambda value: getattr(value, "__name__", value))
def test_each_invariant_has_a_fault_that_breaks_it(plant: Plant, invariant: str) -> None:
    run = clean_run()
    plant(run)
    assert invariant in find(run)


def test_acknowledgement_without_an_offset_is_found_by_its_command() -> None:
    run = clean_run()
    retried = next(line for line in run.lines("acknowledged") if line["command_id"] == "publish")
    retried["offset"] = None
    assert check(run) == []
    retried["command_id"] = "lost"
    assert find(run) == {"I1"}


def test_faultless_run_has_no_violation(tmp_path: Path) -> None:
    run = clean_run()
    assert check(run) == []
    run.save(tmp_path)
    assert check(Run.load(tmp_path)) == []


def test_violation_names_invariant_record_command_and_evidence(tmp_path: Path) -> None:
    run = clean_run()
    acknowledge_without_outcome(run)
    run.save(tmp_path)
    (violation,) = check(Run.load(tmp_path))
    assert str(violation) == "I1 commands (1, 3, 99) command lost: acknowledged and without an outcome"


def test_dead_letter_keeps_its_value_as_it_was_received() -> None:
    run = clean_run()
    value = f"{SECRET} {TOKEN}"
    run.commands = [replace(record, value=value) if record.value == "{" else record for record in run.commands]
    of_readers(run, "dead-letters", lambda records: [replace(records[0], value=value)])
    assert check(run) == []


def replayed(record: TopicRecord, **changes: Any) -> TopicRecord:
    return replace(with_headers(record, replay="true"), **changes)


def test_recreated_topic_filled_with_replays_is_no_violation() -> None:
    run = clean_run()
    of_readers(run, "events", lambda rs: [*(replayed(r) for r in rs[:3]), *rs[3:]])
    run.uncommitted["events"] = []
    assert check(run) == []
    of_readers(run, "events", lambda rs: [rs[0], *rs[2:]])
    assert find(run) == {"I4", "I6", "I10"}


def test_replayed_records_are_no_violation() -> None:
    run = clean_run()
    of_readers(run, "events", lambda rs: [*rs, *(replayed(r, offset=r.offset + 100) for r in rs if r.partition == 3)])
    assert check(run) == []
