"""Lag in seconds and the four states of a partition, from samples a second apart."""

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
    """One partition of a consumer; samples are a second apart."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.lag = ConsumerLag(self.clock)

    def sample(self, *seen: tuple[int, int]) -> None:
        """Take a sample for each (position, end)."""
        for position, end in seen:
            self.clock.now += 1
            self.lag.sample({PARTITION: position}, {PARTITION: end}, {PARTITION: end})

    def start_batch(self, offset: int, seconds_old: float) -> None:
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


def test_partition_without_lag_is_ok_and_has_zero_lag_seconds(partition: Partition) -> None:
    partition.sample(*[(100, 100)] * WINDOW_SAMPLES)
    assert (partition.state, partition.seconds, partition.lag.lag_records(PARTITION)) == (PartitionState.OK, 0, 0)


def test_one_sample_without_lag_in_the_window_keeps_the_partition_ok(partition: Partition) -> None:
    states = []
    for look in [(100, 100), *[(100, 200)] * WINDOW_SAMPLES]:
        partition.sample(look)
        states.append(partition.state)
    assert states == [*[PartitionState.OK] * WINDOW_SAMPLES, PartitionState.STOPPED]


def test_falling_lag_is_ok_at_any_size(partition: Partition) -> None:
    partition.sample(*[(100 * second, 1_000_000) for second in range(WINDOW_SAMPLES)])
    assert partition.state == PartitionState.OK


def test_growing_lag_with_progress_is_a_warning(partition: Partition) -> None:
    partition.sample(*[(100 * second, 500 + 120 * second) for second in range(WINDOW_SAMPLES)])
    assert partition.state == PartitionState.WARNING


def test_partition_with_attempts_but_no_progress_is_stalled(partition: Partition) -> None:
    partition.start_batch(100, seconds_old=0)
    partition.sample(*[(120, 120 + second) for second in range(WINDOW_SAMPLES)])
    partition.lag.mark_attempted()
    assert partition.state == PartitionState.STALLED


def test_partition_without_attempts_is_stopped(partition: Partition) -> None:
    partition.start_batch(100, seconds_old=0)
    partition.sample(*[(100, 120)] * (WINDOW_SAMPLES + 1))
    assert partition.state == PartitionState.STOPPED


def test_rejected_partition_is_stopped_until_it_is_reassigned(
    partition: Partition,
) -> None:
    partition.start_batch(100, seconds_old=5)
    partition.lag.finish_batch([PARTITION])
    partition.sample((120, 120))
    assert (partition.state, partition.seconds, partition.lag.lag_records(PARTITION)) == (PartitionState.STOPPED, 6, 20)
    partition.start_batch(120, seconds_old=0)
    assert partition.seconds == 6
    partition.lag.reset()
    partition.sample((120, 120))
    assert (partition.state, partition.seconds) == (PartitionState.OK, 0)


def test_in_flight_record_is_aged_from_its_append_time(partition: Partition) -> None:
    partition.start_batch(100, seconds_old=40)
    partition.sample((120, 120))
    assert (partition.seconds, partition.lag.lag_records(PARTITION)) == (41, 20)


def test_waiting_record_is_aged_from_the_last_sample_without_it(partition: Partition) -> None:
    partition.sample((100, 100), (100, 100), (100, 105), (100, 110))
    assert partition.seconds == 2
    partition.sample((103, 110), (104, 120))
    assert partition.seconds == 4
    partition.sample((105, 120))
    assert partition.seconds == 4, "record 105 was there at the fourth look, three seconds ago, and not at the third"
    partition.sample((110, 120), (120, 120))
    assert partition.seconds == 0


def test_initial_backlog_is_aged_from_the_first_sample(partition: Partition) -> None:
    partition.sample((0, 1_000), *[(0, 1_000 + second) for second in range(2_000)])
    assert partition.seconds == 2_000


def test_revoked_partition_is_no_longer_reported(partition: Partition) -> None:
    partition.sample((100, 100))
    partition.lag.sample({}, {}, {})
    assert list(partition.lag.partitions()) == []


def test_open_transaction_is_aged_from_the_first_sample_that_it_ends_and_counts_as_lag(partition: Partition) -> None:
    for stable_end in (100, 105, 105, 105):
        partition.clock.now += 1
        partition.lag.sample({PARTITION: stable_end}, {PARTITION: 110}, {PARTITION: stable_end})
    assert partition.lag.lag_records(PARTITION) == 5
    assert partition.lag.open_transaction_seconds(PARTITION) == 2
    partition.sample((105, 110))
    assert partition.lag.open_transaction_seconds(PARTITION) == 0
