"""Metrics of the relay."""

from services.telemetry.metrics.process import RECORDS_BUCKETS, SECONDS_BUCKETS, ProcessMetrics


class RelayMetrics(ProcessMetrics):
    """Metrics of the relay. A standby relay has no positions, lag, months and dead letters."""

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
        self.verdict_months_ahead = self._callback_gauge(
            "moderation_verdict_months_ahead",
            "Months after the present one that have a partition for verdicts, at most 24; -1: the present one has none",
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
