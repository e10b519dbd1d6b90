"""Ready and live: a server that is away makes a process unready and never dead; a stuck loop makes it dead."""

from services.runtime.health import HEARTBEAT_SECONDS_MAX, Health


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


def begun() -> tuple[Health, Clock]:
    clock = Clock()
    health = Health(clock)
    health.problem = None
    health.heartbeat("commands-0")
    return health, clock


def test_a_loop_that_begins_no_other_turn_is_found_stuck_within_thirty_seconds() -> None:
    health, clock = begun()
    health.heartbeat("watch")
    clock.now += HEARTBEAT_SECONDS_MAX
    health.heartbeat("watch")
    assert health.not_live_reason() is None
    clock.now += 30 - HEARTBEAT_SECONDS_MAX
    assert health.not_live_reason() == "stuck: commands-0"


def test_a_turn_that_may_take_longer_says_so() -> None:
    health, clock = begun()
    health.heartbeat("commands-0", 150)
    clock.now += 149
    assert health.not_live_reason() is None
    clock.now += 2
    assert health.not_live_reason() is not None


def test_no_loop_is_stuck_while_a_server_is_away_nor_just_after() -> None:
    health, clock = begun()
    health.set_server_problem("postgresql", "PostgreSQL does not answer")
    clock.now += 3_600
    assert (health.not_live_reason(), health.not_ready_reason()) == (None, "PostgreSQL does not answer")
    health.set_server_problem("postgresql", None)
    assert (health.not_live_reason(), health.not_ready_reason()) == (None, None)
    clock.now += HEARTBEAT_SECONDS_MAX + 1
    assert health.not_live_reason() == "stuck: commands-0"


def test_what_is_wrong_is_said_once_each_and_stays_until_who_said_it_takes_it_back() -> None:
    health, _ = begun()
    health.set_server_problem("postgresql", "PostgreSQL does not answer")
    health.set_component_problem("commands-0", "PostgreSQL does not answer")
    health.set_component_problem("commands-1", "partition 3 is stopped")
    assert health.not_ready_reason() == "PostgreSQL does not answer; partition 3 is stopped"
    health.set_component_problem("commands-0", None)
    health.set_server_problem("postgresql", None)
    assert health.not_ready_reason() == "partition 3 is stopped"
