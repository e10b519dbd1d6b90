"""Batch histograms export the same samples as prometheus_client's own histograms."""

import random

from prometheus_client import CollectorRegistry, Histogram, generate_latest

from services.telemetry.collectors import BatchHistogram
from services.telemetry.metrics.process import SECONDS_BUCKETS


def test_batch_histogram_equals_a_histogram_of_single_values() -> None:
    chance = random.Random(20260101)
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    batches = BatchHistogram("wait_seconds", "Seconds", ("topic",), SECONDS_BUCKETS, ours)
    values = Histogram("wait_seconds", "Seconds", ("topic",), buckets=SECONDS_BUCKETS, registry=theirs)
    for size in (0, 1, 2, 7, 500):
        for topic in ("events", "verdicts"):
            # Exact in binary, so that the sum does not depend on the order; some equal a bound, some exceed all bounds.
            exact = [0.0, 0.25, 0.5, 1.0, 60.0, 61.0, *(chance.randrange(4_000) / 64 for _ in range(20))]
            batch = [chance.choice(exact) for _ in range(size)]
            batches.observe(list(batch), topic)
            values.labels(topic)
            for value in batch:
                values.labels(topic).observe(value)

    assert generate_latest(ours) == generate_latest(theirs)
