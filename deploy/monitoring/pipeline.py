"""The dashboard for where it hangs: partition by partition, then the log, then the relay."""

from deploy.monitoring.panels import Json, Panel, Query, build_dashboard, p50_and_p99, rate, selector

STATE_MAPPINGS = ((0, "ok", "green"), (1, "warning", "yellow"), (2, "stalled", "orange"), (3, "stopped", "red"))
STATE_THRESHOLDS = ((None, "green"), (1, "yellow"), (2, "orange"), (3, "red"))


def build_pipeline() -> Json:
    """Where it hangs: partition by partition, then the log, then the relay."""
    commands = [
        Panel(
            "In which state is each partition of commands?",
            "none",
            [Query(f"max by (partition) ({selector('moderation_consumer_state')})", "{{partition}}")],
            kind="state-timeline",
            mappings=STATE_MAPPINGS,
            steps=STATE_THRESHOLDS,
            description="warning: decided slower than commands come; stalled: tried, not decided; stopped: not tried.",
        ),
        Panel(
            "How old is each partition's oldest undecided command?",
            "s",
            [Query(f"max by (partition) ({selector('moderation_consumer_lag_seconds')})", "{{partition}}")],
        ),
        Panel(
            "How many commands wait?",
            "short",
            [Query(f"sum by (partition) ({selector('moderation_consumer_lag_records')})", "{{partition}}")],
        ),
        Panel("How long does a command wait to be begun?", "s", p50_and_p99("moderation_command_wait_seconds")),
        Panel("How large are the batches?", "short", p50_and_p99("moderation_batch_commands")),
        Panel(
            "How often are partitions assigned?",
            "short",
            [
                Query(
                    f"sum by (instance) (increase({selector('moderation_rebalances_total')}[$__rate_interval]))",
                    "{{instance}}",
                )
            ],
        ),
    ]
    log = [
        Panel("How long does an append take?", "s", p50_and_p99("moderation_db_transaction_seconds")),
        Panel(
            "How do batches end?",
            "ops",
            [Query(f"sum by (outcome) ({rate('moderation_db_transactions_total')})", "{{outcome}}")],
        ),
        Panel(
            "How fast does the log grow?",
            "ops",
            [
                Query(
                    f"sum by (topic) (deriv({selector('moderation_log_position')}[$__rate_interval]))",
                    "rows for {{topic}}",
                )
            ],
        ),
        Panel(
            "Which servers answer?",
            "none",
            [Query(selector("moderation_server_up"), "{{server}} for {{instance}}")],
            kind="state-timeline",
            mappings=((0, "away", "red"), (1, "answers", "green")),
            steps=((None, "red"), (1, "green")),
        ),
        Panel(
            "How far apart are the clocks?",
            "s",
            [Query(selector("moderation_clock_offset_seconds"), "{{server}} and {{instance}}")],
        ),
    ]
    relay = [
        Panel(
            "Which relay is active?",
            "none",
            [Query(selector("moderation_relay_active"), "{{instance}}")],
            kind="state-timeline",
            mappings=((0, "stands by", "blue"), (1, "active", "green")),
            steps=((None, "blue"), (1, "green")),
        ),
        Panel(
            "How old is the oldest record not on its topic?",
            "s",
            [Query(f"max by (topic) ({selector('moderation_relay_lag_seconds')})", "{{topic}}")],
        ),
        Panel(
            "How many records are not on their topic?",
            "short",
            [Query(f"sum by (topic) ({selector('moderation_relay_lag_records')})", "{{topic}}")],
        ),
        Panel(
            "How fast does the relay move?",
            "ops",
            [Query(f"sum by (topic) (deriv({selector('moderation_relay_position')}[$__rate_interval]))", "{{topic}}")],
        ),
        Panel(
            "How do Kafka transactions end?",
            "ops",
            [Query(f"sum by (outcome) ({rate('moderation_relay_transactions_total')})", "{{outcome}}")],
        ),
        Panel("How long does a Kafka transaction take?", "s", p50_and_p99("moderation_relay_transaction_seconds")),
        Panel("How many records has a transaction?", "short", p50_and_p99("moderation_relay_transaction_records")),
        Panel(
            "How many publications are under way?",
            "short",
            [Query(f"max({selector('moderation_publications_active')})", "under way")],
        ),
        Panel("How long does a publication take?", "s", p50_and_p99("moderation_publication_seconds")),
        Panel(
            "Do producers fail?",
            "short",
            [
                Query(
                    f"sum by (job) (increase({selector('moderation_producer_recreated_total')}[$__rate_interval]))",
                    "{{job}} made anew",
                ),
                Query(f"sum(increase({selector('moderation_relay_fenced_total')}[$__rate_interval]))", "fenced"),
            ],
        ),
    ]
    return build_dashboard(
        "moderation-pipeline",
        "Moderated grading: pipeline",
        "Where does it hang: commands, the log, or the relay?",
        [("Commands", commands), ("The log", log), ("The relay", relay)],
    )
