"""Render metrics.md, the list of all metrics, from their definitions."""

from collections.abc import Callable

from services.telemetry.metrics import (
    ConsoleMetrics,
    GatewayMetrics,
    HandlerMetrics,
    MetricDescription,
    ProcessMetrics,
    RelayMetrics,
)

METRICS_BY_PROCESS: dict[str, Callable[[], ProcessMetrics]] = {
    "handler": HandlerMetrics,
    "relay": RelayMetrics,
    "gateway": GatewayMetrics,
    "console": ConsoleMetrics,
}
"""By process name."""

HEAD = """\
# Metrics

Made by `python -m deploy.monitoring` from [`services/telemetry/metrics.py`](../../services/telemetry/metrics.py).
Every process serves them at `/metrics`, next to `/health/live` and `/health/ready`, with `moderation_build_info` and
the usual `process_*` and `python_*`. Base units; no ids in labels; label values come from closed lists only.
"""
TAIL = """
## The four states of a partition

The handler samples its partitions once a second; the last ten samples decide, without a threshold.

- *ok* (0): in at least one sample every command was decided, or the lag fell.
- *warning* (1): commands are decided, but the lag did not fall between any two samples.
- *stalled* (2): commands wait, none was decided during the ten samples, and the handler attempted them.
- *stopped* (3): the same, and the handler did not attempt them, or it has reported that it will decide no more of this
  partition.

## Ready and live

Ready: Kafka and PostgreSQL have answered within the last seconds (each is checked every second, with a timeout of
three), no partition is stopped, and the relay knows its progress. Live: every loop sends a heartbeat at least every
25 s, with each iteration and around each query; longer only during a query (60 s at most) or while a producer starts
(45 s in the relay, 60 s in the gateway). While a server is unreachable no loop counts as stuck: a restart would not
bring the server back.

## Not measured, and why

- Connection pools of handler and relay: they have none. Each subscriber, and the relay, holds one connection.
- Projection lag: there are no projections. The gateway folds the log when it is asked.
- Hash chains: the log has none. Triggers and rights keep it append-only, and its numbers are dense.
- Gaps and duplicates on the topics: `moderated-grading verify` finds them; alert on its exit code.
- The time of a verdict from log to topic: one Kafka transaction carries verdicts and events alike, and
  `moderation_relay_lag_seconds{topic="verdicts"}` is the age of the oldest.
- Kafka's clock as the handler sees it: a command may have queued. The gateway knows when it sent one.
"""


def render_metrics_page() -> str:
    """Render the page: a table per process, then the notes."""
    shared_metrics = ProcessMetrics("every process").descriptions
    shared_names = {metric.name for metric in shared_metrics}
    lines = [HEAD, *_metrics_table("Every process", shared_metrics)]
    for name, metrics in METRICS_BY_PROCESS.items():
        lines += _metrics_table(
            name.capitalize(),
            [
                described_metric
                for described_metric in metrics().descriptions
                if described_metric.name not in shared_names
            ],
        )
    return "\n".join(lines) + TAIL


def _metrics_table(title: str, metrics: list[MetricDescription]) -> list[str]:
    rows = [f"| `{m.name}` | {m.kind} | {', '.join(f'`{x}`' for x in m.labels)} | {m.help} |" for m in metrics]
    return [f"## {title}\n", "| metric | kind | labels | meaning |", "|---|---|---|---|", *rows, ""]
