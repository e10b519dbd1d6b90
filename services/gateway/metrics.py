"""The gateway's metrics, one set per process."""

from services.telemetry.metrics.gateway import GatewayMetrics

METRICS = GatewayMetrics()
