"""The state of each commands partition over repeated samples of its lag."""

from datetime import UTC, datetime

import pytest

from services.console.group_members import GroupMembers
from services.console.kafka_probe import PartitionLag
from services.console.partition_sampler import STOPPED_AFTER_SECONDS, PartitionSampler
from services.console.pipeline_status import PartitionStatus
from services.telemetry.consumer_lag import WINDOW_SAMPLES

AT = datetime(2026, 1, 31, 3, 0, tzinfo=UTC)


class Samples:
    """A sampler of partition 0, whose group is not described."""

    def __init__(self, group_members: GroupMembers) -> None:
        self.sampler = PartitionSampler()
        self.group_members = group_members

    def add(self, watermark: int, records: int, age_seconds: float | None = None) -> PartitionStatus:
        append_time = None if age_seconds is None else int((AT.timestamp() - age_seconds) * 1_000)
        self.sampler.add(AT, {0: watermark}, {0: PartitionLag(records, append_time)}, self.group_members)
        (status,) = self.sampler.partitions
        return status


@pytest.fixture
async def samples() -> Samples:
    return Samples(GroupMembers("127.0.0.1:1", "unit"))


async def test_partition_without_lag_is_conclusive_after_one_sample(samples: Samples) -> None:
    status = samples.add(watermark=6, records=0)
    assert (status.state, status.waiting, status.decided_offset, status.owner) == ("up to date", 0, 7, None)
    assert samples.sampler.is_conclusive


async def test_truncated_partition_is_stopped_and_has_nothing_waiting(samples: Samples) -> None:
    status = samples.add(watermark=6, records=-3)
    assert (status.state, status.waiting, status.is_cut) == ("stopped", 0, True)


@pytest.mark.parametrize(
    ("age_seconds", "state"), [(STOPPED_AFTER_SECONDS - 1, "stalled"), (STOPPED_AFTER_SECONDS + 1, "stopped")]
)
async def test_partition_without_progress_is_stalled_and_after_a_minute_stopped(
    age_seconds: float, state: str, samples: Samples
) -> None:
    for _ in range(WINDOW_SAMPLES - 1):
        assert samples.add(6, 4, age_seconds).state == "up to date"
        assert not samples.sampler.is_conclusive
    status = samples.add(6, 4, age_seconds)
    assert (status.state, status.waiting, status.oldest_seconds) == (state, 4, age_seconds)
    assert samples.sampler.is_conclusive


async def test_growing_lag_with_progress_is_falling_behind(samples: Samples) -> None:
    for number in range(WINDOW_SAMPLES):
        status = samples.add(watermark=number, records=4 + number, age_seconds=1)
    assert status.state == "falling behind"
