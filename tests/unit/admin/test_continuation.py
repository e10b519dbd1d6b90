"""After ``admin rewind`` every record goes out once as new: what was published before is skipped or marked a replay."""

from dataclasses import replace

import pytest

from schemas.topics import OUTPUT_TOPICS
from services.admin.continuation import (
    continue_after_common_history,
    continue_after_topic,
    count_replays,
    find_replay_ends,
    keep_replay_end_ids,
)
from services.eventlog.record_ids import ARCHIVED
from services.kafka.relay_progress import RelayProgress
from services.publishing.common_history import CommonHistory, LostRecord
from services.publishing.topic_ends import End, find_mismatches

OUTPUT = "live-events"
EMPTIED = End(None, never_truncated=False)
"""The end of a shard whose records were all removed by retention."""
# A shard that lost its tail, one that retention emptied, one that was lost, one that is complete.
ENDS = [End(7), EMPTIED, End(None), End(5, never_truncated=False)]
HIGHEST = (7, 0, 0, 5)


def progress(*sequences: int, replay_ends: tuple[int, ...] | None = None) -> RelayProgress:
    """Return progress of OUTPUT; the other outputs have published nothing."""
    none_published = dict.fromkeys(OUTPUT_TOPICS, (0,) * len(sequences))
    replays = {} if replay_ends is None else {OUTPUT: replay_ends}
    return RelayProgress({**none_published, OUTPUT: sequences}, replays, shards=tuple(range(len(sequences))))


LOST = replace(progress(0), shards=())
"""The progress if no lane has a record."""


def test_shard_that_retention_emptied_keeps_its_progress_while_others_are_refilled() -> None:
    previous = progress(9, 1000, 4, 5)

    assert continue_after_topic(OUTPUT, previous, ENDS, HIGHEST) == (7, 1000, 0, 5)
    assert find_replay_ends(OUTPUT, previous, ENDS, HIGHEST, (12, 1003, 4, 6)) == (9, 1000, 4, 5)


def test_replay_of_a_shard_that_retention_emptied_goes_on_where_it_was() -> None:
    previous = progress(300, 5, replay_ends=(1200, 0))

    assert continue_after_topic(OUTPUT, previous, [EMPTIED, End(5)], (0, 5)) == (300, 5)
    assert find_replay_ends(OUTPUT, previous, [EMPTIED, End(5)], (0, 5), (1300, 5)) == (1200, 5)


# Of four lanes the last one has no record. Retention emptied the first and the last; the second is being refilled.
THREE_LANES = replace(progress(1000, 300, 7, 0, replay_ends=(0, 1000, 0, 0)), shards=(0, 1, 2))


def test_lanes_keep_their_progress_while_that_of_another_lane_is_lost() -> None:
    ends, highest, heads = [EMPTIED, End(300, is_replay=True), End(7), EMPTIED], (0, 300, 7, 0), (1001, 1001, 9, 40)

    assert continue_after_topic(OUTPUT, THREE_LANES, ends, highest) == (1000, 300, 7, 0)
    assert find_replay_ends(OUTPUT, THREE_LANES, ends, highest, heads) == (1000, 1000, 7, 40)


def test_lanes_keep_their_progress_in_a_rewind_to_the_log_while_that_of_another_lane_is_lost() -> None:
    histories = {0: CommonHistory(), 1: CommonHistory(1, 300), 2: CommonHistory(1, 7), 3: CommonHistory()}
    ends, heads = [EMPTIED, End(300, is_replay=True), End(7), EMPTIED], (1001, 1001, 9, 40)

    continued = continue_after_common_history(OUTPUT, THREE_LANES, histories, ends, [None] * 4, [None] * 4, heads)

    assert continued == ((1000, 300, 7, 0), (0, 1000, 7, 40))


def test_records_beyond_the_progress_are_replays_when_everything_is_sent_again() -> None:
    # A record of the progress was lost: the topic has ten records more than it tells.
    assert find_replay_ends(OUTPUT, progress(90), [End(100)], (100,), (100,)) == (100,)
    assert find_replay_ends(OUTPUT, progress(90), [End(100)], (100,), (95,)) == (95,), "the log has no others"


def test_after_lost_progress_the_history_of_an_emptied_shard_is_sent_as_a_replay() -> None:
    heads = (12, 1003, 4, 6)

    assert continue_after_topic(OUTPUT, LOST, ENDS, HIGHEST) == (7, 0, 0, 5)
    # The third shard never had a record, unlike the topic: its rows are new.
    assert find_replay_ends(OUTPUT, LOST, ENDS, HIGHEST, heads) == (7, 1003, 0, 5)


def test_after_lost_progress_rows_of_a_shard_without_records_are_new_beside_an_emptied_one() -> None:
    assert find_replay_ends(OUTPUT, LOST, [EMPTIED, End()], (0, 0), (40, 3)) == (40, 0)


def test_after_lost_progress_the_whole_log_of_a_recreated_topic_is_sent_as_a_replay() -> None:
    assert continue_after_topic(OUTPUT, LOST, [End(), End()], (0, 0)) == (0, 0)
    assert find_replay_ends(OUTPUT, LOST, [End(), End()], (0, 0), (40, 3)) == (40, 3)


def lost(sequence: int) -> LostRecord:
    return LostRecord(OUTPUT, 0, sequence, sequence, f"lost-{sequence}", None)


def test_after_lost_progress_a_rewind_to_the_log_sends_emptied_shards_as_replays_and_others_as_new() -> None:
    # Retention emptied the first shard; the second one has records; the third one never had any.
    histories = {0: CommonHistory(), 1: CommonHistory(3, 9), 2: CommonHistory()}
    ends, heads = [EMPTIED, End(9), End()], (40, 12, 2)

    continued = continue_after_common_history(
        OUTPUT, LOST, histories, ends, [None, None, None], [None, None, None], heads
    )

    assert continued == ((0, 9, 0), (40, 9, 0))


def test_after_lost_progress_a_rewind_to_the_log_sends_a_recreated_topic_as_a_replay() -> None:
    histories = {0: CommonHistory(), 1: CommonHistory()}

    continued = continue_after_common_history(
        OUTPUT, LOST, histories, [End(), End()], [None, None], [None, None], (40, 3)
    )

    assert continued == ((0, 0), (40, 3))


def test_after_lost_progress_rows_of_a_shard_without_records_are_new_beside_one_that_has_only_lost_records() -> None:
    histories = {0: CommonHistory(lost=[lost(1)]), 1: CommonHistory()}
    ends = [End(1, id="lost-1"), End()]

    continued = continue_after_common_history(OUTPUT, LOST, histories, ends, [None, None], [None, None], (1, 3))

    assert continued == ((0, 0), (0, 0))


@pytest.mark.parametrize(
    ("log_id", "head", "replay_end"),
    [("last", 100, 100), (ARCHIVED, 100, 100), ("again", 100, 90), (None, 95, 90)],
    ids=["the log has it", "archived", "decided again", "not decided again"],
)
def test_rewind_to_the_log_sends_as_replays_what_only_the_topic_lost(
    log_id: str | None, head: int, replay_end: int
) -> None:
    # 100 were published, and the topic lost the last ten.
    previous = replace(progress(100), last_ids={OUTPUT: ("last",)})

    continued = continue_after_common_history(
        OUTPUT, previous, {0: CommonHistory(1, 90)}, [End(90)], [log_id], [None], (head,)
    )

    assert continued == ((90,), (replay_end,))


@pytest.mark.parametrize(
    "previous", [progress(50), progress(20, replay_ends=(50,)), LOST], ids=["50", "20 of 50 replayed", "lost"]
)
def test_rewind_to_the_log_sends_dead_letters_before_the_lost_ones_as_replays(previous: RelayProgress) -> None:
    # Retention removed 1 to 45, and the log lost 46 to 50: it does not know the numbers of those on the topic.
    lost_records = [LostRecord(OUTPUT, 0, offset, None, f"commands/0/{offset}/1", None) for offset in range(46, 51)]
    ends = [End(None, never_truncated=False, id="commands/0/50/1")]

    continued = continue_after_common_history(
        OUTPUT, previous, {0: CommonHistory(lost=lost_records)}, ends, [None], [None], (45,)
    )

    assert continued == ((0,), (45,))


def test_rewind_to_the_log_sends_dead_letters_as_new_where_the_topic_never_held_them() -> None:
    lost_records = [LostRecord(OUTPUT, 0, 0, None, "commands/0/50/1", None)]
    ends = [End(None, id="commands/0/50/1")]

    continued = continue_after_common_history(
        OUTPUT, progress(1), {0: CommonHistory(lost=lost_records)}, ends, [None], [None], (3,)
    )

    assert continued == ((0,), (0,))


# Topics hold 1 to 1000, and a pass of ``admin rewind start`` ended at 300.
UNFINISHED_PASS = End(300, is_replay=True)


def test_unfinished_pass_from_the_start_goes_on_where_it_ended() -> None:
    for previous in (progress(300, replay_ends=(1000,)), progress(1000), LOST):
        assert continue_after_topic(OUTPUT, previous, [UNFINISHED_PASS], (1000,)) == (300,)
        assert find_replay_ends(OUTPUT, previous, [UNFINISHED_PASS], (1000,), (1001,)) == (1000,)


def test_rewind_to_the_log_goes_on_where_an_unfinished_pass_from_the_start_ended() -> None:
    histories = {0: CommonHistory(1, 1000)}

    for previous in (progress(300, replay_ends=(1000,)), progress(1000), LOST):
        continued = continue_after_common_history(
            OUTPUT, previous, histories, [UNFINISHED_PASS], [None], [None], (1001,)
        )
        assert continued == ((300,), (1000,))


ENDS_AND_HIGHEST = [
    (End(), 0),
    (EMPTIED, 0),
    (End(80), 80),
    (End(80, never_truncated=False), 80),
    (End(30, is_replay=True), 80),
    (End(30, is_replay=True), 30),
    (End(30, never_truncated=False, is_replay=True), 80),
    (End(100, is_replay=True), 100),
]
PREVIOUS = [LOST, progress(0), progress(60), progress(100), progress(30, replay_ends=(100,))]


@pytest.mark.parametrize("previous", PREVIOUS, ids=["lost", "none", "60", "100", "30 of 100 replayed"])
@pytest.mark.parametrize(("end", "highest"), ENDS_AND_HIGHEST)
@pytest.mark.parametrize("from_start", [True, False], ids=["start", "topics"])
def test_relay_starts_after_a_rewind_whatever_a_topic_holds(
    previous: RelayProgress, end: End, highest: int, from_start: bool
) -> None:
    sequences = (0,) if from_start else continue_after_topic(OUTPUT, previous, [end], (highest,))
    replay_ends = find_replay_ends(OUTPUT, previous, [end], (highest,), (100,))

    assert find_mismatches(progress(*sequences, replay_ends=replay_ends), {OUTPUT: [end]}) == []


@pytest.mark.parametrize("previous", PREVIOUS, ids=["lost", "none", "60", "100", "30 of 100 replayed"])
@pytest.mark.parametrize(("end", "highest"), ENDS_AND_HIGHEST)
@pytest.mark.parametrize("log_id", [None, "another"], ids=["agreeing log", "differing log"])
def test_relay_starts_after_a_rewind_to_the_log_whatever_a_topic_holds(
    previous: RelayProgress, end: End, highest: int, log_id: str | None
) -> None:
    histories = {0: CommonHistory(min(highest, 1), highest)}

    sequences, replay_ends = continue_after_common_history(OUTPUT, previous, histories, [end], [log_id], [None], (100,))

    assert find_mismatches(progress(*sequences, replay_ends=replay_ends), {OUTPUT: [end]}) == []


def test_shards_without_a_replay_do_not_lessen_the_number_of_replays() -> None:
    assert count_replays(progress(1000, 300, replay_ends=(0, 1000)), OUTPUT) == 700
    assert count_replays(progress(1000, 300), OUTPUT) == 0


@pytest.mark.parametrize(("end_id", "replay_end"), [("last", 100), (ARCHIVED, 100), ("again", 50), (None, 50)])
def test_rewind_to_the_log_sends_what_was_decided_again_as_new_though_it_was_to_be_replayed(
    end_id: str | None, replay_end: int
) -> None:
    # 50 of 100 were replayed when the log lost the last ten of them.
    previous = replace(progress(50, replay_ends=(100,)), last_ids={OUTPUT: ("50",)}, replay_end_ids={OUTPUT: ("last",)})

    continued = continue_after_common_history(
        OUTPUT, previous, {0: CommonHistory(1, 50)}, [End(50, is_replay=True)], ["50"], [end_id], (105,)
    )

    assert continued == ((50,), (replay_end,))


def test_id_at_the_end_of_a_replay_is_kept_while_the_end_stays() -> None:
    previous = replace(progress(50, 20, replay_ends=(100, 40)), replay_end_ids={OUTPUT: ("last", "other")})

    assert keep_replay_end_ids(previous, {OUTPUT: (100, 30)}) == {OUTPUT: ("last", None)}
