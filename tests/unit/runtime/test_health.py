"""Readiness and liveness: an unavailable server makes a process not ready but keeps it live; a stuck loop does not."""

from services.runtime.health import HEARTBEAT_SECONDS_MAX, Health


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


def started_health() -> tuple[Health, Clock]:
    clock = Clock()
    health = Health(clock)
    health.problem = None
    health.heartbeat("commands-0")
    return health, clock


def test_stalled_loop_is_detected_within_thirty_seconds() -> None:
    health, clock = started_health()
    health.heartbeat("watch")
    clock.now += HEARTBEAT_SECONDS_MAX
    health.heartbeat("watch")
    assert health.not_live_reason() is None
    clock.now += 30 - HEARTBEAT_SECONDS_MAX
    assert health.not_live_reason() == "stuck: commands-0"


def test_heartbeat_can_extend_its_deadline() -> None:
    health, clock = started_health()
    health.heartbeat("commands-0", 150)
    clock.now += 149
    assert health.not_live_reason() is None
    clock.now += 2
    assert health.not_live_reason() is not None


def test_loops_do_not_count_as_stalled_during_or_just_after_an_outage() -> None:
    health, clock = started_health()
    health.set_server_problem("postgresql", "PostgreSQL does not answer")
    clock.now += 3_600
    assert (health.not_live_reason(), health.not_ready_reason()) == (None, "PostgreSQL does not answer")
    health.set_server_problem("postgresql", None)
    assert (health.not_live_reason(), health.not_ready_reason()) == (None, None)
    clock.now += HEARTBEAT_SECONDS_MAX + 1
    assert health.not_live_reason() == "stuck: commands-0"


def test_problems_are_deduplicated_and_reported_until_their_owner_clears_them() -> None:
    health, _ = started_health()
    health.set_server_problem("postgresql", "PostgreSQL does not answer")
    health.set_component_problem("commands-0", "PostgreSQL does not answer")
    health.set_component_problem("commands-1", "partition 3 is stopped")
    assert health.not_ready_reason() == "PostgreSQL does not answer; partition 3 is stopped"
    health.set_component_problem("commands-0", None)
    health.set_server_problem("postgresql", None)
    assert health.not_ready_reason() == "partition 3 is stopped"
