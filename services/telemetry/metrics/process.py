"""Metrics that several processes have: of every process, of verified tokens, of HTTP."""

from typing import NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from services.telemetry.collectors import BatchHistogram, CallbackCounter, CallbackGauge, Labels, new_registry

SECONDS_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60)
RECORDS_BUCKETS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000)


class MetricDescription(NamedTuple):
    """A metric as metrics.md lists it."""

    name: str
    kind: str
    labels: Labels
    help: str


class ProcessMetrics:
    """Metrics of every process; ``registry`` serves ``/metrics``, ``descriptions`` lists our own."""

    def __init__(self, process: str) -> None:
        self.registry: CollectorRegistry = new_registry(process)
        self.descriptions: list[MetricDescription] = []
        self.ready = self._callback_gauge("moderation_ready", "1 while /health/ready answers 200, else 0")
        self.server_up = self._gauge(
            "moderation_server_up", "1 if the server answered the last check of this process, else 0", "server"
        )
        self.clock_offset = self._gauge(
            "moderation_clock_offset_seconds",
            "Seconds by which the server's clock was ahead of this process's at the last check (negative: behind);"
            " Kafka's from the append time of a command, in the gateway only",
            "server",
        )

    def _counter(self, name: str, help: str, *labels: str) -> Counter:
        self.descriptions.append(MetricDescription(name, "counter", labels, help))
        return Counter(name, help, labels, registry=self.registry)

    def _callback_counter(self, name: str, help: str, *labels: str) -> CallbackCounter:
        self.descriptions.append(MetricDescription(name, "counter", labels, help))
        return CallbackCounter(name, help, labels, self.registry)

    def _gauge(self, name: str, help: str, *labels: str) -> Gauge:
        self.descriptions.append(MetricDescription(name, "gauge", labels, help))
        return Gauge(name, help, labels, registry=self.registry)

    def _callback_gauge(self, name: str, help: str, *labels: str) -> CallbackGauge:
        self.descriptions.append(MetricDescription(name, "gauge", labels, help))
        return CallbackGauge(name, help, labels, self.registry)

    def _histogram(self, name: str, help: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        self.descriptions.append(MetricDescription(name, "histogram", labels, help))
        return Histogram(name, help, labels, buckets=buckets, registry=self.registry)

    def _batch_histogram(self, name: str, help: str, *labels: str) -> BatchHistogram:
        self.descriptions.append(MetricDescription(name, "histogram", labels, help))
        return BatchHistogram(name, help, labels, SECONDS_BUCKETS, self.registry)


class TokenMetrics(ProcessMetrics):
    """Metrics of a process that verifies tokens."""

    def __init__(self, process: str) -> None:
        super().__init__(process)
        self.auth_failures = self._callback_counter(
            "moderation_auth_failures_total", "Rejected tokens, by reason", "reason"
        )
        self.jwks_age = self._callback_gauge(
            "moderation_jwks_age_seconds",
            "Seconds since the JWK set was last read, or seen to be unchanged; no series if tokens are not verified",
        )


class HttpMetrics(TokenMetrics):
    """Metrics of a process that answers HTTP requests with a pool of connections."""

    def __init__(self, process: str) -> None:
        super().__init__(process)
        self.pool_in_use = self._callback_gauge("moderation_db_pool_in_use", "Connections of the pool in use")
        self.pool_size = self._callback_gauge("moderation_db_pool_size", "Maximum size of the pool")
