"""Metrics of the gateway."""

from services.telemetry.metrics.process import HttpMetrics

REQUEST_SECONDS_BUCKETS = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 2, 5, 10)


class GatewayMetrics(HttpMetrics):
    """Metrics of the gateway."""

    def __init__(self) -> None:
        super().__init__("gateway")
        self.requests = self._counter(
            "moderation_gateway_requests_total",
            "Requests answered, by operation (other: health, metrics, unknown paths) and HTTP status",
            "operation",
            "status",
        )
        self.request_seconds = self._histogram(
            "moderation_gateway_request_seconds",
            "Seconds from request to response",
            REQUEST_SECONDS_BUCKETS,
            "operation",
        )
        self.commands = self._counter(
            "moderation_gateway_commands_total",
            "Commands requested, by type and outcome for the caller: accepted, rejected, pending (202: no verdict in"
            " time), not_sent (503)",
            "type",
            "outcome",
        )
        self.verdict_seconds = self._histogram(
            "moderation_gateway_verdict_seconds",
            "Seconds from acknowledged command to its verdict",
            REQUEST_SECONDS_BUCKETS,
        )
        self.rate_limited = self._counter(
            "moderation_gateway_rate_limited_total", "Requests rejected by the rate limit"
        )
        self.events_held = self._gauge("moderation_gateway_events_held", "Events folded into the cached states")
        self.cached_bytes = self._gauge(
            "moderation_gateway_cached_bytes", "Estimated memory of the cached states in bytes"
        )
        self.events_folded = self._counter("moderation_gateway_events_folded_total", "Events read and folded")
        self.producers_recreated = self._counter(
            "moderation_producer_recreated_total",
            "Producers created after the first one, each because the previous one failed",
        )
