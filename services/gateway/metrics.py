"""The gateway's metrics, one set per process."""

from services.telemetry.metrics import GatewayMetrics

METRICS = GatewayMetrics()
