"""The console's own metrics, one set a process."""

from services.telemetry.metrics import ConsoleMetrics

METRICS = ConsoleMetrics()
