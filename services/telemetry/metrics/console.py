"""Metrics of the console."""

from services.telemetry.metrics.process import HttpMetrics


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
