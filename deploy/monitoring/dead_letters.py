"""The dashboard for what could not be read, was refused or not believed, and what came twice."""

from deploy.monitoring.panels import (
    REJECTED_LABEL,
    ZERO_IS_GOOD,
    Json,
    Panel,
    Query,
    build_dashboard,
    rate,
    selector,
    stat,
)


def build_dead_letters() -> Json:
    """What could not be read or was not believed, and what came twice."""
    open_dead_letters = [
        stat("Open dead letters", "short", f"max({selector('moderation_dead_letters_open')})", steps=ZERO_IS_GOOD),
        stat(
            "Oldest open dead letter",
            "s",
            f"max({selector('moderation_dead_letters_oldest_seconds')})",
            steps=((None, "green"), (600, "red")),
        ),
        Panel(
            "Why can records not be read?",
            "short",
            [
                Query(
                    f"sum by (reason) (increase({selector('moderation_dead_letters_total')}[$__rate_interval]))",
                    "{{reason}}",
                )
            ],
            width=16,
        ),
    ]
    repairs = [
        Panel(
            "What do operators do?",
            "short",
            [
                Query(
                    f"sum by (kind) (increase({selector('moderation_operator_actions_total')}[$__rate_interval]))",
                    "{{kind}}",
                )
            ],
        ),
        Panel(
            "Does a redrive wait to be sent?",
            "none",
            [Query(f"max({selector('moderation_redrives_waiting')})", "redrives")],
            kind="state-timeline",
            mappings=((0, "no", "green"), (1, "waits", "red")),
            steps=ZERO_IS_GOOD,
        ),
        Panel(
            "How many console pages are open?", "short", [Query(f"sum({selector('moderation_sse_clients')})", "pages")]
        ),
    ]
    refusals = [
        Panel(
            "Which commands are refused, and why?",
            "ops",
            [
                Query(
                    f"sum by (type, reason) ({rate('moderation_commands_total', REJECTED_LABEL)})",
                    "{{type}}: {{reason}}",
                )
            ],
            width=12,
        ),
        Panel(
            "What comes twice?",
            "ops",
            [Query(f"sum by (kind) ({rate('moderation_duplicates_total')})", "{{kind}}")],
            width=12,
        ),
    ]
    tokens = [
        Panel(
            "Which tokens are not believed?",
            "ops",
            [Query(f"sum by (job, reason) ({rate('moderation_auth_failures_total')})", "{{job}}: {{reason}}")],
            width=12,
        ),
        Panel(
            "How old are the keys?",
            "s",
            [Query(selector("moderation_jwks_age_seconds"), "{{job}} {{instance}}")],
            width=12,
        ),
    ]
    return build_dashboard(
        "moderation-dead-letters",
        "Moderated grading: dead letters and refusals",
        "What could not be read, what was refused, what was not believed?",
        [
            ("Dead letters", open_dead_letters),
            ("Repairs", repairs),
            ("Refusals and repetitions", refusals),
            ("Tokens", tokens),
        ],
    )
