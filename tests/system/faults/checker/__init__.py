"""Checks the observations of a fault run: each violation names invariant, command, record and evidence.

The invariants are those of ``deploy/docs/faults.md``. Nothing here needs a server: a run is data.
"""

from collections.abc import Callable, Iterator, Mapping

from tests.system.faults.checker import (
    client_checks,
    command_checks,
    content_checks,
    decision_checks,
    gateway_checks,
    log_checks,
    schedule_checks,
    topic_checks,
)
from tests.system.faults.checker.observations import Run, Violation

CHECKS: Mapping[str, Callable[[Run], Iterator[Violation]]] = {
    "I1": command_checks.check_no_command_lost,
    "I1, I2, I11": gateway_checks.check_gateway_answers,
    "I2": command_checks.check_one_outcome,
    "I3": command_checks.check_verdicts_have_their_events,
    "I4": topic_checks.check_published_once,
    "I5": command_checks.check_decided_in_order,
    "I5-I7": topic_checks.check_sequences,
    "I6": log_checks.check_log_dense,
    "I7": topic_checks.check_committed_only,
    "I7 content": content_checks.check_content,
    "I8": log_checks.check_log_grows,
    "I10": log_checks.check_served_states,
    "I11": decision_checks.check_decided_by_the_log,
    "I12": command_checks.check_redelivery_is_silent,
    "I1 removed": command_checks.check_removed_stay_undecided,
    "I13": client_checks.check_read_your_verdict,
    "I14": client_checks.check_tenants,
    "I15": client_checks.check_secrecy,
    "I16": client_checks.check_bounded,
    "I17": schedule_checks.check_schedules,
}


def check(run: Run) -> list[Violation]:
    """Return every violation of a run, by invariant."""
    return [violation for find_violations in CHECKS.values() for violation in find_violations(run)]
