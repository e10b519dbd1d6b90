"""The pipeline: commands by partition, then the log, then the relay."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from deploy.monitoring.dashboards.panels import (
    BAD,
    DEGRADED,
    GOOD,
    IDLE,
    Panel,
    build_dashboard,
    graph,
    increase,
    p50_and_p99,
    query,
    rate,
    selector,
    states,
)

PARTITION_STATES = {0: ("ok", GOOD), 1: ("warning", DEGRADED), 2: ("stalled", "orange"), 3: ("stopped", BAD)}
PARTITION_ALERTS = ("PartitionStopped", "PartitionStalled", "PartitionFallsBehind")


def build_pipeline() -> Dashboard:
    """Find the stage at which records wait."""
    return build_dashboard(
        "moderation-pipeline",
        "Moderated grading: pipeline",
        "Where do records wait: on the commands topic, at the log, or at the relay?",
        {"Commands": _commands(), "Log": _log(), "Relay": _relay()},
    )


def _commands() -> list[Panel]:
    return [
        states(
            "In which state is each partition of commands?",
            [query(f"max by (partition) ({selector('moderation_consumer_state')})", "{{partition}}")],
            "warning: decided more slowly than commands arrive; stalled: batches are retried and none succeeds; "
            "stopped: not attempted. A partition without a bar has no handler.",
            PARTITION_STATES,
            [*PARTITION_ALERTS, "PartitionUnowned"],
        ),
        graph(
            "How old is each partition's oldest undecided command?",
            "s",
            [query(f"max by (partition) ({selector('moderation_consumer_lag_seconds')})", "{{partition}}")],
            "0 when every command of the partition is decided. CommandsWait fires above 10 s.",
            ["CommandsWait"],
            alert_above=10,
        ),
        graph(
            "How many commands are undecided?",
            "short",
            [query(f"sum by (partition) ({selector('moderation_consumer_lag_records')})", "{{partition}}")],
            "Consumer lag in records, measured against the log and the topic's high watermark: neither a committed "
            "offset nor an open transaction hides a command.",
            ["CommandsWait", "OpenTransactionHidesCommands", "LogWentBack"],
        ),
        graph(
            "How long do commands queue?",
            "s",
            p50_and_p99("moderation_command_wait_seconds"),
            "From the broker's append of a command until a handler starts on it. Long queues mean too few handlers; "
            "short queues and long appends point to PostgreSQL.",
            ["HandlerAbsent"],
        ),
        graph(
            "How large are the batches?",
            "short",
            p50_and_p99("moderation_batch_commands"),
            "Records per transaction. Batches grow under load.",
        ),
        graph(
            "How many events does a transaction append?",
            "short",
            p50_and_p99("moderation_batch_events"),
            "A transaction ends after the command that reaches `HANDLER_BATCH_EVENTS`: then one customer's large "
            "commands come in parts, between which other partitions are served.",
        ),
        graph(
            "How often are partitions assigned?",
            "short",
            [query(f"sum by (instance) ({increase('moderation_rebalances_total')})", "{{instance}}")],
            "Rebalances. More than a few outside a deployment mean a handler that restarts again and again.",
            ["PartitionsMove"],
        ),
    ]


def _log() -> list[Panel]:
    return [
        graph(
            "How long does an append take?",
            "s",
            p50_and_p99("moderation_db_transaction_seconds"),
            "One transaction per batch, commit included.",
        ),
        graph(
            "How do batches end?",
            "ops",
            [query(f"sum by (outcome) ({rate('moderation_db_transactions_total')})", "{{outcome}}")],
            "committed; redecided: committed at the second attempt, because another writer had appended; failed: "
            "retried.",
            ["BatchesFail"],
        ),
        graph(
            "How fast does the log grow?",
            "ops",
            [
                query(
                    f"sum by (topic) (deriv({selector('moderation_log_position')}[$__rate_interval]))",
                    "rows for {{topic}}",
                )
            ],
            "Rows appended per second, by the topic they are published to.",
        ),
        graph(
            "For how many months to come are there partitions?",
            "short",
            [query(f"min({selector('moderation_verdict_months_ahead')})", "months")],
            "Months after the present one that have a partition for verdicts; -1: the present one has none.",
            ["VerdictMonthsRunOut"],
        ),
        states(
            "Which servers answer?",
            [query(selector("moderation_server_up"), "{{server}} for {{instance}}")],
            "Whether Kafka and PostgreSQL answered each process's last check.",
            {0: ("unreachable", BAD), 1: ("answers", GOOD)},
            ["KafkaAway", "PostgreSQLAway"],
        ),
        graph(
            "How far apart are the clocks?",
            "s",
            [query(f"abs({selector('moderation_clock_offset_seconds')})", "{{server}} and {{instance}}")],
            "Difference between a process's clock and a server's, in either direction. ClocksDiffer fires above 30 s.",
            ["ClocksDiffer", "ClocksStopDecisions"],
            alert_above=30,
        ),
    ]


def _relay() -> list[Panel]:
    return [
        states(
            "Which relay is active?",
            [query(selector("moderation_relay_active"), "{{instance}}, lane {{lane}}")],
            "Exactly one relay publishes each lane; the relays that run share the lanes evenly.",
            {0: ("standby", IDLE), 1: ("active", GOOD)},
            ["RelayAbsent", "RelayFenced"],
        ),
        graph(
            "How old is the oldest unpublished record?",
            "s",
            [query(f"max by (topic) ({selector('moderation_relay_lag_seconds')})", "{{topic}}")],
            "0 when every row is on its topic. RecordsWait fires above 10 s.",
            ["RecordsWait"],
            alert_above=10,
        ),
        graph(
            "How many records are unpublished?",
            "short",
            [query(f"sum by (topic) ({selector('moderation_relay_lag_records')})", "{{topic}}")],
            "Rows of the log that are not on their topic.",
            ["RecordsWait"],
        ),
        graph(
            "How fast does the relay publish?",
            "ops",
            [query(f"sum by (topic) (deriv({selector('moderation_relay_position')}[$__rate_interval]))", "{{topic}}")],
            "Progress per second, by topic. Compare with the growth of the log.",
        ),
        graph(
            "How do Kafka transactions end?",
            "ops",
            [query(f"sum by (outcome) ({rate('moderation_relay_transactions_total')})", "{{outcome}}")],
            "failed: aborted, or with an unknown outcome, which a new producer resolves. Consumers with read_committed "
            "see neither.",
            ["RecordsWait"],
        ),
        graph(
            "How long does a Kafka transaction take?",
            "s",
            p50_and_p99("moderation_relay_transaction_seconds"),
            "Committed transactions only.",
        ),
        graph(
            "How many records does a transaction hold?",
            "short",
            p50_and_p99("moderation_relay_transaction_records"),
            "At most 5,000 records or 4 MiB.",
        ),
        graph(
            "How many publications are in progress?",
            "short",
            [query(f"max({selector('moderation_publications_active')})", "in progress")],
            "Publications of which some grades are on the topics and some are not. PublicationHangs fires after five "
            "minutes above 0.",
            ["PublicationHangs"],
        ),
        graph(
            "How long does a publication take?",
            "s",
            p50_and_p99("moderation_publication_seconds"),
            "From its commit in the log to its last record on the topics.",
        ),
        graph(
            "Do producers fail?",
            "short",
            [
                query(f"sum by (job) ({increase('moderation_producer_recreated_total')})", "{{job}} recreated"),
                query(f"sum({increase('moderation_relay_fenced_total')})", "relay fenced"),
                query(f"sum({increase('moderation_relay_takeovers_total')})", "relay hung"),
            ],
            "Producers that were replaced after a failure, relays that another relay fenced, and relays without a"
            " heartbeat that lost their lanes.",
            ["ProducersFail", "RelayFenced"],
        ),
        graph(
            "Which publications are scheduled?",
            "short",
            [query(f"max by (state) ({selector('moderation_schedules')})", "{{state}}")],
            "waiting: the time is in the future. overdue: it has passed without a decision. refused: it was sent and "
            "refused, and not scheduled again, cancelled or published since.",
            ["SchedulerAbsent", "ScheduledPublicationRefused"],
        ),
        graph(
            "When is the next scheduled publication due?",
            "s",
            [
                query(f"min({selector('moderation_schedule_next_due_seconds')}) < Inf", "next, in"),
                query(f"max({selector('moderation_schedule_overdue_seconds')})", "overdue since"),
            ],
            "Until the next one, and since the oldest one that should have been published.",
            ["ScheduledPublicationOverdue"],
        ),
        graph(
            "Would scheduled publications be refused?",
            "short",
            [query(f"max by (reason) ({selector('moderation_schedules_would_be_refused')})", "{{reason}}")],
            "Publications of the next day that would be refused if their time were now.",
            ["ScheduledPublicationWouldBeRefused"],
        ),
        graph(
            "How late are scheduled publications sent?",
            "s",
            p50_and_p99("moderation_schedule_lateness_seconds"),
            "From the scheduled time until the brokers have the command; at most one second while all servers answer.",
        ),
        graph(
            "How many scheduled publications are sent?",
            "short",
            [query(f"sum by (attempt) ({increase('moderation_scheduled_publications_sent_total')})", "{{attempt}}")],
            "again: the command was not decided in time, and was sent once more; it is decided once.",
        ),
        states(
            "Which topics have lost records?",
            [query(f"max by (topic) ({selector('moderation_topics_lost')})", "{{topic}}")],
            "Topics that are missing, or whose end differs from the relay's progress.",
            {0: ("intact", GOOD), 1: ("lost", BAD)},
            ["TopicLost"],
        ),
        states(
            "Who else writes to the topics?",
            [query(f"max by (topic) ({selector('moderation_foreign_records')}) > bool 0", "{{topic}}")],
            "Output topics on which a record that the relay did not write was found within the last hour.",
            {0: ("the relay only", GOOD), 1: ("another producer", BAD)},
            ["ForeignRecords"],
        ),
    ]
