"""What gateways answer to grades: I1 it is true of the log, I2 one command for a key, I11 grades are accepted.

The score of each request is its number. A command's correlation id is the id that the gateway gave the request.
"""

from collections import defaultdict
from collections.abc import Iterator

from tests.system.faults.checker.observations import LogVerdict, Place, Run, Violation, read_command

OK, PENDING, UNAVAILABLE = 200, 202, 503


def check_gateway_answers(run: Run) -> Iterator[Violation]:
    """I1, I2, I11: each answer to a grade against the commands that gateways sent, and their verdicts."""
    verdicts = {row.place: row for row in run.verdicts}
    ids_by_number: dict[str, set[str]] = defaultdict(set)
    place_by_request: dict[str, Place] = {}
    for record in run.commands:
        command = read_command(record)
        if command.get("correlation_id") is not None:
            place_by_request[command["correlation_id"]] = (record.source, record.partition, record.offset)
            ids_by_number[command["data"]["posted_grade"]].add(command["command_id"])
    accepted = {row.command_id for row in run.verdicts if row.body["status"] == "accepted"}
    for number, ids in ids_by_number.items():
        if len(ids) > 1:
            yield Violation("I2", f"one Idempotency-Key, {len(ids)} commands: {sorted(ids)}", f"request {number}")
    for line in run.lines("http_attempt"):
        number, status, command_id = line["number"], line["status"], line["command_id"]
        ids, place = ids_by_number[str(number)], place_by_request.get(line["request_id"])
        if status == PENDING and ids and command_id not in ids:
            yield Violation("I2", f"answered 202 with another command than {ids}", f"request {number}", command_id)
        verdict = None if place is None else verdicts.get(place)
        if status == UNAVAILABLE and verdict is not None and _has_changed_something(verdict):
            evidence = "answered 503 (nothing was changed), and accepted"
            yield Violation("I1", evidence, f"request {number}", verdict.command_id)
    for line in run.lines("http"):
        number, status = line["number"], line["status"]
        if status != OK:
            yield Violation("I11", f"a valid grade was answered {status}: {line['body']}", f"request {number}")
            continue
        if not ids_by_number[str(number)] & accepted:
            yield Violation("I1", "answered 200 without an accepting verdict in the log", f"request {number}")
        if line["score"] != number:
            yield Violation("I1", f"answered 200 with the score {line['score']}", f"request {number}")


def _has_changed_something(verdict: LogVerdict) -> bool:
    return verdict.body["status"] == "accepted" and not verdict.body["duplicate"]
