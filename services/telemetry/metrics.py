"""Every metric there is, by the process that tells it (deploy/monitoring/metrics.md is made from here).

Base units; no ids in labels; labels take values from closed lists only: types and reasons of the contract, partitions,
shards, topics, servers. ``server``: ``kafka`` or ``postgresql``; ``topic``: a name without prefix.
"""

from typing import NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from services.telemetry.collectors import BatchHistogram, CallbackCounter, CallbackGauge, Labels, new_registry

SECONDS_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60)
REQUEST_SECONDS_BUCKETS = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 2, 5, 10)
RECORDS_BUCKETS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000)


class MetricDescription(NamedTuple):
    """A metric as it is documented."""

    name: str
    kind: str
    labels: Labels
    help: str


class ProcessMetrics:
    """What every process tells. ``registry``: all of a process's metrics, for its ``/metrics``; ``described``: ours."""

    def __init__(self, process: str) -> None:
        self.registry: CollectorRegistry = new_registry(process)
        self.descriptions: list[MetricDescription] = []
        self.ready = self._callback_gauge("moderation_ready", "1 while /health/ready answers 200, else 0")
        self.server_up = self._gauge(
            "moderation_server_up", "1 if the server answered this process when it last asked, else 0", "server"
        )
        self.clock_offset = self._gauge(
            "moderation_clock_offset_seconds",
            "How far the server's clock was ahead of this process's when it was last seen (negative: behind), seconds;"
            " Kafka's by the time it stamped a command with, so the gateway alone knows it",
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
    """What a process tells that verifies tokens."""

    def __init__(self, process: str) -> None:
        super().__init__(process)
        self.auth_failures = self._callback_counter(
            "moderation_auth_failures_total", "Tokens not believed, by reason", "reason"
        )
        self.jwks_age = self._callback_gauge(
            "moderation_jwks_age_seconds",
            "Seconds since the JWK set was last read, or seen to be unchanged; no series where no tokens are asked for",
        )


class HandlerMetrics(TokenMetrics):
    """The handler's."""

    def __init__(self) -> None:
        super().__init__("handler")
        self.commands = self._counter(
            "moderation_commands_total",
            "Verdicts committed, by the command's type (unknown: none that there is), outcome (accepted, rejected,"
            " duplicate) and the refusal's reason",
            "type",
            "outcome",
            "reason",
        )
        self.command_seconds = self._batch_histogram(
            "moderation_command_seconds",
            "Seconds from the broker's append of a command to the commit of its verdict or dead letter; a record that"
            " Kafka delivers again is not counted",
        )
        self.command_wait_seconds = self._batch_histogram(
            "moderation_command_wait_seconds",
            "Seconds from the broker's append of a command to when the handler begins with it",
        )
        self.batch_commands = self._histogram(
            "moderation_batch_commands", "Records decided in one transaction", RECORDS_BUCKETS
        )
        self.db_transaction_seconds = self._histogram(
            "moderation_db_transaction_seconds",
            "Seconds that the append of a batch took, its commit included",
            SECONDS_BUCKETS,
        )
        self.db_transactions = self._counter(
            "moderation_db_transactions_total",
            "Attempts at a batch, by outcome: committed; redecided (committed, after somebody else had written: decided"
            " again under the locks); failed (PostgreSQL away or somebody faster: tried again)",
            "outcome",
        )
        self.dead_letters = self._counter(
            "moderation_dead_letters_total", "Records that no verdict can be addressed to, by reason", "reason"
        )
        self.duplicates = self._counter(
            "moderation_duplicates_total",
            "Records that changed nothing, by kind: repeated_command (its command id is settled: the first verdict"
            " again), redelivery (Kafka delivered a decided record again: nothing is written)",
            "kind",
        )
        self.rebalances = self._counter("moderation_rebalances_total", "Assignments of partitions to a subscriber")
        self.consumer_lag_records = self._callback_gauge(
            "moderation_consumer_lag_records", "Records of a partition of commands that are not decided", "partition"
        )
        self.consumer_lag_seconds = self._callback_gauge(
            "moderation_consumer_lag_seconds",
            "Age of a partition's oldest undecided command, seconds; 0 when all are decided",
            "partition",
        )
        self.consumer_state = self._callback_gauge(
            "moderation_consumer_state",
            "State of a partition over the last ten seconds: 0 ok, 1 warning (decided, but not as fast as commands"
            " come), 2 stalled (tried, not decided), 3 stopped (not even tried)",
            "partition",
        )


class RelayMetrics(ProcessMetrics):
    """The relay's. A relay that stands by tells no positions, no lag and no dead letters."""

    def __init__(self) -> None:
        super().__init__("relay")
        self.active = self._gauge(
            "moderation_relay_active", "1 while this relay writes the topics, 0 while it stands by"
        )
        self.log_position = self._callback_gauge(
            "moderation_log_position", "Highest number of a shard in the log, by the topic it goes to", "shard", "topic"
        )
        self.position = self._callback_gauge(
            "moderation_relay_position", "Highest number of a shard that is on the topic", "shard", "topic"
        )
        self.lag_records = self._callback_gauge(
            "moderation_relay_lag_records", "Rows of a shard in the log that are not on the topic yet", "shard", "topic"
        )
        self.lag_seconds = self._callback_gauge(
            "moderation_relay_lag_seconds",
            "Age of a shard's oldest row in the log that is not on the topic yet, seconds; 0 when all are",
            "shard",
            "topic",
        )
        self.records = self._counter("moderation_relay_records_total", "Records committed to a topic", "topic")
        self.transactions = self._counter(
            "moderation_relay_transactions_total",
            "Kafka transactions, by outcome: committed; failed (aborted, or its end is not known: asked of the broker"
            " by a new producer)",
            "outcome",
        )
        self.transaction_seconds = self._histogram(
            "moderation_relay_transaction_seconds", "Seconds that a committed Kafka transaction took", SECONDS_BUCKETS
        )
        self.transaction_records = self._histogram(
            "moderation_relay_transaction_records", "Records in one committed Kafka transaction", RECORDS_BUCKETS
        )
        self.publish_seconds = self._batch_histogram(
            "moderation_publish_seconds",
            "Seconds from an event's commit in the log to the commit of its record on the topic",
            "topic",
        )
        self.fenced = self._counter(
            "moderation_relay_fenced_total", "Times that another relay fenced this one: two thought they were active"
        )
        self.producers_recreated = self._counter(
            "moderation_producer_recreated_total",
            "Producers made after the first one, each because the last one failed",
        )
        self.publications_active = self._gauge(
            "moderation_publications_active", "Publications of which some grades are on the topics and some are not"
        )
        self.publication_seconds = self._histogram(
            "moderation_publication_seconds",
            "Seconds from the commit of a publication in the log to the commit of its last record on the topics",
            SECONDS_BUCKETS,
        )
        self.dead_letters_open = self._callback_gauge(
            "moderation_dead_letters_open", "Dead letters that nobody has dealt with yet"
        )
        self.dead_letters_oldest = self._callback_gauge(
            "moderation_dead_letters_oldest_seconds", "Age of the oldest open dead letter, seconds; 0 when none is open"
        )


class HttpMetrics(TokenMetrics):
    """What a process tells that answers HTTP requests from a pool of connections."""

    def __init__(self, process: str) -> None:
        super().__init__(process)
        self.pool_in_use = self._callback_gauge("moderation_db_pool_in_use", "Connections of the pool that are at work")
        self.pool_size = self._callback_gauge("moderation_db_pool_size", "Connections that the pool may have")


class ConsoleMetrics(HttpMetrics):
    """The console's."""

    def __init__(self) -> None:
        super().__init__("console")
        self.actions = self._counter(
            "moderation_operator_actions_total",
            "Actions of operators that this console kept, by kind: redrive, discard, reveal, replay; the command line's"
            " are in the log alone",
            "kind",
        )
        self.live_clients = self._gauge("moderation_sse_clients", "Pages that are kept fresh now")
        self.redrives_waiting = self._callback_gauge(
            "moderation_redrives_waiting", "1 while a redrive that was decided cannot be sent, else 0"
        )
        self.topics_lost = self._callback_gauge(
            "moderation_topics_lost",
            "1 while a topic is not there, or does not end where the relay left it, else 0",
            "topic",
        )


class GatewayMetrics(HttpMetrics):
    """The gateway's."""

    def __init__(self) -> None:
        super().__init__("gateway")
        self.requests = self._counter(
            "moderation_gateway_requests_total",
            "Requests answered, by operation (other: health, metrics, paths that there are not) and HTTP status",
            "operation",
            "status",
        )
        self.request_seconds = self._histogram(
            "moderation_gateway_request_seconds", "Seconds from request to answer", REQUEST_SECONDS_BUCKETS, "operation"
        )
        self.commands = self._counter(
            "moderation_gateway_commands_total",
            "Commands asked for, by type and how they ended for the caller: accepted, rejected, pending (202: no"
            " verdict in time), not_sent (503)",
            "type",
            "outcome",
        )
        self.verdict_seconds = self._histogram(
            "moderation_gateway_verdict_seconds",
            "Seconds from acknowledged command to its verdict",
            REQUEST_SECONDS_BUCKETS,
        )
        self.rate_limited = self._counter(
            "moderation_gateway_rate_limited_total", "Requests refused because their user asked too much"
        )
        self.events_held = self._gauge("moderation_gateway_events_held", "Events folded into the states held in memory")
        self.events_folded = self._counter("moderation_gateway_events_folded_total", "Events read and folded")
        self.producers_recreated = self._counter(
            "moderation_producer_recreated_total",
            "Producers made after the first one, each because the last one failed",
        )
