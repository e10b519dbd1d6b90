"""metrics.md: every metric there is, made from the catalogue."""

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
"""The metrics of each process, by the process's name."""

HEAD = """\
# Metrics

Made by `python -m deploy.monitoring` from [`services/telemetry/metrics.py`](../../services/telemetry/metrics.py). Every
process serves them at `/metrics`, beside `/health/live` and `/health/ready`, with `moderation_build_info` and the usual
`process_*` and `python_*`. Base units; no ids in labels; labels take values from closed lists only.
"""
TAIL = """
## The four states of a partition

The handler looks at its partitions once a second; ten looks decide, without a threshold.

- *ok* (0): in some look everything was decided, or the lag fell.
- *warning* (1): commands are decided, yet the lag has not fallen from any look to the next.
- *stalled* (2): something waits, nothing was decided in all of the window, and the handler tried.
- *stopped* (3): the same, and it did not even try, or it has said that it will decide nothing more of the partition.

## Ready and live

Ready: Kafka and PostgreSQL have answered within the last seconds (each is asked every second and given three), no
partition is stopped, the relay knows how far it has come. Live: every loop gives a sign every 25 s, with each turn and
within it with each query and its answer; it may take longer only while a query is under way (60 s at most) or a
producer is being begun (45 s in the relay, 60 s in the gateway). While a server is away no loop is called stuck: a
restart would not bring it back.

## Left out on purpose

- A pool's figures in the handler and the relay: each subscriber, and the relay, has one connection; the gateway and the
  console have a pool and tell of it.
- Projections' lag: there are none; the gateway folds the log when it is asked.
- A hash chain's (`chain_ok`, `chain_verified_position`, `head_age_seconds`): the log has none; append-only is kept by
  triggers and rights, and numbers are dense.
- Gaps and doubles on the topics: `python -m services.publishing.verify` finds them and ends with an exit code to
alert on.
- Verdicts' seconds from log to topic: one Kafka transaction takes verdicts and events alike, and
  `moderation_relay_lag_seconds{topic="verdicts"}` says how old the oldest is.
- Kafka's clock as the handler sees it: a command may have waited; the gateway knows when it sent one.
"""


def render_metrics_page() -> str:
    """The whole page."""
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
    return [f"## {title}\n", "| metric | kind | labels | what it says |", "|---|---|---|---|", *rows, ""]
