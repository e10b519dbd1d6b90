"""What the gateway counts: one set a process, as there is one application a process."""

from services.telemetry.metrics import GatewayMetrics

METRICS = GatewayMetrics()
