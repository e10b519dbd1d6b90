"""Ready and live: a server that is away makes a process unready and never dead; a stuck loop makes it dead."""

from services.runtime.health import LOOP_SECONDS_MAX, Health


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


def begun() -> tuple[Health, Clock]:
    clock = Clock()
    health = Health(clock)
    health.problem = None
    health.beat("commands-0")
    return health, clock


def test_a_loop_that_begins_no_other_turn_is_found_stuck_within_thirty_seconds() -> None:
    health, clock = begun()
    health.beat("watch")
    clock.now += LOOP_SECONDS_MAX
    health.beat("watch")
    assert health.stuck() is None
    clock.now += 30 - LOOP_SECONDS_MAX
    assert health.stuck() == "stuck: commands-0"


def test_a_turn_that_may_take_longer_says_so() -> None:
    health, clock = begun()
    health.beat("commands-0", 150)
    clock.now += 149
    assert health.stuck() is None
    clock.now += 2
    assert health.stuck() is not None


def test_no_loop_is_stuck_while_a_server_is_away_nor_just_after() -> None:
    health, clock = begun()
    health.server("postgresql", "PostgreSQL does not answer")
    clock.now += 3_600
    assert (health.stuck(), health.wrong()) == (None, "PostgreSQL does not answer")
    health.server("postgresql", None)
    assert (health.stuck(), health.wrong()) == (None, None)
    clock.now += LOOP_SECONDS_MAX + 1
    assert health.stuck() == "stuck: commands-0"


def test_what_is_wrong_is_said_once_each_and_stays_until_who_said_it_takes_it_back() -> None:
    health, _ = begun()
    health.server("postgresql", "PostgreSQL does not answer")
    health.say("commands-0", "PostgreSQL does not answer")
    health.say("commands-1", "partition 3 is stopped")
    assert health.wrong() == "PostgreSQL does not answer; partition 3 is stopped"
    health.say("commands-0", None)
    health.server("postgresql", None)
    assert health.wrong() == "partition 3 is stopped"
