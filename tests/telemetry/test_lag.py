"""Lag in seconds and the four states of a partition, from looks a second apart."""

import pytest

from services.telemetry.consumer_lag import WINDOW_SAMPLES, ConsumerLag, InFlightRecord, PartitionState

NOW = 1_767_225_600.0
PARTITION = 3


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


class Partition:
    """One partition of a consumer; each look comes a second after the last."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.lag = ConsumerLag(self.clock)

    def looks(self, *seen: tuple[int, int]) -> None:
        """(position, end) of each look."""
        for position, end in seen:
            self.clock.now += 1
            self.lag.sample({PARTITION: position}, {PARTITION: end})

    def hold(self, offset: int, seconds_old: float) -> None:
        self.lag.start_batch({PARTITION: InFlightRecord(offset, self.clock.now - seconds_old)})
        self.lag.mark_attempted()

    @property
    def state(self) -> PartitionState:
        return self.lag.state(PARTITION)

    @property
    def seconds(self) -> float:
        return self.lag.lag_seconds(PARTITION)


@pytest.fixture
def partition() -> Partition:
    return Partition()


def test_a_partition_without_lag_is_ok_and_nothing_of_it_is_old(partition: Partition) -> None:
    partition.looks(*[(100, 100)] * WINDOW_SAMPLES)
    assert (partition.state, partition.seconds, partition.lag.lag_records(PARTITION)) == (PartitionState.OK, 0, 0)


def test_one_look_without_lag_in_the_window_is_enough_to_be_ok(partition: Partition) -> None:
    states = []
    for look in [(100, 100), *[(100, 200)] * WINDOW_SAMPLES]:
        partition.looks(look)
        states.append(partition.state)
    assert states == [*[PartitionState.OK] * WINDOW_SAMPLES, PartitionState.STOPPED]


def test_a_lag_that_falls_is_ok_however_long_it_is(partition: Partition) -> None:
    partition.looks(*[(100 * second, 1_000_000) for second in range(WINDOW_SAMPLES)])
    assert partition.state == PartitionState.OK


def test_a_lag_that_never_falls_while_records_are_decided_is_a_warning(partition: Partition) -> None:
    partition.looks(*[(100 * second, 500 + 120 * second) for second in range(WINDOW_SAMPLES)])
    assert partition.state == PartitionState.WARNING


def test_a_partition_that_is_tried_and_not_decided_is_stalled(partition: Partition) -> None:
    partition.hold(100, seconds_old=0)
    partition.looks(*[(120, 120 + second) for second in range(WINDOW_SAMPLES)])
    partition.lag.mark_attempted()
    assert partition.state == PartitionState.STALLED


def test_a_partition_that_is_not_even_tried_is_stopped(partition: Partition) -> None:
    partition.hold(100, seconds_old=0)
    partition.looks(*[(100, 120)] * (WINDOW_SAMPLES + 1))
    assert partition.state == PartitionState.STOPPED


def test_a_partition_that_the_handler_refuses_is_stopped_at_once_until_it_is_assigned_anew(
    partition: Partition,
) -> None:
    partition.hold(100, seconds_old=5)
    partition.lag.finish_batch([PARTITION])
    partition.looks((120, 120))
    assert (partition.state, partition.seconds, partition.lag.lag_records(PARTITION)) == (PartitionState.STOPPED, 6, 20)
    partition.hold(120, seconds_old=0)
    assert partition.seconds == 6
    partition.lag.reset()
    partition.looks((120, 120))
    assert (partition.state, partition.seconds) == (PartitionState.OK, 0)


def test_a_record_in_hand_is_as_old_as_its_append(partition: Partition) -> None:
    partition.hold(100, seconds_old=40)
    partition.looks((120, 120))
    assert (partition.seconds, partition.lag.lag_records(PARTITION)) == (41, 20)


def test_a_record_that_waits_is_as_old_as_the_last_look_without_it(partition: Partition) -> None:
    partition.looks((100, 100), (100, 100), (100, 105), (100, 110))
    assert partition.seconds == 2
    partition.looks((103, 110), (104, 120))
    assert partition.seconds == 4
    partition.looks((105, 120))
    assert partition.seconds == 4, "record 105 was there at the fourth look, three seconds ago, and not at the third"
    partition.looks((110, 120), (120, 120))
    assert partition.seconds == 0


def test_a_backlog_from_before_the_first_look_ages_from_there(partition: Partition) -> None:
    partition.looks((0, 1_000), *[(0, 1_000 + second) for second in range(2_000)])
    assert partition.seconds == 2_000


def test_a_partition_that_was_taken_away_is_told_no_more(partition: Partition) -> None:
    partition.looks((100, 100))
    partition.lag.sample({}, {})
    assert list(partition.lag.partitions()) == []
