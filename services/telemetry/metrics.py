"""All metrics, by process; deploy/monitoring/metrics.md is generated from here.

Base units; no ids in labels. Label values come only from closed lists: types and reasons of the contract, partitions,
shards, topics, servers. ``server``: ``kafka`` or ``postgresql``; ``topic``: a name without prefix.
"""

from typing import NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from services.telemetry.collectors import BatchHistogram, CallbackCounter, CallbackGauge, Labels, new_registry

SECONDS_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60)
REQUEST_SECONDS_BUCKETS = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 2, 5, 10)
RECORDS_BUCKETS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000)
EVENTS_BUCKETS = (*RECORDS_BUCKETS, 10_000, 20_000, 50_000, 100_000)


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


class HandlerMetrics(TokenMetrics):
    """Metrics of the handler."""

    def __init__(self) -> None:
        super().__init__("handler")
        self.commands = self._counter(
            "moderation_commands_total",
            "Verdicts committed, by type of command (unknown for an undefined type), outcome (accepted, rejected,"
            " duplicate) and reason of the rejection",
            "type",
            "outcome",
            "reason",
        )
        self.command_seconds = self._batch_histogram(
            "moderation_command_seconds",
            "Seconds from the broker's append of a command to the commit of its verdict or dead letter, redeliveries"
            " excluded",
        )
        self.command_wait_seconds = self._batch_histogram(
            "moderation_command_wait_seconds",
            "Seconds from the broker's append of a command to the start of its batch",
        )
        self.batch_commands = self._histogram(
            "moderation_batch_commands", "Records decided in one transaction", RECORDS_BUCKETS
        )
        self.batch_events = self._histogram(
            "moderation_batch_events", "Events appended in one transaction", EVENTS_BUCKETS
        )
        self.db_transaction_seconds = self._histogram(
            "moderation_db_transaction_seconds",
            "Seconds of the append of a batch, commit included",
            SECONDS_BUCKETS,
        )
        self.db_transactions = self._counter(
            "moderation_db_transactions_total",
            "Attempts at a batch, by outcome: committed; redecided (committed after a concurrent append: decided again"
            " under the locks); failed (PostgreSQL away or a second concurrent append: retried)",
            "outcome",
        )
        self.clock_refusals = self._counter(
            "moderation_clock_refusals_total",
            "Attempts at a batch that decided nothing, because PostgreSQL's clock and the handler's differ too much",
        )
        self.dead_letters = self._counter(
            "moderation_dead_letters_total", "Records that no verdict can be addressed to, by reason", "reason"
        )
        self.other_key_commands = self._counter(
            "moderation_other_key_commands_total",
            "Commands decided under no key or under another than their course_id: Kafka does not keep their order",
        )
        self.duplicates = self._counter(
            "moderation_duplicates_total",
            "Records that changed nothing, by kind: repeated_command (its command id is settled: the first verdict is"
            " repeated), redelivery (Kafka delivered a processed record again: nothing is written)",
            "kind",
        )
        self.rebalances = self._counter("moderation_rebalances_total", "Assignments of partitions to a subscriber")
        self.consumer_lag_records = self._callback_gauge(
            "moderation_consumer_lag_records", "Unprocessed records of a partition of commands", "partition"
        )
        self.consumer_lag_seconds = self._callback_gauge(
            "moderation_consumer_lag_seconds",
            "Age of a partition's oldest unprocessed command in seconds; 0 if there is none",
            "partition",
        )
        self.log_rewinds = self._counter(
            "moderation_log_rewinds_total",
            "Times that the log had processed less of a partition than before: a failover or restore lost decisions,"
            " and the records are processed again",
        )
        self.open_transaction_seconds = self._callback_gauge(
            "moderation_commands_open_transaction_seconds",
            "Seconds for which a producer's open transaction has hidden commands of a partition from every reader; 0"
            " if there is none",
            "partition",
        )
        self.consumer_state = self._callback_gauge(
            "moderation_consumer_state",
            "State of a partition over the last ten seconds: 0 ok, 1 warning (processed more slowly than commands"
            " arrive), 2 stalled (tried, none processed), 3 stopped (not tried)",
            "partition",
        )


class RelayMetrics(ProcessMetrics):
    """Metrics of the relay. A standby relay has no positions, lag and dead letters."""

    def __init__(self) -> None:
        super().__init__("relay")
        self.active = self._gauge(
            "moderation_relay_active", "1 while this relay publishes the lane's shards, 0 on standby", "lane"
        )
        self.log_position = self._callback_gauge(
            "moderation_log_position", "Highest sequence number of a shard in the log, by topic", "shard", "topic"
        )
        self.position = self._callback_gauge(
            "moderation_relay_position", "Highest sequence number of a shard on the topic", "shard", "topic"
        )
        self.lag_records = self._callback_gauge(
            "moderation_relay_lag_records", "Rows of a shard in the log that are not on the topic", "shard", "topic"
        )
        self.lag_seconds = self._callback_gauge(
            "moderation_relay_lag_seconds",
            "Age of a shard's oldest row that is not on the topic, in seconds; 0 if there is none",
            "shard",
            "topic",
        )
        self.records = self._counter("moderation_relay_records_total", "Records committed to a topic", "topic")
        self.transactions = self._counter(
            "moderation_relay_transactions_total",
            "Kafka transactions, by outcome: committed; failed (aborted, or of unknown outcome, which a new producer"
            " resolves with the broker)",
            "outcome",
        )
        self.transaction_seconds = self._histogram(
            "moderation_relay_transaction_seconds", "Seconds of a committed Kafka transaction", SECONDS_BUCKETS
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
            "moderation_relay_fenced_total", "Times that another relay fenced this one, when both were active"
        )
        self.takeovers = self._counter(
            "moderation_relay_takeovers_total",
            "Relays without a heartbeat whose lanes this relay took over",
        )
        self.producers_recreated = self._counter(
            "moderation_producer_recreated_total",
            "Producers created after the first one, each because the previous one failed",
        )
        self.publications_active = self._gauge(
            "moderation_publications_active", "Publications whose grades are partly on the topics"
        )
        self.publication_seconds = self._histogram(
            "moderation_publication_seconds",
            "Seconds from the commit of a publication in the log to the commit of its last record on the topics",
            SECONDS_BUCKETS,
        )
        self.dead_letters_open = self._callback_gauge(
            "moderation_dead_letters_open", "Open dead letters: neither redriven nor discarded"
        )
        self.dead_letters_oldest = self._callback_gauge(
            "moderation_dead_letters_oldest_seconds", "Age of the oldest open dead letter in seconds; 0 if none is open"
        )


class SchedulerMetrics(ProcessMetrics):
    """Metrics of the scheduler. All schedulers see the same schedules."""

    def __init__(self) -> None:
        super().__init__("scheduler")
        self.schedules = self._gauge(
            "moderation_schedules",
            "Scheduled publications in force, by state: waiting (the time is in the future), overdue (it has passed,"
            " and the publication is not decided), refused (it was sent and refused, and not scheduled again, cancelled"
            " or published since)",
            "state",
        )
        self.next_due = self._callback_gauge(
            "moderation_schedule_next_due_seconds",
            "Seconds until the next scheduled publication is due; infinite without one",
        )
        self.next_due.callback = lambda: [((), float("inf"))]
        self.overdue = self._gauge(
            "moderation_schedule_overdue_seconds",
            "Seconds since the time of the oldest publication that is due and not decided; 0 if there is none",
        )
        self.would_be_refused = self._gauge(
            "moderation_schedules_would_be_refused",
            "Publications scheduled within a day that would be refused if their time were now, by reason",
            "reason",
        )
        self.sent = self._counter(
            "moderation_scheduled_publications_sent_total",
            "Publications sent to the commands topic, by attempt of this scheduler: first, again (not decided in time)",
            "attempt",
        )
        for attempt in ("first", "again"):
            self.sent.labels(attempt)
        self.lateness = self._histogram(
            "moderation_schedule_lateness_seconds",
            "Seconds from the time of a scheduled publication until the brokers had its command",
            SECONDS_BUCKETS,
        )


class HttpMetrics(TokenMetrics):
    """Metrics of a process that answers HTTP requests with a pool of connections."""

    def __init__(self, process: str) -> None:
        super().__init__(process)
        self.pool_in_use = self._callback_gauge("moderation_db_pool_in_use", "Connections of the pool in use")
        self.pool_size = self._callback_gauge("moderation_db_pool_size", "Maximum size of the pool")


class ConsoleMetrics(HttpMetrics):
    """Metrics of the console."""

    def __init__(self) -> None:
        super().__init__("console")
        self.actions = self._counter(
            "moderation_operator_actions_total",
            "Operators' actions through this console, by kind: redrive, discard, reveal, replay; those of the command"
            " line are in the log only",
            "kind",
        )
        self.live_clients = self._gauge("moderation_sse_clients", "Open pages with live updates")
        self.redrives_waiting = self._callback_gauge(
            "moderation_redrives_waiting", "1 while a recorded redrive cannot be sent, else 0"
        )
        self.topics_lost = self._callback_gauge(
            "moderation_topics_lost",
            "1 while a topic is missing or does not end where the relay left it, else 0",
            "topic",
        )
        self.foreign_records = self._callback_gauge(
            "moderation_foreign_records",
            "Records on an output topic, found within the last hour, that the relay did not write",
            "topic",
        )


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
        self.events_folded = self._counter("moderation_gateway_events_folded_total", "Events read and folded")
        self.producers_recreated = self._counter(
            "moderation_producer_recreated_total",
            "Producers created after the first one, each because the previous one failed",
        )
