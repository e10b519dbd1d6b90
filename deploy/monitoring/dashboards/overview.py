"""The overview: is every command decided, and is every grade published?"""

from grafana_foundation_sdk.models.dashboard import Dashboard

from deploy.monitoring.dashboards.panels import (
    BAD,
    DEGRADED,
    GOOD,
    REJECTED_LABEL,
    Panel,
    alert_list,
    build_dashboard,
    graph,
    number,
    p50_and_p99,
    quantile,
    query,
    rate,
    selector,
    share_within,
    states,
)

LAG_STEPS = ((None, GOOD), (2, DEGRADED), (10, BAD))
BURN_RATE = "moderation:objective_miss:ratio_rate1h / on (objective) moderation:objective_budget:ratio"
BUDGET_ALERTS = ("BudgetBurnsFast", "BudgetBurns", "BudgetShrinks")


def build_overview() -> Dashboard:
    """Alerts and objectives first, then the work, HTTP and the processes."""
    return build_dashboard(
        "moderation-overview",
        "Moderated grading: overview",
        "Is every command decided, and is every grade published?",
        {"Alerts": _alerts(), "Objectives": _objectives(), "Work": _work(), "HTTP": _http(), "Processes": _processes()},
    )


def _alerts() -> list[Panel]:
    return [
        alert_list(
            "Which alerts are pending or firing?",
            "Alerts of severity page and ticket, as Prometheus evaluates them now. A pending alert fires if it "
            "lasts. Without any the panel shows no data.",
        )
    ]


def _objectives() -> list[Panel]:
    return [
        number(
            "Decided within 2 s (objective 99 %)",
            "percentunit",
            share_within("moderation_command_seconds", "2.0"),
            "Share of the commands decided in the time range whose verdict was committed within 2 s of the broker's "
            "append.",
            ((None, BAD), (0.99, GOOD)),
            BUDGET_ALERTS,
        ).decimals(2),
        number(
            "Decided within 10 s (objective 99.9 %)",
            "percentunit",
            share_within("moderation_command_seconds", "10.0"),
            "Share of the commands decided in the time range whose verdict was committed within 10 s of the broker's "
            "append.",
            ((None, BAD), (0.999, GOOD)),
            BUDGET_ALERTS,
        ).decimals(3),
        number(
            "Published within 5 s (objective 99 %)",
            "percentunit",
            share_within("moderation_publish_seconds", "5.0", 'topic="live-events"'),
            "Share of the grades published in the time range that were on live-events within 5 s of their commit in "
            "the log.",
            ((None, BAD), (0.99, GOOD)),
            BUDGET_ALERTS,
        ).decimals(2),
        number(
            "Oldest undecided command",
            "s",
            f"max({selector('moderation_consumer_lag_seconds')})",
            "Age of the oldest command on Kafka without a verdict. Yellow from 2 s, red from 10 s, where CommandsWait "
            "fires.",
            LAG_STEPS,
            ["CommandsWait"],
        ).decimals(1),
        number(
            "Oldest unpublished record",
            "s",
            f"max({selector('moderation_relay_lag_seconds')})",
            "Age of the oldest row of the log that is not on its topic. Yellow from 2 s, red from 10 s, where "
            "RecordsWait fires.",
            LAG_STEPS,
            ["RecordsWait"],
        ).decimals(1),
        number(
            "Open dead letters",
            "short",
            f"max({selector('moderation_dead_letters_open')})",
            "Records without a readable command id that an operator has neither redriven nor discarded.",
            ((None, GOOD), (1, BAD)),
            ["DeadLettersOpen"],
        ),
    ]


def _work() -> list[Panel]:
    return [
        graph(
            "How many commands are decided?",
            "ops",
            [query(f"sum by (outcome) ({rate('moderation_commands_total')})", "{{outcome}}")],
            "Verdicts committed per second, by outcome.",
        ),
        graph(
            "How long does a command take?",
            "s",
            p50_and_p99("moderation_command_seconds"),
            "From the broker's append of a command to the commit of its verdict. Dashed: 2 s and 10 s, the objectives.",
            BUDGET_ALERTS,
            objectives=(2, 10),
        ),
        graph(
            "How fast do the error budgets burn?",
            "none",
            [query(BURN_RATE, "{{objective}}")],
            "Misses in the last hour, as a multiple of what the objective allows. At 1 a month's budget lasts a month; "
            "BudgetBurnsFast fires above 14.4, BudgetBurns above 6 over six hours.",
            BUDGET_ALERTS,
            alert_above=14.4,
        ),
        graph(
            "Why are commands refused?",
            "ops",
            [query(f"sum by (reason) ({rate('moderation_commands_total', REJECTED_LABEL)})", "{{reason}}")],
            "Rejected commands per second, by reason. A new reason in large numbers usually means a changed producer.",
        ),
        graph(
            "How many records are published?",
            "ops",
            [query(f"sum by (topic) ({rate('moderation_relay_records_total')})", "{{topic}}")],
            "Records committed to Kafka per second, by topic.",
        ),
        graph(
            "How long until a grade is published?",
            "s",
            p50_and_p99("moderation_publish_seconds", 'topic="live-events"'),
            "From the commit of a published grade in the log to its commit on live-events. Dashed: 5 s, the objective.",
            BUDGET_ALERTS,
            objectives=(5,),
        ),
    ]


def _http() -> list[Panel]:
    return [
        graph(
            "How are requests answered?",
            "reqps",
            [query(f"sum by (status) ({rate('moderation_gateway_requests_total')})", "{{status}}")],
            "Requests to the gateway per second, by HTTP status. GatewayFails fires when more than 5 % end with 5xx.",
            ["GatewayFails", "GatewayAbsent"],
        ),
        graph(
            "How long do requests take?",
            "s",
            [query(quantile(0.99, "moderation_gateway_request_seconds", "operation"), "{{operation}} p99")],
            "99th percentile of the time to answer, by operation. Writes wait for their verdict.",
        ),
        graph(
            "How do commands of requests end?",
            "ops",
            [query(f"sum by (outcome) ({rate('moderation_gateway_commands_total')})", "{{outcome}}")],
            "Commands sent by the gateway per second. pending: answered 202 because no verdict came in time; not_sent: "
            "answered 503.",
        ),
        graph(
            "How long does the gateway wait for verdicts?",
            "s",
            p50_and_p99("moderation_gateway_verdict_seconds"),
            "From Kafka's acknowledgement of a command to its verdict in the log.",
        ),
        graph(
            "How full are the connection pools?",
            "short",
            [
                query(selector("moderation_db_pool_in_use"), "{{instance}} in use"),
                query(selector("moderation_db_pool_size"), "{{instance}} maximum"),
            ],
            "PostgreSQL connections of gateway and console. PoolExhausted fires when all are in use for two minutes.",
            ["PoolExhausted"],
        ),
        graph(
            "How much does the gateway cache and read?",
            "short",
            [
                query(selector("moderation_gateway_events_held"), "{{instance}} events cached"),
                query(
                    f"sum by (instance) ({rate('moderation_gateway_events_folded_total')})",
                    "{{instance}} events read per second",
                ),
                query(f"sum({rate('moderation_gateway_rate_limited_total')})", "requests over the rate limit"),
            ],
            "Events in the gateway's state cache, events read from the log per second, and requests refused by the "
            "rate limit per second.",
        ),
    ]


def _processes() -> list[Panel]:
    return [
        states(
            "Which processes are ready?",
            [query(selector("moderation_ready"), "{{job}} {{instance}}")],
            "Each process's /health/ready. Its body states why a process is not ready.",
            {0: ("not ready", BAD), 1: ("ready", GOOD)},
            ["NotReady", "ProcessDown", "ConsoleAbsent"],
        ),
        graph(
            "How busy are the processes?",
            "percentunit",
            [query(rate("process_cpu_seconds_total"), "{{job}} {{instance}}")],
            "Share of one core. A handler near 100 % is at its limit: start another one.",
        ),
        graph(
            "How much memory do the processes use?",
            "bytes",
            [
                query(selector("process_resident_memory_bytes"), "{{job}} {{instance}}"),
                query(selector("moderation_gateway_cached_bytes"), "{{instance}} cached states"),
            ],
            "Resident memory, and what of it the gateway's cached states are estimated at, up to GATEWAY_CACHE_MIB.",
        ),
        graph(
            "Which version runs?",
            "none",
            [
                query(
                    f"count by (process, version, python) ({selector('moderation_build_info')})",
                    "{{process}} {{version}} on Python {{python}}",
                )
            ],
            "Processes by version: a rolling upgrade shows as one line replacing another.",
        )
        .span(24)
        .height(5),
    ]
