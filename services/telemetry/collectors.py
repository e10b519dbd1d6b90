"""Metric types that prometheus_client lacks: batch histograms, and gauges and counters evaluated at scrape time."""

import platform
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence

from prometheus_client import (
    GC_COLLECTOR,
    PLATFORM_COLLECTOR,
    PROCESS_COLLECTOR,
    CollectorRegistry,
    Gauge,
    disable_created_metrics,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from services.telemetry import VERSION

Labels = tuple[str, ...]
SampleCallback = Callable[[], Iterable[tuple[Labels, float]]]

# The creation time of each series would add half as many lines again, and nothing uses it.
disable_created_metrics()


def new_registry(process: str) -> CollectorRegistry:
    """Create a registry with the metrics of every process: build, CPU time, memory and open files."""
    registry = CollectorRegistry()
    for collector in (PROCESS_COLLECTOR, PLATFORM_COLLECTOR, GC_COLLECTOR):
        registry.register(collector)
    build = Gauge(
        "moderation_build_info",
        "Always 1; the labels name process, version and Python",
        ("process", "version", "python"),
        registry=registry,
    )
    build.labels(process, VERSION, platform.python_version()).set(1)
    return registry


class BatchHistogram(Collector):
    """A histogram that observes all values of a batch at once, at a fifth of the cost of a call for each value."""

    def __init__(
        self, name: str, help: str, labels: Labels, buckets: Sequence[float], registry: CollectorRegistry
    ) -> None:
        self.name = name
        self.help = help
        self.label_names = labels
        self.buckets = tuple(buckets)
        self._counts: dict[Labels, list[int]] = {}
        self._sums: dict[Labels, float] = {}
        if not labels:
            self.ensure_series()
        registry.register(self)

    def ensure_series(self, *labels: str) -> None:
        """Create the series of these labels, at zero."""
        self._counts.setdefault(labels, [0] * (len(self.buckets) + 1))
        self._sums.setdefault(labels, 0.0)

    def observe(self, values: list[float], *labels: str) -> None:
        """Observe values; sorts the list in place."""
        self.ensure_series(*labels)
        values.sort()
        counts, first = self._counts[labels], 0
        for index, bound in enumerate(self.buckets):
            after = bisect_right(values, bound, first)
            counts[index] += after - first
            if after == len(values):
                break
            first = after
        else:
            counts[-1] += len(values) - first
        self._sums[labels] += sum(values)

    def collect(self) -> Iterable[Metric]:
        family = HistogramMetricFamily(self.name, self.help, labels=self.label_names)
        for labels, counts in list(self._counts.items()):
            cumulative, buckets = 0, []
            for bound, count in zip([*map(str, map(float, self.buckets)), "+Inf"], counts, strict=True):
                cumulative += count
                buckets.append((bound, cumulative))
            family.add_metric(labels, buckets, self._sums[labels])
        yield family


class CallbackGauge(Collector):
    """A gauge whose values are read at each scrape; its series exist only while the callback returns them."""

    family: type[GaugeMetricFamily] | type[CounterMetricFamily] = GaugeMetricFamily

    def __init__(self, name: str, help: str, labels: Labels, registry: CollectorRegistry) -> None:
        self.name = name
        self.help = help
        self.label_names = labels
        self.callback: SampleCallback = tuple
        registry.register(self)

    def collect(self) -> Iterable[Metric]:
        family = self.family(self.name, self.help, labels=self.label_names)
        for labels, value in self.callback():
            family.add_metric(labels, value)
        yield family


class CallbackCounter(CallbackGauge):
    """A counter whose number is counted by other code."""

    family = CounterMetricFamily
