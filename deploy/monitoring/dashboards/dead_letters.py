"""Dead letters: records that could not be read, commands that were refused, tokens that were rejected."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from deploy.monitoring.dashboards.panels import (
    BAD,
    GOOD,
    REJECTED_LABEL,
    Panel,
    build_dashboard,
    graph,
    increase,
    number,
    query,
    rate,
    selector,
    states,
)

OLDEST_SECONDS = 600
KEYS_AGE_SECONDS = 3_600


def build_dead_letters() -> Dashboard:
    """Show failed records and commands, and the operators' actions."""
    return build_dashboard(
        "moderation-dead-letters",
        "Moderated grading: dead letters and refusals",
        "Which records could not be read, which commands were refused, which tokens were rejected?",
        {
            "Dead letters": _dead_letters(),
            "Repairs": _repairs(),
            "Refusals and duplicates": _refusals(),
            "Tokens": _tokens(),
        },
    )


def _dead_letters() -> list[Panel]:
    return [
        number(
            "Open dead letters",
            "short",
            f"max({selector('moderation_dead_letters_open')})",
            "Records that an operator has neither redriven nor discarded.",
            ((None, GOOD), (1, BAD)),
            ["DeadLettersOpen"],
        ),
        number(
            "Oldest open dead letter",
            "s",
            f"max({selector('moderation_dead_letters_oldest_seconds')})",
            "Red from ten minutes, where DeadLettersOpen fires.",
            ((None, GOOD), (OLDEST_SECONDS, BAD)),
            ["DeadLettersOpen"],
        ),
        graph(
            "Why can records not be read?",
            "short",
            [query(f"sum by (reason) ({increase('moderation_dead_letters_total')})", "{{reason}}")],
            "New dead letters, by reason. One cause in large numbers usually means one broken producer.",
            ["DeadLettersOpen"],
        ).span(16),
    ]


def _repairs() -> list[Panel]:
    return [
        graph(
            "What do operators do?",
            "short",
            [query(f"sum by (kind) ({increase('moderation_operator_actions_total')})", "{{kind}}")],
            "Actions recorded by the console. Actions of the command line are in the log only.",
        ),
        states(
            "Is a redrive waiting to be sent?",
            [query(f"max({selector('moderation_redrives_waiting')})", "redrives")],
            "A recorded redrive whose records are not on Kafka yet. RedriveWaits fires after five minutes.",
            {0: ("no", GOOD), 1: ("waiting", BAD)},
            ["RedriveWaits"],
        ),
        graph(
            "How many console pages are open?",
            "short",
            [query(f"sum({selector('moderation_sse_clients')})", "pages")],
            "Pages that receive live updates.",
        ),
    ]


def _refusals() -> list[Panel]:
    return [
        graph(
            "Which commands are refused, and why?",
            "ops",
            [
                query(
                    f"sum by (type, reason) ({rate('moderation_commands_total', REJECTED_LABEL)})",
                    "{{type}}: {{reason}}",
                )
            ],
            "Rejected commands per second, by type and reason.",
        ).span(12),
        graph(
            "What arrives more than once?",
            "ops",
            [query(f"sum by (kind) ({rate('moderation_duplicates_total')})", "{{kind}}")],
            "repeated_command: a producer sent a command id again; redelivery: Kafka delivered a decided record again. "
            "Neither changes anything.",
        ).span(12),
        graph(
            "Who sends commands under a wrong key?",
            "ops",
            [query(f"sum({rate('moderation_other_key_commands_total')})", "commands")],
            "Commands without a key, or under another key than their course_id, per second. They are decided, but the "
            "order of a course's commands is kept only under its key: the producer must be corrected.",
            ["CommandsUnderOtherKeys"],
        ).span(12),
    ]


def _tokens() -> list[Panel]:
    return [
        graph(
            "Which tokens are rejected?",
            "ops",
            [query(f"sum by (job, reason) ({rate('moderation_auth_failures_total')})", "{{job}}: {{reason}}")],
            "Rejected tokens per second. TokensRefused fires above 1, expired tokens aside.",
            ["TokensRefused"],
            alert_above=1,
        ).span(12),
        graph(
            "How old are the keys?",
            "s",
            [query(selector("moderation_jwks_age_seconds"), "{{job}} {{instance}}")],
            "Time since the JWK set was last read. KeysOld fires above one hour.",
            ["KeysOld"],
            alert_above=KEYS_AGE_SECONDS,
        ).span(12),
    ]
