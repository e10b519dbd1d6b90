"""Metrics of the handler."""

from services.telemetry.metrics.process import RECORDS_BUCKETS, SECONDS_BUCKETS, TokenMetrics

EVENTS_BUCKETS = (*RECORDS_BUCKETS, 10_000, 20_000, 50_000, 100_000)


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
