"""How things stand, in one sentence: whether somebody is needed, and for what."""

from datetime import UTC, datetime, timedelta

import pytest

from services.console.group_members import NOBODY
from services.console.pipeline_status import Now, Partition, count, lasting
from services.console.verdict_stats import BUCKETS, RECENT_MAX, Tally
from services.console.web.status_page import CHART_HEIGHT, bars
from services.console.web.templates import foreign, visible
from services.eventlog.pipeline_queries import Behind, Decided

AT = datetime(2026, 1, 31, 3, 0, tzinfo=UTC)
CALM = Now(at=AT, partitions=(Partition(0, "up to date", 0, 0.0, 7),), outputs=(Behind("events", 0, None),))


def changed(**fields: object) -> Now:
    return Now(**{**{name: getattr(CALM, name) for name in CALM.__slots__}, **fields})


def test_when_all_is_decided_and_out_it_says_so() -> None:
    assert (CALM.level, CALM.sentence()) == ("calm", "Every command is decided and every grade is out")


def test_open_dead_letters_ask_for_a_look_and_nothing_more() -> None:
    open_ = changed(open_letters=2_000, oldest_letter=AT)
    assert open_.level == "look"
    assert open_.sentence() == "Every command is decided and every grade is out; 2,000 dead letters open"


@pytest.mark.parametrize(
    ("partition", "told"),
    [
        (
            Partition(3, "stalled", 5, 12.0, 7),
            "5 commands not decided, the oldest waiting 12 s: partition 3 is stalled",
        ),
        (Partition(3, "up to date", 1, 6.0, 7), "1 command not decided, the oldest waiting 6.0 s: partition 3 is late"),
        (Partition(3, "up to date", 900, 1.0, 7), None),
        (Partition(3, "falling behind", 900, 1.5, 7), None),
    ],
)
def test_commands_that_wait_too_long_are_an_alarm(partition: Partition, told: str | None) -> None:
    found = changed(partitions=(*CALM.partitions, partition), open_letters=1)
    assert found.level == ("look" if told is None else "alarm")
    assert found.late() == ([] if told is None else [told])


def owned(*owners: str | None) -> Now:
    return changed(partitions=tuple(Partition(n, "up to date", 0, 0.0, 7, owner) for n, owner in enumerate(owners)))


@pytest.mark.parametrize(
    ("owners", "sentence"),
    [
        ((NOBODY, NOBODY), "No handler runs"),
        (("one-0", NOBODY, NOBODY), "No handler decides partitions 1, 2"),
        (("one-0", "one-1"), "Every command is decided and every grade is out"),
        ((None, None), "Every command is decided and every grade is out"),
    ],
)
def test_partitions_that_no_handler_holds_are_an_alarm_before_a_command_waits(
    owners: tuple[str | None, ...], sentence: str
) -> None:
    assert owned(*owners).sentence() == sentence


def test_a_cause_comes_before_what_follows_from_it_and_each_has_a_line_of_its_own() -> None:
    found = changed(partitions=(Partition(0, "stalled", 5, 12.0, 7, NOBODY),))
    assert found.sentences() == [
        "No handler runs",
        "5 commands not decided, the oldest waiting 12 s: partition 0 is stalled",
    ]


def test_records_that_no_topic_has_yet_are_an_alarm_after_seconds() -> None:
    behind = changed(outputs=(Behind("live-events", 3, AT - timedelta(seconds=61)), Behind("events", 4, AT)))
    assert behind.sentence() == (
        "7 records not on the topics, the oldest waiting 1 min 1 s: the relay is behind or stopped"
    )
    assert changed(outputs=(Behind("events", 4, AT - timedelta(seconds=1)),)).level == "calm"


def test_what_cannot_be_seen_comes_before_what_was_seen_last() -> None:
    blind = changed(problems=("PostgreSQL does not answer: TimeoutError",), open_letters=3)
    assert (blind.level, blind.sentence()) == ("alarm", "PostgreSQL does not answer: TimeoutError")


def test_numbers_and_times_are_said_as_people_say_them() -> None:
    assert [count(1, "command"), count(12_000, "command")] == ["1 command", "12,000 commands"]
    spans = {
        0.0421: "42 ms",
        3.21: "3.2 s",
        42.0: "42 s",
        62.0: "1 min 2 s",
        7_380.0: "2 h 3 min",
        180_000.0: "2 d 2 h",
    }
    assert {seconds: lasting(seconds) for seconds in spans} == spans


def decided(number: int, seconds_ago: float = 0.0, reason: str | None = None, took: float = 0.05) -> Decided:
    at = AT - timedelta(seconds=seconds_ago)
    appended = int((at.timestamp() - took) * 1_000)
    return Decided(3, number, 1, "id", "upsert_course", reason, "1", None, at, appended, False)


def test_verdicts_are_counted_once_each_by_cause_and_by_time() -> None:
    tally = Tally()
    tally.add([decided(1, 2_000), decided(2, 25), decided(3, 5, "unauthorized"), decided(4, 4, took=2.0)])
    (cause,) = tally.causes()
    assert (tally.decided, cause.type, cause.reason, cause.count) == (4, "upsert_course", "unauthorized", 1)
    assert (sum(tally.flow(AT)), len(tally.flow(AT)), tally.rejected(AT)) == (3, BUCKETS, 1)
    assert [round(tally.latency(AT, share) or 0, 2) for share in (0.5, 0.99)] == [0.05, 2.0]
    tally.add(decided(number) for number in range(5, 40))
    assert [verdict.number for verdict in tally.recent] == list(range(39, 39 - RECENT_MAX, -1))


def test_the_highest_bar_is_as_high_as_the_chart_and_none_is_higher() -> None:
    assert max(bar.height for bar in bars((0, 3, 6, 1))) == CHART_HEIGHT
    assert [bar.height for bar in bars((0, 0))] == [0, 0]


def test_foreign_text_is_escaped_cut_and_cannot_turn_its_surroundings() -> None:
    assert foreign("<script>\u202e\u0007") == "<bdi>&lt;script&gt;\\u202e\\u0007</bdi>"
    assert foreign("x" * 600) == f"<bdi>{'x' * 500}…</bdi>"
    assert visible("ممتاز 👨\u200d👩 \U000e0041") == "ممتاز 👨\u200d👩 \\U000e0041"
