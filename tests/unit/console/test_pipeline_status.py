"""The status in sentences: what is late, stopped or lost, and how urgent it is."""

from datetime import UTC, datetime, timedelta

import pytest

from services.console.group_members import UNASSIGNED
from services.console.pipeline_status import PartitionStatus, PipelineStatus
from services.console.verdict_stats import BUCKET_COUNT, RECENT_MAX, VerdictStats
from services.console.web.status_page import CHART_HEIGHT, build_bars
from services.console.web.templates import escape_invisible, untrusted_text
from services.console.wording import format_duration, pluralize
from services.eventlog.pipeline_queries import TopicLag, VerdictSummary

AT = datetime(2026, 1, 31, 3, 0, tzinfo=UTC)
OK = PipelineStatus(
    at=AT, partitions=(PartitionStatus(0, "up to date", 0, 0.0, 7),), outputs=(TopicLag("events", 0, None),)
)


def status_with(**fields: object) -> PipelineStatus:
    return PipelineStatus(**{**{name: getattr(OK, name) for name in OK.__slots__}, **fields})


def test_idle_pipeline_is_ok() -> None:
    assert (OK.level, OK.summary()) == ("ok", "Every command is decided and every record is on its topic")


def test_open_dead_letters_are_a_warning() -> None:
    status = status_with(open_dead_letters=2_000, oldest_dead_letter=AT)
    assert status.level == "warning"
    assert status.summary() == "Every command is decided and every record is on its topic; 2,000 dead letters open"


@pytest.mark.parametrize(
    ("partition", "delay"),
    [
        (
            PartitionStatus(3, "stalled", 5, 12.0, 7),
            "5 commands are not decided, the oldest for 12 s: partition 3 is stalled",
        ),
        (
            PartitionStatus(3, "up to date", 1, 6.0, 7),
            "1 command is not decided, the oldest for 6.0 s: partition 3 is late",
        ),
        (PartitionStatus(3, "up to date", 900, 1.0, 7), None),
        (PartitionStatus(3, "falling behind", 900, 1.5, 7), None),
    ],
)
def test_commands_that_wait_too_long_are_critical(partition: PartitionStatus, delay: str | None) -> None:
    status = status_with(partitions=(*OK.partitions, partition), open_dead_letters=1)
    assert status.level == ("warning" if delay is None else "critical")
    assert status.delays() == ([] if delay is None else [delay])


def status_with_owners(*owners: str | None) -> PipelineStatus:
    return status_with(
        partitions=tuple(PartitionStatus(n, "up to date", 0, 0.0, 7, owner) for n, owner in enumerate(owners))
    )


@pytest.mark.parametrize(
    ("owners", "sentence"),
    [
        ((UNASSIGNED, UNASSIGNED), "No handler is running"),
        (("one-0", UNASSIGNED, UNASSIGNED), "No handler has partitions 1, 2"),
        (("one-0", "one-1"), "Every command is decided and every record is on its topic"),
        ((None, None), "Every command is decided and every record is on its topic"),
    ],
)
def test_unassigned_partitions_are_critical_without_waiting_commands(
    owners: tuple[str | None, ...], sentence: str
) -> None:
    assert status_with_owners(*owners).summary() == sentence


def test_causes_are_listed_before_their_effects() -> None:
    status = status_with(partitions=(PartitionStatus(0, "stalled", 5, 12.0, 7, UNASSIGNED),))
    assert status.summary_lines() == [
        "No handler is running",
        "5 commands are not decided, the oldest for 12 s: partition 0 is stalled",
    ]


def test_unpublished_records_are_critical_after_a_delay() -> None:
    behind = status_with(outputs=(TopicLag("live-events", 3, AT - timedelta(seconds=61)), TopicLag("events", 4, AT)))
    assert behind.summary() == (
        "7 records are not on the topics, the oldest for 1 min 1 s: the relay is behind or stopped"
    )
    assert status_with(outputs=(TopicLag("events", 4, AT - timedelta(seconds=1)),)).level == "ok"


def test_server_problems_take_precedence_over_the_last_known_status() -> None:
    status = status_with(problems=("PostgreSQL does not answer: TimeoutError",), open_dead_letters=3)
    assert (status.level, status.summary()) == ("critical", "PostgreSQL does not answer: TimeoutError")


def test_counts_and_durations_are_formatted_for_people() -> None:
    assert [pluralize(1, "command"), pluralize(12_000, "command")] == ["1 command", "12,000 commands"]
    expected = {
        0.0421: "42 ms",
        3.21: "3.2 s",
        42.0: "42 s",
        62.0: "1 min 2 s",
        7_380.0: "2 h 3 min",
        180_000.0: "2 d 2 h",
    }
    assert {seconds: format_duration(seconds) for seconds in expected} == expected


def verdict_summary(
    number: int, seconds_ago: float = 0.0, reason: str | None = None, took: float = 0.05
) -> VerdictSummary:
    at = AT - timedelta(seconds=seconds_ago)
    appended = int((at.timestamp() - took) * 1_000)
    return VerdictSummary(3, number, 1, "id", "upsert_course", reason, "1", None, at, appended, False)


def test_verdicts_are_counted_once_by_cause_and_time() -> None:
    stats = VerdictStats()
    stats.add(
        [
            verdict_summary(1, 2_000),
            verdict_summary(2, 25),
            verdict_summary(3, 5, "unauthorized"),
            verdict_summary(4, 4, took=2.0),
        ]
    )
    (cause,) = stats.groups_by_size()
    assert (stats.decided, cause.type, cause.reason, cause.count) == (4, "upsert_course", "unauthorized", 1)
    assert (sum(stats.throughput(AT)), len(stats.throughput(AT)), stats.rejected(AT)) == (3, BUCKET_COUNT, 1)
    assert [round(stats.latency(AT, share) or 0, 2) for share in (0.5, 0.99)] == [0.05, 2.0]
    stats.add(verdict_summary(number) for number in range(5, 40))
    assert [verdict.number for verdict in stats.recent_verdicts] == list(range(39, 39 - RECENT_MAX, -1))


def test_bars_are_scaled_to_the_chart_height() -> None:
    assert max(bar.height for bar in build_bars((0, 3, 6, 1))) == CHART_HEIGHT
    assert [bar.height for bar in build_bars((0, 0))] == [0, 0]


def test_untrusted_text_is_escaped_truncated_and_isolated() -> None:
    assert untrusted_text("<script>\u202e\u0007") == "<bdi>&lt;script&gt;\\u202e\\u0007</bdi>"
    assert untrusted_text("x" * 600) == f"<bdi>{'x' * 500}…</bdi>"
    assert escape_invisible("ممتاز 👨\u200d👩 \U000e0041") == "ممتاز 👨\u200d👩 \\U000e0041"
