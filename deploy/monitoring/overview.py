"""The dashboard for who has one glance: is every command decided, and is every grade out?"""

from deploy.monitoring.panels import (
    REJECTED_LABEL,
    ZERO_IS_GOOD,
    Json,
    Panel,
    Query,
    build_dashboard,
    p50_and_p99,
    quantile,
    rate,
    selector,
    stat,
)

LAG_THRESHOLDS = ((None, "green"), (2, "yellow"), (10, "red"))
OBJECTIVE_99_THRESHOLDS = ((None, "red"), (0.99, "green"))
OBJECTIVE_999_THRESHOLDS = ((None, "red"), (0.999, "green"))


def within_bound_ratio(name: str, bound: str, labels: str = "") -> str:
    """The share of a histogram's values that stayed within a bound, over the time that is shown."""
    bucket_labels = f'le="{bound}"' + (f",{labels}" if labels else "")
    count_within = f"sum(increase({selector(name + '_bucket', bucket_labels)}[$__range]))"
    return f"{count_within} / sum(increase({selector(name + '_count', labels)}[$__range]))"


def build_overview() -> Json:
    """Whether it goes well, for who has one glance."""
    objectives = [
        stat(
            "Decided within 2 s (objective 99 %)",
            "percentunit",
            within_bound_ratio("moderation_command_seconds", "2.0"),
            steps=OBJECTIVE_99_THRESHOLDS,
            decimals=2,
            description="Commands decided within 2 s of the broker's append, of those decided in the time shown.",
        ),
        stat(
            "Decided within 10 s (objective 99.9 %)",
            "percentunit",
            within_bound_ratio("moderation_command_seconds", "10.0"),
            steps=OBJECTIVE_999_THRESHOLDS,
            decimals=3,
        ),
        stat(
            "Grades out within 5 s (objective 99 %)",
            "percentunit",
            within_bound_ratio("moderation_publish_seconds", "5.0", 'topic="live-events"'),
            steps=OBJECTIVE_99_THRESHOLDS,
            decimals=2,
            description="Published grades on live-events within 5 s of their commit in the log.",
        ),
        stat(
            "Oldest undecided command",
            "s",
            f"max({selector('moderation_consumer_lag_seconds')})",
            steps=LAG_THRESHOLDS,
            decimals=1,
        ),
        stat(
            "Oldest record not on its topic",
            "s",
            f"max({selector('moderation_relay_lag_seconds')})",
            steps=LAG_THRESHOLDS,
            decimals=1,
        ),
        stat("Open dead letters", "short", f"max({selector('moderation_dead_letters_open')})", steps=ZERO_IS_GOOD),
    ]
    budget = Panel(
        "How fast do the error budgets burn?",
        "none",
        [
            Query(
                "moderation:objective_miss:ratio_rate1h / on (objective) moderation:objective_budget:ratio",
                "{{objective}}",
            )
        ],
        description="1: just so that a month's budget lasts a month. 14.4 for an hour wakes somebody.",
    )
    work = [
        Panel(
            "How many commands are decided?",
            "ops",
            [Query(f"sum by (outcome) ({rate('moderation_commands_total')})", "{{outcome}}")],
        ),
        Panel("How long does a command take?", "s", p50_and_p99("moderation_command_seconds")),
        budget,
        Panel(
            "What are commands refused for?",
            "ops",
            [Query(f"sum by (reason) ({rate('moderation_commands_total', REJECTED_LABEL)})", "{{reason}}")],
        ),
        Panel(
            "How many records leave?",
            "ops",
            [Query(f"sum by (topic) ({rate('moderation_relay_records_total')})", "{{topic}}")],
        ),
        Panel("How long until a grade is out?", "s", p50_and_p99("moderation_publish_seconds", 'topic="live-events"')),
    ]
    http = [
        Panel(
            "How are requests answered?",
            "reqps",
            [Query(f"sum by (status) ({rate('moderation_gateway_requests_total')})", "{{status}}")],
        ),
        Panel(
            "How long do requests take?",
            "s",
            [Query(quantile(0.99, "moderation_gateway_request_seconds", "operation"), "{{operation}} p99")],
        ),
        Panel(
            "How do commands of requests end?",
            "ops",
            [Query(f"sum by (outcome) ({rate('moderation_gateway_commands_total')})", "{{outcome}}")],
        ),
        Panel("How long does the gateway wait for verdicts?", "s", p50_and_p99("moderation_gateway_verdict_seconds")),
        Panel(
            "How full are the pools of gateway and console?",
            "short",
            [
                Query(selector("moderation_db_pool_in_use"), "{{instance}} connections at work"),
                Query(selector("moderation_db_pool_size"), "{{instance}} connections at most"),
            ],
        ),
        Panel(
            "How much does the gateway hold and read?",
            "short",
            [
                Query(selector("moderation_gateway_events_held"), "{{instance}} events held"),
                Query(
                    f"sum by (instance) ({rate('moderation_gateway_events_folded_total')})",
                    "{{instance}} read a second",
                ),
                Query(f"sum({rate('moderation_gateway_rate_limited_total')})", "requests refused a second"),
            ],
        ),
    ]
    processes = [
        Panel(
            "Which processes are ready?",
            "none",
            [Query(selector("moderation_ready"), "{{job}} {{instance}}")],
            kind="state-timeline",
            mappings=((0, "not ready", "red"), (1, "ready", "green")),
            steps=((None, "red"), (1, "green")),
        ),
        Panel("How busy are they?", "percentunit", [Query(rate("process_cpu_seconds_total"), "{{job}} {{instance}}")]),
        Panel("How much memory?", "bytes", [Query(selector("process_resident_memory_bytes"), "{{job}} {{instance}}")]),
        Panel(
            "Which version runs?",
            "none",
            [
                Query(
                    f"count by (process, version, python) ({selector('moderation_build_info')})",
                    "{{process}} {{version}}",
                )
            ],
            width=24,
            height=5,
        ),
    ]
    return build_dashboard(
        "moderation-overview",
        "Moderated grading: overview",
        "Is every command decided, and is every grade out?",
        [("Objectives", objectives), ("Work", work), ("HTTP", http), ("Processes", processes)],
    )
