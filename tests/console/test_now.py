"""How things stand, in one sentence: whether somebody is needed, and for what."""

from datetime import UTC, datetime, timedelta

import pytest

from services.console.group_members import UNASSIGNED
from services.console.pipeline_status import PartitionStatus, PipelineStatus, format_duration, pluralize
from services.console.verdict_stats import BUCKET_COUNT, RECENT_MAX, VerdictStats
from services.console.web.status_page import CHART_HEIGHT, build_bars
from services.console.web.templates import escape_invisible, untrusted_text
from services.eventlog.pipeline_queries import TopicLag, VerdictSummary

AT = datetime(2026, 1, 31, 3, 0, tzinfo=UTC)
CALM = PipelineStatus(
    at=AT, partitions=(PartitionStatus(0, "up to date", 0, 0.0, 7),), outputs=(TopicLag("events", 0, None),)
)


def changed(**fields: object) -> PipelineStatus:
    return PipelineStatus(**{**{name: getattr(CALM, name) for name in CALM.__slots__}, **fields})


def test_when_all_is_decided_and_out_it_says_so() -> None:
    assert (CALM.level, CALM.summary()) == ("calm", "Every command is decided and every grade is out")


def test_open_dead_letters_ask_for_a_look_and_nothing_more() -> None:
    open_ = changed(open_dead_letters=2_000, oldest_dead_letter=AT)
    assert open_.level == "look"
    assert open_.summary() == "Every command is decided and every grade is out; 2,000 dead letters open"


@pytest.mark.parametrize(
    ("partition", "told"),
    [
        (
            PartitionStatus(3, "stalled", 5, 12.0, 7),
            "5 commands not decided, the oldest waiting 12 s: partition 3 is stalled",
        ),
        (
            PartitionStatus(3, "up to date", 1, 6.0, 7),
            "1 command not decided, the oldest waiting 6.0 s: partition 3 is late",
        ),
        (PartitionStatus(3, "up to date", 900, 1.0, 7), None),
        (PartitionStatus(3, "falling behind", 900, 1.5, 7), None),
    ],
)
def test_commands_that_wait_too_long_are_an_alarm(partition: PartitionStatus, told: str | None) -> None:
    found = changed(partitions=(*CALM.partitions, partition), open_dead_letters=1)
    assert found.level == ("look" if told is None else "alarm")
    assert found.delays() == ([] if told is None else [told])


def owned(*owners: str | None) -> PipelineStatus:
    return changed(
        partitions=tuple(PartitionStatus(n, "up to date", 0, 0.0, 7, owner) for n, owner in enumerate(owners))
    )


@pytest.mark.parametrize(
    ("owners", "sentence"),
    [
        ((UNASSIGNED, UNASSIGNED), "No handler runs"),
        (("one-0", UNASSIGNED, UNASSIGNED), "No handler decides partitions 1, 2"),
        (("one-0", "one-1"), "Every command is decided and every grade is out"),
        ((None, None), "Every command is decided and every grade is out"),
    ],
)
def test_partitions_that_no_handler_holds_are_an_alarm_before_a_command_waits(
    owners: tuple[str | None, ...], sentence: str
) -> None:
    assert owned(*owners).summary() == sentence


def test_a_cause_comes_before_what_follows_from_it_and_each_has_a_line_of_its_own() -> None:
    found = changed(partitions=(PartitionStatus(0, "stalled", 5, 12.0, 7, UNASSIGNED),))
    assert found.summary_lines() == [
        "No handler runs",
        "5 commands not decided, the oldest waiting 12 s: partition 0 is stalled",
    ]


def test_records_that_no_topic_has_yet_are_an_alarm_after_seconds() -> None:
    behind = changed(outputs=(TopicLag("live-events", 3, AT - timedelta(seconds=61)), TopicLag("events", 4, AT)))
    assert behind.summary() == (
        "7 records not on the topics, the oldest waiting 1 min 1 s: the relay is behind or stopped"
    )
    assert changed(outputs=(TopicLag("events", 4, AT - timedelta(seconds=1)),)).level == "calm"


def test_what_cannot_be_seen_comes_before_what_was_seen_last() -> None:
    blind = changed(problems=("PostgreSQL does not answer: TimeoutError",), open_dead_letters=3)
    assert (blind.level, blind.summary()) == ("alarm", "PostgreSQL does not answer: TimeoutError")


def test_numbers_and_times_are_said_as_people_say_them() -> None:
    assert [pluralize(1, "command"), pluralize(12_000, "command")] == ["1 command", "12,000 commands"]
    spans = {
        0.0421: "42 ms",
        3.21: "3.2 s",
        42.0: "42 s",
        62.0: "1 min 2 s",
        7_380.0: "2 h 3 min",
        180_000.0: "2 d 2 h",
    }
    assert {seconds: format_duration(seconds) for seconds in spans} == spans


def decided(number: int, seconds_ago: float = 0.0, reason: str | None = None, took: float = 0.05) -> VerdictSummary:
    at = AT - timedelta(seconds=seconds_ago)
    appended = int((at.timestamp() - took) * 1_000)
    return VerdictSummary(3, number, 1, "id", "upsert_course", reason, "1", None, at, appended, False)


def test_verdicts_are_counted_once_each_by_cause_and_by_time() -> None:
    tally = VerdictStats()
    tally.add([decided(1, 2_000), decided(2, 25), decided(3, 5, "unauthorized"), decided(4, 4, took=2.0)])
    (cause,) = tally.groups_by_size()
    assert (tally.decided, cause.type, cause.reason, cause.count) == (4, "upsert_course", "unauthorized", 1)
    assert (sum(tally.throughput(AT)), len(tally.throughput(AT)), tally.rejected(AT)) == (3, BUCKET_COUNT, 1)
    assert [round(tally.latency(AT, share) or 0, 2) for share in (0.5, 0.99)] == [0.05, 2.0]
    tally.add(decided(number) for number in range(5, 40))
    assert [verdict.number for verdict in tally.recent_verdicts] == list(range(39, 39 - RECENT_MAX, -1))


def test_the_highest_bar_is_as_high_as_the_chart_and_none_is_higher() -> None:
    assert max(bar.height for bar in build_bars((0, 3, 6, 1))) == CHART_HEIGHT
    assert [bar.height for bar in build_bars((0, 0))] == [0, 0]


def test_foreign_text_is_escaped_cut_and_cannot_turn_its_surroundings() -> None:
    assert untrusted_text("<script>\u202e\u0007") == "<bdi>&lt;script&gt;\\u202e\\u0007</bdi>"
    assert untrusted_text("x" * 600) == f"<bdi>{'x' * 500}…</bdi>"
    assert escape_invisible("ممتاز 👨\u200d👩 \U000e0041") == "ممتاز 👨\u200d👩 \\U000e0041"
