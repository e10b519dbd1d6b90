"""Metrics of the scheduler."""

from services.telemetry.metrics.process import SECONDS_BUCKETS, ProcessMetrics


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
